"""The topics that a worker makes, on a real broker."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError

from stream_detector.settings import Settings
from stream_detector.streaming.clients.topics import ensure_topics
from tests.support.kafka import ExistingKafka, Kafka
from tests.support.workers import topic_environment

pytestmark = pytest.mark.kafka

AHEAD_SECONDS = 7200.0


def test_a_worker_whose_clock_is_hours_ahead_can_still_raise_alarms(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in topic_environment(unique_name).items():
        monkeypatch.setenv(name, value)
    settings = Settings.load(bootstrap=kafka.bootstrap)

    async def send() -> None:
        await ensure_topics(settings)
        stamp = round((time.time() + AHEAD_SECONDS) * 1000)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            with pytest.raises(InvalidTimestampError):
                await producer.send_and_wait(settings.topic_readings, b"{}", timestamp_ms=stamp)
            for name in (settings.topic_alarms, settings.topic_dead_letters, settings.topic_state):
                sent = await producer.send_and_wait(name, b"{}", key=b"a", timestamp_ms=stamp)
                assert abs(sent.timestamp / 1000 - time.time()) < 60

    asyncio.run(send())
