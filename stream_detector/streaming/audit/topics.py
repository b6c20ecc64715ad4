"""The topics as an audit reads them: whole, a partition at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer

from stream_detector.engine.outcome import RecordBatch
from stream_detector.errors import BrokerError
from stream_detector.messages import Message
from stream_detector.operations.record_guard import RecordGuard, read_message
from stream_detector.settings import Settings
from stream_detector.streaming.clients.admin import open_admin
from stream_detector.streaming.clients.committed_offsets import committed_offsets, own_committed_offsets
from stream_detector.streaming.clients.kafka_types import KafkaConsumer, KafkaRecord, OffsetAndMetadata, TopicPartition
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.readers.plain_alarms import PlainAlarms
from stream_detector.streaming.readers.schema_registry import registry_of
from stream_detector.streaming.readers.translation import Translation, mapping_of
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.topics.topics import existing_partitions
from stream_detector.streaming.worker.offsets.takeover import GROUP, READINGS_PARTITION, TERM

POLL_MILLISECONDS = 500

MOST_GROUPS = 100
"""Looked at when the right one is searched for."""


class AuditTopics:
    """Open from `start` to `stop`; `open_audit_topics` makes one that reads from the brokers.

    Args:
        settings: names group and topics.
        consumer: not started.
        topics: says which partitions every topic has.
        committed: says what the group has committed of these partitions.
        groups: says which groups have committed something of them, whatever they are.
    """

    def __init__(
        self,
        settings: Settings,
        consumer: KafkaConsumer,
        topics: Callable[[], Awaitable[Mapping[str, Sequence[int]]]],
        committed: Callable[[Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, OffsetAndMetadata]]],
        groups: Callable[[Sequence[TopicPartition]], Awaitable[list[str]]],
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._topics = topics
        self._committed = committed
        self.groups = groups
        self._partitions: Mapping[str, Sequence[int]] = {}
        self._translation = Translation(mapping_of(settings), registry_of(settings))
        self._plain_alarms = PlainAlarms(settings)
        self.guard = RecordGuard()

    async def start(self) -> None:
        await self._consumer.start()
        self._partitions = await self._topics()
        if self._settings.topic_readings not in self._partitions:
            raise BrokerError(f"topic {self._settings.topic_readings} does not exist at {self._settings.bootstrap}")

    async def stop(self) -> None:
        await self._consumer.stop()

    def partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in self._partitions.get(topic, ())]

    async def committed(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        found = await self._committed(partitions)
        return {tp: entry.offset for tp, entry in found.items()}

    async def ends(self, tp: TopicPartition) -> tuple[int, int]:
        """(first offset, next offset)."""
        return (await self._consumer.beginning_offsets([tp]))[tp], (await self._consumer.end_offsets([tp]))[tp]

    async def read(self, tp: TopicPartition, begin: int, end: int) -> AsyncIterator[list[KafkaRecord]]:
        """The records `begin .. end` of one partition, a fetch at a time."""
        self._consumer.assign([tp])
        self._consumer.seek(tp, begin)
        while await self._consumer.position(tp) < end:
            fetched = await self._consumer.getmany(tp, timeout_ms=POLL_MILLISECONDS)
            records = [record for record in fetched.get(tp, ()) if record.offset < end]
            if records:
                yield records

    async def values(self, topic: str, kind: type[Message]) -> list[dict[str, Any]]:
        """The bodies of a topic's records that are such messages; none of another group's.

        With the bytes as `_raw`, and as `_said_in` the partition of the readings and the term, where headers tell them.
        """
        bodies, own = [], self._settings.group.encode()
        for tp in self.partitions(topic):
            begin, end = await self.ends(tp)
            async for records in self.read(tp, begin, end):
                for record in await self._plain_alarms.of(records):
                    headers = dict(record.headers)
                    if headers.get(GROUP, own) != own:
                        continue
                    with self.guard.skipping(record):
                        read_message(kind, record.value)
                        said_in = tuple(headers.get(name, b"") for name in (READINGS_PARTITION, TERM))
                        bodies.append(
                            {**orjson.loads(record.value or b""), "_raw": record.value, "_said_in": _numbers(said_in)}
                        )
        return bodies

    async def state(self, number: int, end: int) -> PartitionState:
        """What the topic of state says of a partition of the readings, which ends at `end`."""
        state = PartitionState(self._settings.group, end)
        tp = TopicPartition(self._settings.topic_state, number)
        if tp in self.partitions(self._settings.topic_state):
            async for records in self.read(tp, *await self.ends(tp)):
                state.take(records)
        return state

    def batch(self, tp: TopicPartition, records: Sequence[KafkaRecord]) -> RecordBatch:
        """The same translation of other people's records as the worker's."""
        return self._translation.batch(
            tp.topic,
            tp.partition,
            [record.offset for record in records],
            [record.key for record in records],
            [record.value for record in records],
            [record.timestamp for record in records],
            [record.headers for record in records],
        )


def open_audit_topics(settings: Settings) -> AuditTopics:
    """The topics at the brokers that the settings name, not started."""
    consumer = AIOKafkaConsumer(
        **aiokafka_options(settings),
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    return AuditTopics(
        settings,
        consumer,
        partial(existing_partitions, settings),
        partial(own_committed_offsets, consumer),
        partial(groups_with_offsets, settings),
    )


def _numbers(texts: Sequence[bytes]) -> tuple[int, ...] | None:
    """The numbers in headers; None where one is not there."""
    return tuple(map(int, texts)) if all(text.isdigit() for text in texts) else None


async def groups_with_offsets(settings: Settings, partitions: Sequence[TopicPartition]) -> list[str]:
    """Which groups have committed something of these, whatever they are."""
    admin = await open_admin(settings)
    try:
        names = sorted(name for name, *_ in await admin.list_consumer_groups())[:MOST_GROUPS]
        return [name for name in names if await committed_offsets(admin, name, partitions)]
    finally:
        await admin.close()
