"""Reads what a group has committed. A broker that cannot say yet is not taken for one that knows of no commits.

A broker that has just started and does not hold the group yet answers with an error of the whole answer, and with no
offsets. aiokafka looks only at the errors of single partitions, in its admin client and in its consumer, and takes that
for a group that has never committed anything. Hence these (private interface; the version is pinned).
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka.errors import GroupLoadInProgressError, KafkaError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

from stream_detector.settings import Settings
from stream_detector.streaming.clients.admin import open_admin
from stream_detector.streaming.clients.kafka_types import KafkaAdmin, OffsetAndMetadata, TopicPartition

NONE, UNKNOWN_TOPIC = 0, 3
"""Codes of an answer; nothing is committed of a topic that does not exist."""


class AdminGroupOffsets:
    """`GroupOffsets` on a connection of its own, which is opened when it is asked for the first time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: KafkaAdmin | None = None

    async def read(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        """As `committed_offsets`.

        Raises:
            KafkaError: the group's coordinator cannot be reached, or cannot say yet.
        """
        if self._admin is None:
            self._admin = await open_admin(self._settings)
        return await committed_offsets(self._admin, group, partitions)

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()


def committed_metadata(settings: Settings, group: str, partitions: list[int]) -> list[str]:
    """What this group's commits of the topic of readings carry; nothing where we may not look.

    Not by confluent-kafka, whose version 2.16 takes what lies behind the metadata in memory for a part of them.
    """

    async def ask() -> list[str]:
        offsets = AdminGroupOffsets(settings)
        try:
            found = await offsets.read(
                group, [TopicPartition(settings.topic_readings, number) for number in partitions]
            )
        finally:
            await offsets.close()
        return [entry.metadata for entry in found.values() if entry.metadata]

    try:
        return asyncio.run(ask())
    except (KafkaError, TimeoutError, OSError):
        return []


async def committed_offsets(
    admin: KafkaAdmin, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """{TopicPartition: OffsetAndMetadata} of those partitions of which the group has committed something.

    Args:
        admin: need not be a member of the group.

    Raises:
        KafkaError: the group's coordinator cannot be reached, or cannot say yet.
    """
    wanted = list(partitions)
    if not wanted:
        return {}
    coordinator = await admin.find_coordinator(group)
    return _offsets(await admin._send_request(_request(group, wanted), coordinator), group)  # noqa: SLF001 - the public call overlooks it


async def own_committed_offsets(
    consumer: Any, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The same for the group of an `AIOKafkaConsumer`; waits until its coordinator can say.

    Raises:
        KafkaError: the coordinator refuses to say.
    """
    wanted, coordinator = list(partitions), consumer._coordinator  # noqa: SLF001 - only it knows who holds the group
    while wanted:
        await coordinator.ensure_coordinator_known()
        try:
            answer = await coordinator._send_req(_request(coordinator.group_id, wanted))  # noqa: SLF001 - the public call overlooks the error of the whole
            return _offsets(answer, coordinator.group_id)
        except KafkaError as error:
            if not error.retriable:
                raise
            if not isinstance(error, GroupLoadInProgressError):
                coordinator.coordinator_dead()
        await asyncio.sleep(coordinator._retry_backoff_ms / 1000)  # noqa: SLF001 - as long as aiokafka itself waits
    return {}


def _request(group: str, partitions: Iterable[TopicPartition]) -> Any:
    """Partitions are named, for the embedded broker does not answer when asked about all."""
    wanted: dict[str, list[int]] = defaultdict(list)
    for topic, partition in partitions:
        wanted[topic].append(partition)
    return OffsetFetchRequest(group, list(wanted.items()))


def _offsets(answer: Any, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    entries = [(topic, *entry) for topic, found in answer.topics for entry in found]
    # The oldest form of the answer has no error of the whole.
    for code in (getattr(answer, "error_code", NONE), *(code for *_, code in entries)):
        if code not in (NONE, UNKNOWN_TOPIC):
            raise for_code(code)(f"the offsets of group {group} cannot be read")
    return {
        TopicPartition(topic, partition): OffsetAndMetadata(offset, metadata)
        for topic, partition, offset, metadata, _ in entries
        if offset >= 0
    }
