"""Follows topics from outside any consumer group: every record once, nothing committed, new partitions found."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka
from stream_detector.streaming.clients.librdkafka import topics_of

REFRESH_SECONDS = 2.0
WATERMARK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Followed:
    """One record as it came."""

    topic: str
    key: str
    value: bytes
    timestamp_ms: int
    partition: int
    offset: int


class Follower:
    """Reads every partition of some topics; a topic that does not exist yet is read from its start once it does.

    Args:
        from_beginning: also what is in the topics already.

    Raises:
        BrokerError: no broker answers.
    """

    def __init__(self, settings: Settings, topics: Sequence[str], from_beginning: bool = False) -> None:
        self._settings, self._topics = settings, tuple(topics)
        self._consumer: Any = librdkafka.consumer(settings)
        self._positions: dict[tuple[str, int], int] = {}
        self._refreshed = 0.0
        self._refresh(from_beginning)

    @property
    def missing(self) -> list[str]:
        """Topics that do not exist yet."""
        known = {topic for topic, _ in self._positions}
        return [topic for topic in self._topics if topic not in known]

    def poll(self, seconds: float, most: int = 1_000) -> list[Followed]:
        """The next records, at most `most`; an empty list when nothing came within `seconds`."""
        if time.monotonic() - self._refreshed > REFRESH_SECONDS:
            self._refresh(from_beginning=True)
        if not self._positions:
            time.sleep(min(seconds, REFRESH_SECONDS))
            return []
        found = []
        # Asked for many at once, the consumer waits until it has them all: so wait for one, then take what is there.
        first = self._consumer.poll(seconds)
        if first is None:
            return []
        for message in (first, *self._consumer.consume(most - 1, 0)):
            if message.error() is not None:
                if not message.error().retriable() and message.error().fatal():
                    raise BrokerError(f"reading {message.topic()} failed: {message.error().str()}")
                continue
            self._positions[message.topic(), message.partition()] = message.offset() + 1
            if message.value() is not None:
                key = (message.key() or b"").decode(errors="replace")
                place = (message.partition(), message.offset())
                found.append(Followed(message.topic(), key, message.value(), message.timestamp()[1], *place))
        return found

    def close(self) -> None:
        self._consumer.close()

    def _refresh(self, from_beginning: bool) -> None:
        self._refreshed = time.monotonic()
        try:
            present = topics_of(self._consumer, self._settings)
        except BrokerError:
            if not self._positions:
                raise
            return  # the broker is away for a while: what was assigned goes on once it is back
        new = {(t, p) for t in self._topics for p in present.get(t, ())} - set(self._positions)
        if not new:
            return
        for topic, partition in new:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), WATERMARK_SECONDS)
            self._positions[topic, partition] = low if from_beginning else high
        self._consumer.assign([TopicPartition(t, p, offset) for (t, p), offset in self._positions.items()])
