"""Reads whole topics without a consumer group: from the beginning, or from a time, to the end, and on from there.

Records of one partition come in the order of the log. Between partitions there is no order, so whoever reads must
give the same answer whatever that order is.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from stream_detector.decoding.field_mapping import Headers
from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import why_unreachable
from stream_detector.streaming.clients.kafka_types import FollowingConsumer, TopicPartition
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.readers.committed_log import wanted_by_us
from stream_detector.streaming.readers.plain_alarms import PlainAlarms
from stream_detector.streaming.topics.topics import existing_partitions

POLL_SECONDS = 0.5
ANSWER_SECONDS = 1.0
LOOK_SECONDS = 2.0
"""So often is a topic looked for that is not there yet."""

OPTIONAL_LOOK_SECONDS = 30.0
"""So often one that may never be there: looking takes a connection of its own."""

METADATA_MILLISECONDS = 30_000
"""So old may be what is known of the partitions."""


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record as it lies in the log; `value` None = tombstone. A dataclass, as aiokafka's is."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class TopicReader:
    """Reads all partitions of some topics; use it with `async with`.

    Args:
        settings: where the brokers are.
        topics: which topics; those that do not exist are listed in `missing` and read as empty.
        since: epoch seconds of broker time from which to read; None = from the beginning, infinity = from the end.
            Partitions that are made while the reader follows are read from their beginning.
        optional: more topics, which nobody misses where they do not exist; those are listed in `absent`.
    """

    def __init__(
        self, settings: Settings, topics: Iterable[str], since: float | None = None, optional: Iterable[str] = ()
    ) -> None:
        self._settings = settings
        self._plain_alarms = PlainAlarms(settings)
        self._optional = frozenset(optional)
        self._topics = sorted({*topics, *self._optional})
        self.absent: list[str] = []
        self._since = since
        self.missing: list[str] = []
        self._looked = 0.0
        self._asked: asyncio.Task[dict[TopicPartition, int]] | None = None

    async def __aenter__(self) -> Self:
        self._consumer: FollowingConsumer = AIOKafkaConsumer(
            **aiokafka_options(self._settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=200,
            metadata_max_age_ms=METADATA_MILLISECONDS,
        )
        try:
            await self._consumer.start()
            await self._assign()
        except KafkaError as error:
            await self._consumer.stop()
            found = await why_unreachable(self._settings)
            reason = str(error) if found is None else found.reason
            hint = "" if found is not None and found.refused else "; is the broker up, and is --bootstrap its address?"
            raise BrokerError(
                f"cannot read {', '.join(self._topics)} from {self._settings.bootstrap}: {reason}{hint}"
            ) from None
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asked is not None:
            self._asked.cancel()
        await self._consumer.stop()

    async def _assign(self) -> None:
        existing = await existing_partitions(self._settings)
        partitions = self._of_our_topics(existing)
        self._look_for_missing(existing)
        self._consumer.assign(partitions)
        if not partitions:
            return
        if self._since is None:
            await self._consumer.seek_to_beginning(*partitions)
            return
        ends = await self._consumer.end_offsets(partitions)
        starts = {} if math.isinf(self._since) else await self._offsets_at(partitions, self._since)
        for partition, end in ends.items():
            self._consumer.seek(partition, starts.get(partition, end))

    async def _offsets_at(self, partitions: list[TopicPartition], moment: float) -> dict[TopicPartition, int]:
        """Of the partitions with records at or after a moment (epoch seconds)."""
        # Rounded up: a record's timestamp is whole milliseconds.
        wanted = dict.fromkeys(partitions, max(0, math.ceil(moment * 1000)))
        found = await self._consumer.offsets_for_times(wanted)
        return {partition: answer.offset for partition, answer in found.items() if answer is not None}

    async def _take_up_new_partitions(self) -> None:
        existing: Mapping[str, Collection[int]]
        waited = time.monotonic() - self._looked
        if self.missing and waited < LOOK_SECONDS:
            return
        if self.missing or (self.absent and waited >= OPTIONAL_LOOK_SECONDS):
            try:
                existing = await existing_partitions(self._settings)
            except KafkaError:
                self._looked = time.monotonic()
                return  # they are away for a while
            self._look_for_missing(existing)
        else:
            existing = {topic: self._consumer.partitions_for_topic(topic) or () for topic in self._topics}
        held = set(self._consumer.assignment())
        new = set(self._of_our_topics(existing)) - held
        if not new:
            return
        positions = {partition: await self._consumer.position(partition) for partition in held}
        self._consumer.assign([*positions, *new])
        for partition, offset in positions.items():
            self._consumer.seek(partition, offset)
        await self._consumer.seek_to_beginning(*new)

    def _look_for_missing(self, existing: Mapping[str, Collection[int]]) -> None:
        self._looked = time.monotonic()
        self.missing = [topic for topic in self._topics if topic not in existing and topic not in self._optional]
        self.absent = sorted(topic for topic in self._optional if topic not in existing)

    def _of_our_topics(self, existing: Mapping[str, Collection[int]]) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic in self._topics for partition in existing.get(topic, ())]

    async def to_end(self) -> AsyncIterator[list[TopicRecord]]:
        """Batches of records up to the ends that the partitions have now; then it stops."""
        partitions = list(self._consumer.assignment())
        ends = await self._consumer.end_offsets(partitions) if partitions else {}
        while any([await self._consumer.position(partition) < end for partition, end in ends.items()]):
            yield await self._batch()

    async def follow(self, quiet_seconds: float = POLL_SECONDS) -> AsyncIterator[list[TopicRecord]]:
        """Batches of records as they come, without end; `quiet_seconds` without any yield an empty batch.

        Raises:
            BrokerError: the brokers refuse to be read from. While they are only away, nothing comes.
        """
        while True:
            try:
                await self._take_up_new_partitions()
                batch = await self._batch(quiet_seconds)
            except KafkaError as error:
                raise BrokerError(f"cannot go on reading {', '.join(self._topics)}: {error}") from None
            except asyncio.CancelledError:
                if wanted_by_us():
                    raise
                batch = []
            yield batch

    async def answered(self) -> bool:
        """Whether the brokers say where the logs end, within a second or so; while they are away nothing comes."""
        # A question that is not answered is left to run out: cancelled, it would take along what others wait for.
        if self._asked is None:
            self._asked = asyncio.create_task(self._consumer.end_offsets(list(self._consumer.assignment())))
        await asyncio.wait({self._asked}, timeout=ANSWER_SECONDS)
        if not self._asked.done():
            return False
        asked, self._asked = self._asked, None
        try:
            asked.result()
        except (KafkaError, TimeoutError, asyncio.CancelledError):
            return False
        return True

    async def _batch(self, quiet_seconds: float = POLL_SECONDS) -> list[TopicRecord]:
        found = await self._consumer.getmany(timeout_ms=round(quiet_seconds * 1000))
        records = [
            TopicRecord(
                record.topic,
                record.partition,
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                record.headers,
            )
            for fetched in found.values()
            for record in fetched
        ]
        return await self._plain_alarms.of(records)
