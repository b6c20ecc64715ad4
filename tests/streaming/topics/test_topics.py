"""The topics that a worker makes, on a real broker."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.topics.checks import TopicNeeds
from stream_detector.streaming.topics.topics import ensure_topics
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import topic_environment

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


def test_a_worker_goes_on_without_the_topic_that_only_the_ledger_reads(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in topic_environment(unique_name).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STREAM_DETECTOR_TOPIC_OPERATING", "no name of a topic")
    settings = Settings.load(bootstrap=kafka.bootstrap)
    made = asyncio.run(ensure_topics(settings))
    assert settings.topic_alarms in made
    assert settings.topic_operating not in made


def test_a_worker_does_not_start_on_topics_that_break_its_promise(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in topic_environment(unique_name).items():
        monkeypatch.setenv(name, value)
    settings = Settings.load(bootstrap=kafka.bootstrap)
    create_topic(kafka.bootstrap, settings.topic_readings, 1, retention_ms="60000")
    create_topic(kafka.bootstrap, settings.topic_state, 1, cleanup_policy="compact,delete", max_message_bytes="5000")
    with pytest.raises(BrokerError) as refused:
        asyncio.run(ensure_topics(settings, TopicNeeds(rewind_seconds=7200, snapshot_bytes=10_000)))
    for wanted in ("retention.ms=7200000", "cleanup.policy=compact`", "max.message.bytes=11024"):
        assert wanted in str(refused.value)


def test_topics_that_a_worker_has_made_are_taken_at_the_next_start(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in topic_environment(unique_name).items():
        monkeypatch.setenv(name, value)
    settings = Settings.load(bootstrap=kafka.bootstrap)
    needs = TopicNeeds(rewind_seconds=7200, snapshot_bytes=10_000)
    made = asyncio.run(ensure_topics(settings, needs))
    assert asyncio.run(ensure_topics(settings, needs)).items() >= made.items()
    assert "is not checked" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
