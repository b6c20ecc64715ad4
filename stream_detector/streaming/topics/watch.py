"""Looks after a worker's topics while it runs: sees within seconds what was deleted or has too few partitions."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest
from msgspec import Struct

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.admin import open_admin
from stream_detector.streaming.clients.kafka_types import KafkaAdmin
from stream_detector.streaming.topics.declared import declared_topics
from stream_detector.streaming.topics.topics import NONE

log = logging.getLogger(__name__)

UNKNOWN_TOPIC = 3


class TopicsSeen(Struct, frozen=True):
    """The topics of a worker as the brokers tell them now.

    Attributes:
        readings, state: partitions of these topics; 0 = it is not there.
        trouble: in words, None where all is well.
        made_again: topics that were gone and that the worker has made again.
    """

    readings: int
    state: int
    trouble: str | None = None
    made_again: frozenset[str] = frozenset()


class TopicCounts(Protocol):
    """Tells the partitions of topics without making any."""

    async def read(self, names: list[str]) -> Mapping[str, int]:
        """{topic: partitions} of those that exist. Raises KafkaError where the brokers do not answer."""

    async def close(self) -> None: ...


class AdminTopicCounts:
    """`TopicCounts` on a connection of its own, which is opened when it is asked for the first time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: KafkaAdmin | None = None

    async def read(self, names: list[str]) -> dict[str, int]:
        if self._admin is None:
            self._admin = await open_admin(self._settings)
        request = MetadataRequest(names, allow_auto_topic_creation=False)
        answer = await self._admin._send_request(request)  # noqa: SLF001 - its `describe_topics` makes a topic that it asks for by name, where brokers do that
        return {
            topic["topic"]: len(topic["partitions"])
            for topic in answer.to_object()["topics"]
            # A partition without a leader is there all the same; only what is unknown is gone.
            if topic["error_code"] != UNKNOWN_TOPIC and (topic["error_code"] == NONE or topic["partitions"])
        }

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()


class TopicWatch:
    """Compares the topics at the brokers with those that a worker needs, whenever it is asked.

    Args:
        settings: names the topics, and says whether they may be made.
        counts: asks the brokers.
        ensure_topics: makes what is missing, and extends the topic of state.
    """

    def __init__(
        self,
        settings: Settings,
        counts: TopicCounts,
        ensure_topics: Callable[[Settings], Awaitable[dict[str, int]]],
    ) -> None:
        self._settings = settings
        self._counts = counts
        self._ensure_topics = ensure_topics
        self._names = [topic.name for topic in declared_topics(settings) if topic.workers]

    async def look(self) -> TopicsSeen:
        """The topics as they are now; missing ones are made where that is allowed.

        The topic of readings is left to whoever deleted it, and to the next start: it may come back with other
        partitions.

        Raises:
            KafkaError: the brokers do not answer.
        """
        settings = self._settings
        found = await self._counts.read(self._names)
        missing = [name for name in self._names if name not in found]
        readings, state = found.get(settings.topic_readings, 0), found.get(settings.topic_state, 0)
        if not missing and state >= readings:
            return TopicsSeen(readings, state)
        if settings.topic_readings in missing or not settings.create_topics:
            return TopicsSeen(readings, state, self._trouble(missing, readings, state))
        if missing:
            log.error("topics %s were deleted, and what they held is lost; they are made again", ", ".join(missing))
        try:
            counts = await self._ensure_topics(settings)
        except BrokerError as error:
            return TopicsSeen(readings, state, str(error))
        return TopicsSeen(readings, counts[settings.topic_state], None, frozenset(missing))

    def _trouble(self, missing: list[str], readings: int, state: int) -> str:
        settings = self._settings
        if missing:
            return f"topics {', '.join(missing)} do not exist any more; create them again"
        return (
            f"topic {settings.topic_state} has {state} partitions, {readings} are needed, as many as "
            f"{settings.topic_readings} has; add partitions to it"
        )

    async def close(self) -> None:
        try:
            await self._counts.close()
        except (KafkaError, OSError) as error:
            log.debug("the connection did not close: %r", error)
