"""Reads whole topics without a consumer group: from the beginning, or from a time, to the end, and on from there.

Records of one partition come in the order of the log. Between partitions there is no order, so whoever reads must
give the same answer whatever that order is.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.topics.topics import existing_partitions

POLL_SECONDS = 0.5
ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record as it lies in the log; `value` None = tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class TopicReader:
    """An open reader; use it with `async with`.

    Args:
        settings: where the brokers are.
        topics: which topics; those that do not exist are listed in `missing` and read as empty.
        since: epoch seconds of broker time from which to read; None = from the beginning.
    """

    def __init__(self, settings: Settings, topics: Iterable[str], since: float | None = None) -> None:
        self._settings = settings
        self._topics = sorted(set(topics))
        self._since = since
        self.missing: list[str] = []
        self._asked: Any = None

    async def __aenter__(self) -> Self:
        self._consumer: Any = AIOKafkaConsumer(
            **aiokafka_options(self._settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=200,
        )
        try:
            await self._consumer.start()
            await self._assign()
        except KafkaError as error:
            await self._consumer.stop()
            raise BrokerError(
                f"cannot read {', '.join(self._topics)} from {self._settings.bootstrap}: {error}; "
                "is the broker up, and is --bootstrap its address?"
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asked is not None:
            self._asked.cancel()
        await self._consumer.stop()

    async def _assign(self) -> None:
        existing = await existing_partitions(self._settings)
        self.missing = [topic for topic in self._topics if topic not in existing]
        partitions = [
            TopicPartition(topic, partition) for topic in self._topics for partition in existing.get(topic, ())
        ]
        self._consumer.assign(partitions)
        if not partitions:
            return
        if self._since is None:
            await self._consumer.seek_to_beginning(*partitions)
            return
        # Rounded up: a record's timestamp is whole milliseconds.
        wanted = dict.fromkeys(partitions, max(0, math.ceil(self._since * 1000)))
        ends = await self._consumer.end_offsets(partitions)
        for partition, found in (await self._consumer.offsets_for_times(wanted)).items():
            self._consumer.seek(partition, ends[partition] if found is None else found.offset)

    async def to_end(self) -> AsyncIterator[list[TopicRecord]]:
        """Batches of records up to the ends that the partitions have now; then it stops."""
        partitions = list(self._consumer.assignment())
        ends = await self._consumer.end_offsets(partitions) if partitions else {}
        while any([await self._consumer.position(partition) < end for partition, end in ends.items()]):
            yield await self._batch()

    async def follow(self) -> AsyncIterator[list[TopicRecord]]:
        """Batches of records as they come, without end; a quiet half second yields an empty batch."""
        while True:
            yield await self._batch()

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

    async def _batch(self) -> list[TopicRecord]:
        found = await self._consumer.getmany(timeout_ms=round(POLL_SECONDS * 1000))
        return [
            TopicRecord(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value)
            for records in found.values()
            for record in records
        ]
