"""Reads topics on from a committed offset, with the partitions assigned by hand.

A member of a group that handles one record for hours is thrown out of it; here only the progress is kept in a group.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from stream_detector.settings import Settings
from stream_detector.streaming.clients.admin import open_admin
from stream_detector.streaming.clients.committed_offsets import committed_offsets
from stream_detector.streaming.clients.kafka_types import (
    CommittingConsumer,
    KafkaAdmin,
    KafkaRecord,
    OffsetAndMetadata,
    TopicPartition,
)
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.readers.plain_alarms import PlainAlarms

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

POLL_MILLISECONDS = 500
RETRY_SECONDS = 1.0
ANSWER_SECONDS = 5.0
"""So long may the brokers take to say where their logs end."""


class CommittedLog:
    """Reads all partitions of some topics on from a committed offset; they are assigned by hand.

    Args:
        settings: where the brokers are.
        topics: which topics; they must exist.
        group: under which the progress is kept.
        first_lookback_seconds: how much of the past (broker time) to take where no progress was ever kept. A partition
            that was added since is read from its beginning.

    Attributes:
        metadata: what the last commit of each partition carries.
        answered_at: when the brokers last answered (monotonic clock).
    """

    def __init__(
        self, settings: Settings, topics: Sequence[str], group: str, first_lookback_seconds: float = 3_600.0
    ) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._group = group
        self._first_lookback_seconds = first_lookback_seconds
        self._done: dict[TopicPartition, int] = {}
        self.metadata: dict[TopicPartition, str] = {}
        self.answered_at = time.monotonic()
        self._plain_alarms = PlainAlarms(settings)
        self._asked: asyncio.Task[dict[TopicPartition, int]] | None = None

    async def __aenter__(self) -> Self:
        self._consumer: CommittingConsumer = AIOKafkaConsumer(
            **aiokafka_options(self._settings),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=30_000,
        )
        try:
            await self._consumer.start()
            await self._take_up(await self._partitions())
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asked is not None:
            self._asked.cancel()
        try:
            await self._consumer.stop()
        except asyncio.CancelledError:
            if wanted_by_us():
                raise

    async def next(self) -> list[KafkaRecord]:
        """The records that follow, as aiokafka gives them; empty after half a second without any."""
        await self._take_up_new_partitions()
        try:
            found = await self._consumer.getmany(timeout_ms=POLL_MILLISECONDS, max_records=500)
        except asyncio.CancelledError:
            if wanted_by_us():
                raise
            return []
        return await self._plain_alarms.of([record for records in found.values() for record in records])

    def done(self, topic: str, partition: int, offset: int) -> None:
        """Note that this record and all before it in its partition are done."""
        self._done[TopicPartition(topic, partition)] = offset + 1

    def is_done(self, topic: str, partition: int, offset: int) -> bool:
        """Whether this record was noted as done."""
        return offset < self._done.get(TopicPartition(topic, partition), 0)

    async def commit(self, metadata: str = "") -> None:
        """Keeps what is done; waits for the broker as long as it takes."""
        self.metadata = dict.fromkeys(self._done, metadata)
        await self._commit()

    async def _commit(self) -> None:
        offsets = {
            partition: OffsetAndMetadata(offset, self.metadata[partition]) for partition, offset in self._done.items()
        }
        await until_it_works(lambda: self._consumer.commit(offsets), f"commit of {self._group}")
        self.answered_at = time.monotonic()

    async def pending(self) -> int:
        """Number of records that are not done; 0 where the brokers do not say, see `answered_at`."""
        # A question that the brokers do not answer is left to run out: cancelled, it would take along what others of
        # the client wait for.
        if self._asked is None:
            self._asked = asyncio.create_task(self._consumer.end_offsets(list(self._done)))
        await asyncio.wait({self._asked}, timeout=ANSWER_SECONDS)
        if not self._asked.done():
            return 0
        asked, self._asked = self._asked, None
        try:
            ends = asked.result()
        except (KafkaError, TimeoutError, asyncio.CancelledError):
            return 0
        self.answered_at = time.monotonic()
        return sum(max(0, end - self._done[partition]) for partition, end in ends.items())

    async def before(self, seconds: float) -> list[KafkaRecord]:
        """The records of the last `seconds` (broker time) up to the progress; `next` still goes on from there."""
        starts = await self._offsets_at(list(self._done), time.time() - seconds)
        # A topic that was created anew is shorter than the progress in the old one.
        ends = await self._ends(list(self._done))
        untils = {partition: min(done, ends[partition]) for partition, done in self._done.items()}
        records: list[KafkaRecord] = []
        for partition, until in untils.items():
            self._consumer.seek(partition, min(starts[partition], until))
        while any([await self._consumer.position(partition) < until for partition, until in untils.items()]):
            for partition, found in (await self._consumer.getmany(timeout_ms=POLL_MILLISECONDS)).items():
                records += [record for record in found if record.offset < untils[partition]]
        for partition, done in self._done.items():
            self._consumer.seek(partition, done)
        return await self._plain_alarms.of(records)

    async def _ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return await until_it_works(lambda: self._consumer.end_offsets(partitions), "read where the logs end")

    async def _partitions(self) -> list[TopicPartition]:
        described = await self._ask_admin(lambda admin: admin.describe_topics(self._topics))
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        ]

    async def _take_up(self, partitions: Sequence[TopicPartition]) -> None:
        new = [partition for partition in partitions if partition not in self._done]
        committed = await self._committed(new)
        if self._done or committed:
            # Progress was kept, so a partition without any is a new one: nothing in it has been taken.
            first = (
                {}
                if not new
                else await until_it_works(lambda: self._consumer.beginning_offsets(new), "read where the logs begin")
            )
        else:
            first = await self._offsets_at(new, time.time() - self._first_lookback_seconds)
        self._consumer.assign([*self._done, *new])
        for partition in new:
            known = committed.get(partition)
            self._done[partition] = first[partition] if known is None else known.offset
            self.metadata[partition] = "" if known is None else known.metadata
        for partition, offset in self._done.items():
            self._consumer.seek(partition, offset)
        # So that a start after a crash goes on from here and does not look back anew.
        await self._commit()

    async def _take_up_new_partitions(self) -> None:
        known = [
            TopicPartition(topic, partition)
            for topic in self._topics
            for partition in self._consumer.partitions_for_topic(topic) or ()
        ]
        if set(known) - set(self._done):
            log.info("new partitions: %s", sorted(set(known) - set(self._done)))
            await self._take_up(known)

    async def _committed(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        # The consumer's own `committed` leaves the metadata out.
        return await self._ask_admin(lambda admin: committed_offsets(admin, self._group, partitions))

    async def _ask_admin(self, question: Callable[[KafkaAdmin], Awaitable[Answer]]) -> Answer:
        async def ask() -> Answer:
            admin = await open_admin(self._settings)
            try:
                return await question(admin)
            finally:
                await admin.close()

        # A broker that has just started names no coordinator of groups yet.
        return await until_it_works(ask, "read the progress")

    async def _offsets_at(self, partitions: Sequence[TopicPartition], moment: float) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        # Partitions need not be assigned for this. Assigning twice in a row may end aiokafka's coordinator with a bare
        # AssertionError: it looks at the first assignment after the second has replaced it.
        ends = await self._ends(partitions)
        wanted = dict.fromkeys(partitions, max(0, round(moment * 1000)))
        found = await until_it_works(lambda: self._consumer.offsets_for_times(wanted), "read where the logs stood")
        return {
            partition: end if (answer := found.get(partition)) is None else answer.offset
            for partition, end in ends.items()
        }


def wanted_by_us() -> bool:
    """Whether somebody has cancelled this task. While brokers are away aiokafka cancels what its callers wait for; that
    looks the same to them, and would end a task without a word."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def until_it_works(attempt: Callable[[], Awaitable[Answer]], what: str) -> Answer:
    """Repeats a call to the brokers until they answer: an outage ends, and nothing may be dropped meanwhile."""
    while True:
        try:
            return await attempt()
        except (KafkaError, TimeoutError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and wanted_by_us():
                raise
            log.warning("%s: %s; trying again", what, str(error) or type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
