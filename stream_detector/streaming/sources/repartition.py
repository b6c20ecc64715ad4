"""Re-keys a bus that is keyed by sensor, or not keyed, by asset: from `topic_unkeyed` to `topic_readings`.

A map sensor -> asset (`sensor_assets_file`) says where each reading belongs. At least once: a repeat is a duplicate
reading, which the grid knows. What cannot be placed is passed on as it is; the worker makes a dead letter of it.

A field mapping is applied here, where the name of the topic still is known: with a regular expression (`^...`) for
`topic_unkeyed` a bus may have one topic a sensor.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaProducer, KafkaRecord, TopicPartition
from stream_detector.streaming.clients.producer import ConfirmedProducer, Outgoing, open_producer
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.readers.schema_registry import registry_of
from stream_detector.streaming.readers.translation import Translation
from stream_detector.streaming.sources.placing import Placing

log = logging.getLogger(__name__)

POLL_MILLISECONDS = 500

METADATA_MILLISECONDS = 30_000
"""After so long a new topic that fits the pattern is found."""

PATTERN = "^"
"""Begins a `topic_unkeyed` that is a regular expression, as elsewhere in Kafka."""


class RekeyingConsumer(Protocol):
    """`AIOKafkaConsumer`, subscribed, as far as re-keying needs it."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def getmany(self, *, timeout_ms: int = 0) -> Mapping[TopicPartition, Sequence[KafkaRecord]]: ...
    async def commit(self) -> None:
        """Commit all that was fetched."""


def open_consumer(settings: Settings) -> RekeyingConsumer:
    """A consumer of the topics that are to be re-keyed, not started."""
    consumer = AIOKafkaConsumer(
        **aiokafka_options(settings),
        group_id=f"{settings.group}-repartition",
        group_instance_id=settings.instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        session_timeout_ms=int(settings.session_timeout_seconds * 1000),
        max_poll_records=settings.max_poll_records,
        metadata_max_age_ms=METADATA_MILLISECONDS,
    )
    if settings.topic_unkeyed.startswith(PATTERN):
        consumer.subscribe(pattern=settings.topic_unkeyed)
    else:
        consumer.subscribe([settings.topic_unkeyed])
    made: RekeyingConsumer = consumer
    return made


class Repartition:
    """Re-keys records until it is cancelled.

    Args:
        settings: names topics, group and brokers.
        assets: {sensor: asset}.
        mapping: of other people's records to ours.
        open_consumer, open_producer: the brokers.
    """

    def __init__(
        self,
        settings: Settings,
        assets: Mapping[str, str],
        mapping: FieldMapping | None = None,
        open_consumer: Callable[[Settings], RekeyingConsumer] = open_consumer,
        open_producer: Callable[[Settings], KafkaProducer] = open_producer,
    ) -> None:
        self._settings = settings
        self._translation = Translation(mapping, registry_of(settings))
        self._placing = Placing(assets)
        self._open_consumer = open_consumer
        self._open_producer = open_producer

    async def run(self) -> None:
        """Read, re-key, write, commit, for ever.

        Raises:
            StalledError: the brokers acknowledge nothing for `outage_seconds`.
            KafkaError: the brokers refuse.
        """
        producer = ConfirmedProducer(self._settings, self._open_producer)
        consumer = self._open_consumer(self._settings)
        try:
            await producer.start()
            await consumer.start()
            while True:
                fetched = await consumer.getmany(timeout_ms=POLL_MILLISECONDS)
                for records in fetched.values():
                    await self._translation.prepare([each.value for each in records], [each.key for each in records])
                messages = [
                    message for records in fetched.values() for record in records for message in self._rekeyed(record)
                ]
                if messages:
                    await producer.confirm(await producer.enqueue(messages))
                    await self._commit(consumer)
        finally:
            await consumer.stop()
            await producer.stop()

    def _rekeyed(self, record: KafkaRecord) -> list[Outgoing]:
        """The record under its asset; several where it holds readings of several assets."""
        topic, own = self._settings.topic_readings, self._translation.key(record.key)
        value = self._translation.value(record.value, record.topic, record.timestamp, record.key, record.headers)
        return [Outgoing(topic, key or b"", body) for key, body in self._placing.placed(own, value)]

    async def _commit(self, consumer: RekeyingConsumer) -> None:
        try:
            await consumer.commit()
        except (CommitFailedError, IllegalStateError) as error:
            log.info("not committed, the group has moved on; the records come again: %s", error)
