"""A broker inside the process: the mock cluster of librdkafka, for the demo and for unit tests. No Java, no Docker.

It speaks the Kafka protocol on a port of the loopback interface, keeps everything in memory (about 5 MB a partition and
what is sent), stores commit metadata, creates a topic of four partitions when a client first asks about it, cannot
create topics by an admin call, and answers `offsets_for_times` with nothing. It forgets all when it is closed.
"""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

from stream_detector.errors import BrokerError


class EmbeddedBroker:
    """Runs from `start` (or `with`) until `close`."""

    def __init__(self) -> None:
        self._client: Any = None
        self.bootstrap = ""

    def start(self) -> Self:
        self._client = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._client.list_topics(timeout=10).brokers.values()
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def create_topics(self, names: Iterable[str]) -> None:
        """Make the topics exist, four partitions each.

        Raises:
            BrokerError: a topic does not appear within ten seconds.
        """
        for name in names:
            deadline = time.monotonic() + 10
            while not self._client.list_topics(name, timeout=10).topics[name].partitions:
                if time.monotonic() > deadline:
                    raise BrokerError(f"the embedded broker did not create topic {name!r} within 10 s")
                time.sleep(0.01)

    def close(self) -> None:
        self._client = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
