"""Reads logs without a consumer group: their ends, the time of a record, the topic of state, a group's offsets."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from stream_detector.decoding.control_records import KEY
from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import AdminGroupOffsets
from stream_detector.streaming.clients.kafka_types import GroupOffsets, KafkaConsumer, KafkaRecord, TopicPartition
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.readers.plain_alarms import PlainAlarms
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.topics.topics import existing_partitions

log = logging.getLogger(__name__)

POLL_MILLISECONDS = 500
CLOSE_SECONDS = 1.0

LOOK_BACK_RECORDS = 10
"""Of records that are looked through for a reading, and so many times more at each further look."""

LONGEST_POLL_MILLISECONDS = 50
"""For so long the broker may keep a question for records that are not there; others on the connection wait for it."""

MOST_READ_ON_SECONDS = 86_400.0
"""A head reads on from where its training ended if that is no longer ago: decisions wait meanwhile."""


class LogReader:
    """Use it with `async with`; `open_log_reader` makes one that reads from the brokers.

    Args:
        settings: names group and topics.
        consumer: not started, a member of no group.
        group_offsets: says what the group has committed.
        topics: says which partitions every topic has; None = the topic of alarms is not read.
    """

    def __init__(
        self,
        settings: Settings,
        consumer: KafkaConsumer,
        group_offsets: GroupOffsets,
        topics: Callable[[], Awaitable[Mapping[str, Sequence[int]]]] | None = None,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._group_offsets = group_offsets
        self._topics = topics
        self._plain_alarms = PlainAlarms(settings)

    async def __aenter__(self) -> Self:
        """Raises KafkaError when the brokers cannot be reached."""
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._consumer.stop()
        finally:
            await self._group_offsets.close()

    async def close(self) -> None:
        """Give up the connections, within a second; a broker that is away does not matter."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.__aexit__(None, None, None)
        except (KafkaError, TimeoutError, OSError) as error:
            log.debug("a connection to the brokers did not close: %r", error)

    async def warm(self) -> None:
        """Ask once about readings and state: connections are open then, and who leads their partitions is known."""
        settings = self._settings
        await self._consumer.end_offsets(
            [TopicPartition(topic, 0) for topic in (settings.topic_readings, settings.topic_state)]
        )

    def rest(self) -> None:
        """Ask for no more records: whoever read some stopped before their end, perhaps."""
        self._consumer.pause(*self._consumer.assignment())

    async def committed(self, partitions: set[int]) -> dict[int, int]:
        """Offsets that the group has committed, asked without being its member; none for a partition without one."""
        if not partitions:
            return {}
        found = await self._group_offsets.read(self._settings.group, self._of_readings(partitions))
        return {tp.partition: entry.offset for tp, entry in found.items()}

    async def ends(self, partitions: set[int]) -> dict[int, tuple[int, int]]:
        """(first offset, next offset) of partitions of the readings topic."""
        wanted = self._of_readings(partitions)
        # Asked together: while batches are handled, an answer waits for the one in hand.
        beginnings, ends = await asyncio.gather(
            self._consumer.beginning_offsets(wanted), self._consumer.end_offsets(wanted)
        )
        return {tp.partition: (beginnings[tp], ends[tp]) for tp in wanted}

    async def low_by_time(
        self, partition: int, committed: int, beginning: int, rewind_seconds: float, read_until: float | None = None
    ) -> int:
        """The offset `rewind_seconds` (of the records' Kafka timestamps) before the newest reading below `committed`.

        Control records have the time of whoever wrote them, which says nothing where a plant's stamps are older.

        read_until: epoch seconds from which on a head would have every record, where that is not too long ago.
        """
        if committed <= beginning:
            return beginning
        (tp,) = self._of_readings({partition})
        self._consumer.assign([tp])
        self._consumer.seek(tp, committed - 1)
        fetched = await self._consumer.getmany(tp, timeout_ms=5_000, max_records=1)
        self._consumer.pause(tp)
        records = fetched.get(tp)
        newest = records[0] if records else None
        if newest is not None and newest.key == KEY:
            newest = await self._newest_reading(partition, beginning, min(newest.offset, committed))
        if newest is None:
            return beginning
        elapsed = 0.0 if read_until is None else newest.timestamp / 1000 - read_until
        if 0.0 < elapsed <= MOST_READ_ON_SECONDS:
            rewind_seconds += elapsed
        moment = max(0, newest.timestamp - int(rewind_seconds * 1000))
        found = (await self._consumer.offsets_for_times({tp: moment})).get(tp)
        # The embedded broker knows no times; then all that is left is read again.
        return beginning if found is None else min(int(found.offset), committed)

    async def _newest_reading(self, partition: int, beginning: int, end: int) -> KafkaRecord | None:
        """The newest record of `beginning .. end` that is no control record; None where all are."""
        step = LOOK_BACK_RECORDS
        while end > beginning:
            begin, found = max(beginning, end - step), None
            async for records in self.readings(partition, begin, end):
                found = next((record for record in reversed(records) if record.key != KEY), found)
            if found is not None:
                return found
            end, step = begin, step * LOOK_BACK_RECORDS
        return None

    async def readings(self, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[KafkaRecord]]:
        """The records `begin .. end` of a partition of the readings, a fetch at a time."""
        (tp,) = self._of_readings({partition})
        self._consumer.assign([tp])
        self._consumer.seek(tp, begin)
        async for _, records in self._read({tp: end}):
            found = [record for record in records if record.offset < end]
            if found:
                yield found

    async def state(self, ends: Mapping[int, int]) -> dict[int, PartitionState]:
        """What the topic of state holds of the partitions in `ends`, the next offsets of the readings."""
        topic, group = self._settings.topic_state, self._settings.group
        wanted = [TopicPartition(topic, number) for number in sorted(ends)]
        until = await self._consumer.end_offsets(wanted)
        found = {
            number: PartitionState(group, end, until[TopicPartition(topic, number)]) for number, end in ends.items()
        }
        self._consumer.assign(wanted)
        await self._consumer.seek_to_beginning(*wanted)
        async for tp, records in self._read(until):
            found[tp.partition].take(records)
        return found

    async def state_where_other(self, known: Mapping[int, tuple[int, int]]) -> dict[int, PartitionState]:
        """What the topic of state holds of those partitions where it does not end where it is known to end.

        `known`: {partition: (next offset of the readings, next offset of the state)}.
        """
        wanted = [TopicPartition(self._settings.topic_state, number) for number in sorted(known)]
        ends = await self._consumer.end_offsets(wanted)
        other = {tp.partition: known[tp.partition][0] for tp, end in ends.items() if end != known[tp.partition][1]}
        return await self.state(other) if other else {}

    async def state_of_all(self) -> dict[int, PartitionState]:
        """The state of every partition that the topic of state has."""
        known = {} if self._topics is None else await self._topics()
        numbers = known.get(self._settings.topic_state, ())
        return await self.state(dict.fromkeys(numbers, sys.maxsize)) if numbers else {}

    async def alarms_since(self, timestamp_ms: int) -> list[KafkaRecord]:
        """The alarms that were published since that Kafka time."""
        topic = self._settings.topic_alarms
        known = {} if self._topics is None else await self._topics()
        wanted = [TopicPartition(topic, number) for number in known.get(topic, ())]
        if not wanted:
            return []
        until = await self._consumer.end_offsets(wanted)
        found = await self._consumer.offsets_for_times(dict.fromkeys(wanted, max(0, timestamp_ms)))
        self._consumer.assign(wanted)
        await self._consumer.seek_to_beginning(*wanted)
        # The embedded broker knows no times; then everything is read.
        if any(found.values()):
            for tp in wanted:
                at = found.get(tp)
                self._consumer.seek(tp, until[tp] if at is None else at.offset)
        return await self._plain_alarms.of([record async for _, records in self._read(until) for record in records])

    async def _read(
        self, until: Mapping[TopicPartition, int]
    ) -> AsyncIterator[tuple[TopicPartition, Sequence[KafkaRecord]]]:
        """The records of assigned partitions up to these offsets, and perhaps some beyond.

        A partition that is read is paused at once: else aiokafka asks for what comes behind its end, the broker keeps
        that question for half a second, and answers no other one on this connection meanwhile.
        """
        left = set(until)
        found: Mapping[TopicPartition, Sequence[KafkaRecord]] = {}
        while True:
            done = {tp for tp in left if await self._consumer.position(tp) >= until[tp]}
            self._consumer.pause(*done)
            left -= done
            for tp, records in found.items():
                yield tp, records
            if not left:
                return
            found = await self._consumer.getmany(*left, timeout_ms=POLL_MILLISECONDS)

    def _of_readings(self, partitions: set[int]) -> list[TopicPartition]:
        return [TopicPartition(self._settings.topic_readings, number) for number in sorted(partitions)]


def open_log_reader(settings: Settings) -> LogReader:
    """A reader of the brokers that the settings name, not started."""
    consumer = AIOKafkaConsumer(
        **aiokafka_options(settings),
        client_id="stream-detector-reader",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        request_timeout_ms=15_000,
        # It waits so long for the metadata of a topic that it meets for the first time, twice in every start.
        retry_backoff_ms=20,
        # What is read has an end that is known: what may still come is worth no waiting for (see `LogReader._read`).
        fetch_max_wait_ms=LONGEST_POLL_MILLISECONDS,
    )
    return LogReader(settings, consumer, AdminGroupOffsets(settings), partial(existing_partitions, settings))
