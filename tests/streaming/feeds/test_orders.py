"""What is written when a switch is taken back, and what is said when the brokers take only some of it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer as KafkaProducer

from stream_detector.decoding.control_records import ANNOUNCE, SWITCH, WITHDRAW, Order, read_order
from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka
from stream_detector.streaming.feeds import orders
from stream_detector.streaming.feeds.orders import require_one_bundle, send_switch
from stream_detector.streaming.readers.log_reader import open_log_reader
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic, free_port

OLD, NEW = "a" * 16, "b" * 16


class Producer:
    """Keeps what is written; refuses records with one control."""

    def __init__(self, refused: str) -> None:
        self.written: list[str] = []
        self._refused = refused

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes,
        partition: int,
        on_delivery: Callable[[object, object], None],
        timestamp: int,
    ) -> None:
        order = read_order(key, value)
        assert order is not None
        self.written.append(order.control)
        on_delivery("no" if order.control == self._refused else None, None)

    def flush(self, seconds: float) -> int:
        return 0


def send(monkeypatch: pytest.MonkeyPatch, refused: str) -> list[str]:
    """Steps of a switch that is taken back, in their order."""
    producer, settings = Producer(refused), Settings()
    monkeypatch.setattr(librdkafka, "producer", lambda _: producer)
    topics: dict[str, Any] = {settings.topic_readings: [0]}
    monkeypatch.setattr(librdkafka, "topics_of", lambda *_: topics)
    monkeypatch.setattr(librdkafka, "newest_timestamps", lambda *_: {})
    monkeypatch.setattr(orders, "committed_metadata", lambda *_: [])
    order = Order("", settings.group, OLD)
    send_switch(settings, order, lambda: None, lambda: producer.written.append("alias"), withdraw=NEW)
    return producer.written


def test_a_switch_is_taken_back_before_the_alias_moves_and_the_other_bundle_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert send(monkeypatch, refused="none") == [ANNOUNCE, WITHDRAW, "alias", SWITCH]


@pytest.mark.parametrize(("refused", "again"), [(WITHDRAW, "rollback --withdraw"), (SWITCH, f"promote {OLD}")])
def test_nobody_is_told_to_promote_the_bundle_that_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, refused: str, again: str
) -> None:
    with pytest.raises(BrokerError, match=f"`stream-detector {again} --bootstrap"):
        send(monkeypatch, refused)


def test_brokers_that_are_away_are_said_in_words_where_a_group_is_asked_for_its_table() -> None:
    settings = Settings(bootstrap=f"127.0.0.1:{free_port()}")
    with pytest.raises(BrokerError, match="what topics there are cannot be read"):
        require_one_bundle(settings)


@pytest.mark.kafka
@pytest.mark.slow
def test_what_a_switch_reads_back_is_found_by_time_on_a_plant_whose_stamps_are_older_than_the_orders(
    kafka: Kafka | ExistingKafka, unique_name: str
) -> None:
    name, day_ago = f"{unique_name}.readings", time.time() - 86_400.0
    create_topic(kafka.bootstrap, name, 2, message_timestamp_type="CreateTime")
    settings = Settings(bootstrap=kafka.bootstrap, topic_readings=name, group=unique_name)
    sender = KafkaProducer({"bootstrap.servers": kafka.bootstrap})
    for day in range(3):
        for second in range(100):
            stamp = round((day_ago + 1000 * day + second) * 1000)
            sender.produce(name, b"{}", b"m", partition=0, timestamp=stamp)
        sender.flush()
        send_switch(settings, Order("", unique_name, NEW), lambda: None, lambda: None)

    async def look() -> tuple[int, list[float]]:
        async with open_log_reader(settings) as reader:
            low = await reader.low_by_time(0, 305, 0, 10.0)
            stamps = [record.timestamp async for records in reader.readings(1, 0, 6) for record in records]
            return low, [stamp / 1000 for stamp in stamps]

    low, without_readings = asyncio.run(look())
    # The last hundred lie behind two announcements and two switches; 99 is the newest of them.
    assert low == 204 + 89
    assert all(abs(stamp - time.time()) < 600 for stamp in without_readings)
