"""The topics as an audit reads them: whole, a partition at a time."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.engine.outcome import RecordBatch
from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import own_committed_offsets
from stream_detector.streaming.clients.kafka_types import KafkaRecord, TopicPartition
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.clients.state_topic import PartitionState
from stream_detector.streaming.clients.topics import existing_partitions

POLL_MILLISECONDS = 500


class AuditTopics:
    """Open from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = AIOKafkaConsumer(
            **aiokafka_options(settings),
            group_id=settings.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        self._partitions: dict[str, list[int]] = {}
        mapping_file = settings.field_mapping_file
        # Re-keying translates the records already.
        mapped = mapping_file is not None and settings.sensor_assets_file is None
        self._mapping = FieldMapping.load(mapping_file) if mapped and mapping_file is not None else None

    async def start(self) -> None:
        await self._consumer.start()
        self._partitions = await existing_partitions(self._settings)
        if self._settings.topic_readings not in self._partitions:
            raise BrokerError(f"topic {self._settings.topic_readings} does not exist at {self._settings.bootstrap}")

    async def stop(self) -> None:
        await self._consumer.stop()

    def partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in self._partitions.get(topic, ())]

    async def committed(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        found = await own_committed_offsets(self._consumer, partitions)
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

    async def values(self, topic: str) -> list[dict[str, Any]]:
        """The bodies of a topic's records, with the bytes as `_raw`."""
        bodies = []
        for tp in self.partitions(topic):
            begin, end = await self.ends(tp)
            async for records in self.read(tp, begin, end):
                bodies += [{**orjson.loads(record.value or b"{}"), "_raw": record.value} for record in records]
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
        mapping = self._mapping
        return RecordBatch(
            tp.topic,
            tp.partition,
            [record.offset for record in records],
            [record.key for record in records],
            [
                record.value if mapping is None else mapping.to_message(record.value, tp.topic, record.timestamp)
                for record in records
            ],
            [record.timestamp for record in records],
        )
