"""What becomes of messages that Kafka takes late, or not at all."""

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.sources.carrier import AGAIN_SECONDS, UNANSWERED_SECONDS, Carrier, Parcel, Trouble

SETTINGS = Settings()
READINGS, LETTERS = SETTINGS.topic_readings, SETTINGS.topic_dead_letters


class FakeProducer:
    """Acknowledges in `poll`; `refuses` says of a topic and a value why not, `full` how many it has no room for;
    `away`: nothing is answered."""

    def __init__(self) -> None:
        self.refuses: Callable[[str, bytes | None], Any] = lambda _topic, _value: None
        self.at_once: Callable[[bytes | None], Any] = lambda _value: None
        self.full = 0
        self.away = False
        self.taken: list[tuple[str, bytes | None]] = []
        self._waiting: list[tuple[str, bytes | None, Any]] = []

    def produce(self, topic: str, value: bytes | None, *, key: bytes | None, on_delivery: Any) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        if (error := self.at_once(value)) is not None and topic == READINGS:
            raise KafkaException(error)
        self._waiting.append((topic, value, on_delivery))

    def poll(self, timeout: float) -> int:
        if self.away:
            return 0
        waiting, self._waiting = self._waiting, []
        for topic, value, on_delivery in waiting:
            error = self.refuses(topic, value)
            if error is None:
                self.taken.append((topic, value))
            on_delivery(error, None)
        return len(waiting)

    def flush(self, timeout: float) -> int:
        return self.poll(timeout)


class Bench:
    """A carrier, its producer, and which parcels have arrived."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.producer = FakeProducer()
        self.now = 1_000.0
        self.trouble = Trouble()
        self.carrier = Carrier(settings, self.producer, lambda: self.now, self._pause, self.trouble)
        self.arrived: list[str] = []

    def _pause(self, seconds: float) -> None:
        """What the other thread does meanwhile."""
        self.now += seconds
        self.carrier.poll(0)

    def take(self, name: str, *values: bytes, unreadable: str = "") -> None:
        parcel = Parcel(f"mqtt:{name}", b"as it came", lambda: self.arrived.append(name))
        self.carrier.take(parcel, [(b"pm-1", value) for value in values], unreadable)

    @property
    def letters(self) -> list[dict[str, Any]]:
        return [json.loads(value or b"") for topic, value in self.producer.taken if topic == LETTERS]

    @property
    def readings(self) -> list[bytes | None]:
        return [value for topic, value in self.producer.taken if topic == READINGS]


def test_a_message_has_arrived_when_kafka_has_all_its_records() -> None:
    bench = Bench()
    bench.take("a", b"1", b"2")
    assert bench.arrived == []
    bench.carrier.poll(0)
    assert (bench.arrived, bench.carrier.carried) == (["a"], 1)
    bench.take("empty")
    assert bench.arrived == ["a", "empty"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_message_that_is_too_large_is_a_dead_letter_and_holds_up_no_other(at_once: bool) -> None:
    bench, error = Bench(), KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    if at_once:
        bench.producer.at_once = lambda value: error if value == b"large" else None
    else:
        bench.producer.refuses = lambda topic, value: error if (topic, value) == (READINGS, b"large") else None
    for value in (b"1", b"large", b"2"):
        bench.take(value.decode(), value)
    for _ in range(3):
        bench.carrier.poll(0)
    assert bench.readings == [b"1", b"2"]
    (letter,) = bench.letters
    assert (letter["topic"], letter["partition"], letter["offset"], letter["reason"]) == (
        "mqtt:large",
        -1,
        -1,
        "refused",
    )
    assert b64decode(letter["raw"]) == b"as it came"
    assert "5 bytes: " in letter["detail"]
    assert sorted(bench.arrived) == ["1", "2", "large"]


@pytest.mark.parametrize("code", [KafkaError._UNKNOWN_TOPIC, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_what_kafka_refuses_for_the_topics_sake_is_tried_again_in_order_and_nothing_is_read_on(code: int) -> None:
    bench = Bench()
    healed: list[bool] = []
    bench.producer.refuses = lambda _topic, _value: None if healed else KafkaError(code)
    for value in (b"1", b"2", b"3"):
        bench.take(value.decode(), value)
    bench.carrier.poll(0)
    assert (bench.readings, bench.arrived) == ([], [])
    began, pause = bench.now, bench._pause

    def heal_later(seconds: float) -> None:
        if bench.now > began + 3 * AGAIN_SECONDS:
            healed.append(True)
        pause(seconds)

    bench.carrier._pause = heal_later
    bench.take("4", b"4")  # returns when there is hope again
    bench.carrier.poll(0)
    assert bench.now > began + 3 * AGAIN_SECONDS
    assert bench.readings == [b"1", b"2", b"3", b"4"]
    assert bench.arrived == ["1", "2", "3", "4"]


def test_a_full_client_is_waited_for() -> None:
    bench = Bench()
    bench.producer.full = 3
    bench.take("a", b"1")
    bench.carrier.poll(0)
    assert bench.arrived == ["a"]


def test_brokers_that_acknowledge_nothing_are_told_and_a_pause_of_the_source_is_not() -> None:
    bench = Bench()
    carrier, producer = bench.carrier, bench.producer
    bench.now += 10 * UNANSWERED_SECONDS
    bench.take("a", b"1")
    producer.away = True
    for _ in range(2):
        assert carrier.why_waiting is None
        bench._pause(UNANSWERED_SECONDS - 5)
    assert carrier.why_waiting == "Kafka has acknowledged nothing for 30 s"
    producer.away = False
    bench._pause(1.0)
    assert (bench.arrived, carrier.why_waiting) == (["a"], None)
    bench._pause(10 * UNANSWERED_SECONDS)
    assert carrier.why_waiting is None


def test_who_waits_says_what_the_client_of_kafka_says() -> None:
    bench = Bench()
    bench.producer.away = True
    bench.take("a", b"1")
    bench.trouble.heard(KafkaError(KafkaError._AUTHENTICATION, "kafka:9092: the login is refused"))
    bench.trouble.heard(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    bench.now += 30.0
    assert bench.carrier.why_waiting == "Kafka has acknowledged nothing for 30 s: kafka:9092: the login is refused"
    bench.producer.away = False
    bench._pause(1.0)
    bench.producer.away = True
    bench.take("b", b"2")
    bench.now += 30.0
    assert bench.carrier.why_waiting == "Kafka has acknowledged nothing for 30 s"


def test_a_client_that_cannot_go_on_ends_the_bridge_with_a_sentence() -> None:
    bench = Bench()
    bench.producer.refuses = lambda _topic, _value: KafkaError(KafkaError._FATAL, "fenced", fatal=True)
    bench.take("a", b"1")
    with pytest.raises(BrokerError, match="cannot go on: fenced; start the bridge again"):
        bench.carrier.poll(0)


def test_what_cannot_be_understood_is_a_dead_letter_beside_what_can() -> None:
    bench = Bench()
    bench.take("a", b"1", unreadable="1 of 2 metrics go by a birth that is not known")
    bench.carrier.poll(0)
    assert bench.readings == [b"1"]
    assert [letter["reason"] for letter in bench.letters] == ["unreadable"]
    assert bench.arrived == ["a"]


def test_a_flood_of_dead_letters_is_counted_and_not_published() -> None:
    bench = Bench(Settings(dead_letters_per_second=0.1))
    for _ in range(5):
        bench.take("a", unreadable="why")
    bench.carrier.poll(0)
    assert (len(bench.letters), bench.carrier.dead_letters, len(bench.arrived)) == (1, 5, 5)


def test_at_the_end_nothing_is_taken_that_cannot_arrive() -> None:
    bench = Bench()
    bench.take("a", b"1")
    bench.carrier.end(1.0)
    bench.take("b", b"2")
    bench.carrier.poll(0)
    assert (bench.readings, bench.arrived) == ([b"1"], ["a"])
