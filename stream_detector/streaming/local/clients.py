"""Clients of a `LocalBroker` with the interfaces of aiokafka's."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from aiokafka.errors import KafkaConnectionError

from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, OffsetAndTimestamp, TopicPartition
from stream_detector.streaming.local.broker import LocalBroker, LocalRecord
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.topics.topics import worker_topics


class LocalConsumer:
    """`KafkaConsumer`: partitions assigned by hand. A fetch brings at most `most_records` of a partition."""

    def __init__(self, broker: LocalBroker, most_records: int = 500) -> None:
        self._broker = broker
        self._most_records = most_records
        self._positions: dict[TopicPartition, int] = {}
        self.started = False

    async def start(self) -> None:
        self._broker.answer()
        self.started = True

    async def stop(self) -> None:
        self.started = False

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = {tp: self._broker.beginning(tp) for tp in partitions}

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        """Nothing is fetched ahead here."""

    async def seek_to_beginning(self, *partitions: TopicPartition) -> bool:
        await self._answer()
        for tp in partitions:
            self._positions[tp] = self._broker.beginning(tp)
        return True

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    async def getmany(
        self,
        *partitions: TopicPartition,
        timeout_ms: int = 0,  # noqa: ARG002 - as aiokafka's; here nothing is worth waiting for
        max_records: int | None = None,
    ) -> dict[TopicPartition, Sequence[LocalRecord]]:
        await self._answer()
        found: dict[TopicPartition, Sequence[LocalRecord]] = {}
        for tp in partitions or tuple(self._positions):
            records, position = self._broker.between(tp, self._positions[tp], max_records or self._most_records)
            self._positions[tp] = position
            if records:
                found[tp] = records
        return found

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._answer()
        return {tp: self._broker.beginning(tp) for tp in partitions}

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._answer()
        return {tp: self._broker.end(tp) for tp in partitions}

    async def offsets_for_times(
        self, timestamps: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        await self._answer()
        found: dict[TopicPartition, OffsetAndTimestamp | None] = {}
        for tp, moment in timestamps.items():
            records, _ = self._broker.between(tp, self._broker.beginning(tp))
            first = next((record for record in records if record.timestamp >= moment), None)
            found[tp] = None if first is None else OffsetAndTimestamp(first.offset, first.timestamp)
        return found

    async def _answer(self) -> None:
        # As with aiokafka, others may run before there is an answer.
        await asyncio.sleep(0)
        if not self.started:
            raise KafkaConnectionError("the consumer is not started")
        self._broker.answer()


class LocalProducer:
    """`KafkaProducer`."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker
        self.started = self.abandoned = False

    async def start(self) -> None:
        self._broker.answer()
        self.started = True

    async def stop(self) -> None:
        self.started = False

    async def abandon(self) -> None:
        self.started, self.abandoned = False, True

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        *,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> "asyncio.Future[object]":
        if not self.started:
            raise KafkaConnectionError("the producer is not started")
        # As with aiokafka, others may run before the record is taken.
        await asyncio.sleep(0)
        return self._broker.send(topic, value, key, partition, headers or ())


class LocalGroupOffsets:
    """`GroupOffsets`."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker

    async def read(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        self._broker.answer()
        found = {tp: self._broker.committed.get((group, tp)) for tp in partitions}
        return {tp: entry for tp, entry in found.items() if entry is not None}

    async def close(self) -> None: ...


def local_log_reader(broker: LocalBroker, settings: Settings) -> LogReader:
    """A reader of the local broker, not started."""
    return LogReader(settings, LocalConsumer(broker), LocalGroupOffsets(broker), partial(local_topics, broker))


async def local_topics(broker: LocalBroker) -> dict[str, list[int]]:
    """{topic: its partitions}."""
    return {name: [tp.partition for tp in broker.partitions_of(name)] for name in broker.topics()}


async def local_groups(broker: LocalBroker, partitions: Sequence[TopicPartition]) -> list[str]:
    """Names of the groups that have committed something of these partitions."""
    broker.answer()
    return sorted({group for group, tp in broker.committed if tp in partitions})


async def ensure_local_topics(broker: LocalBroker, settings: Settings) -> dict[str, int]:
    """As `topics.ensure_topics`.

    Raises:
        KafkaConnectionError: the broker is down.
    """
    broker.answer()
    readings = len(broker.partitions_of(settings.topic_readings)) or settings.topic_partitions
    for name in worker_topics(settings):
        present = len(broker.partitions_of(name))
        own = readings if name in (settings.topic_readings, settings.topic_state) else settings.topic_partitions
        broker.create_topic(name, max(present, own) if name == settings.topic_state else present or own)
    return {name: len(broker.partitions_of(name)) for name in worker_topics(settings)}


class LocalTopicCounts:
    """As `topics.watch.AdminTopicCounts`."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker

    async def read(self, names: list[str]) -> dict[str, int]:
        """Raises KafkaConnectionError: the broker is down."""
        self._broker.answer()
        counts = {name: len(self._broker.partitions_of(name)) for name in names}
        return {name: count for name, count in counts.items() if count}

    async def close(self) -> None: ...
