"""Topics, groups and acknowledgements in memory: what the delivery promise rests on, without a broker.

For tests and for tries. One process, one event loop, no network, no time: a record is acknowledged at once, or when the
test says so; an outage begins and ends when the test says so.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, TopicPartition


class _EveryTopic:
    def __contains__(self, _: object) -> bool:
        return True


EVERY_TOPIC: Container[str] = _EveryTopic()
"""For `LocalBroker.hold`."""


@dataclass(frozen=True, slots=True)
class LocalRecord:
    """A record in the log; `timestamp` in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class _Partition:
    records: list[LocalRecord] = field(default_factory=list)
    beginning: int = 0
    end: int = 0


@dataclass(eq=False)
class Sent:
    """A record on its way: in the log once it is acknowledged."""

    broker: "LocalBroker"
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    future: "asyncio.Future[object]"

    def acknowledge(self) -> None:
        record = self.broker.append(self.topic, self.value, self.key, self.partition, headers=self.headers)
        if not self.future.done():
            self.future.set_result(record)

    def expire(self) -> None:
        """Fail the record: the brokers never answered, and it is not in the log."""
        if not self.future.done():
            self.future.set_exception(KafkaTimeoutError("not acknowledged in time"))


class LocalBroker:
    """A broker in memory. A topic comes into being when it is created or written to.

    Args:
        partitions: of a topic that is written to before it was created.
        wall_clock: epoch seconds, for timestamps of records that bring none.
    """

    def __init__(self, partitions: int = 1, wall_clock: Callable[[], float] = lambda: 0.0) -> None:
        self.default_partitions = partitions
        self.up = True
        """False: no call is answered; connections fail."""
        self.hold: Container[str] = ()
        """Topics to which records that are sent wait in `held` until they are acknowledged or expire."""
        self.held: list[Sent] = []
        self.committed: dict[tuple[str, TopicPartition], OffsetAndMetadata] = {}
        self.commits: list[dict[TopicPartition, OffsetAndMetadata]] = []
        """Every commit of any group, in order."""
        self._wall_clock = wall_clock
        self._topics: dict[str, list[_Partition]] = {}
        self._arrived = asyncio.Event()

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic exist, or give it more partitions."""
        found = self._topics.setdefault(name, [])
        found += [_Partition() for _ in range(partitions - len(found))]

    def delete_topic(self, name: str) -> None:
        """Remove a topic with its records, and what groups have committed of it."""
        self._topics.pop(name, None)
        self.committed = {key: entry for key, entry in self.committed.items() if key[1].topic != name}

    def topics(self) -> list[str]:
        self.answer()
        return list(self._topics)

    def partitions_of(self, topic: str) -> list[TopicPartition]:
        self.answer()
        return [TopicPartition(topic, number) for number in range(len(self._topics.get(topic, ())))]

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> LocalRecord:
        """Write a record into the log, as a producer would."""
        number = self.partition_for(topic, key) if partition is None else partition
        log = self._partition(TopicPartition(topic, number))
        stamp = round(self._wall_clock() * 1000) if timestamp is None else timestamp
        record = LocalRecord(topic, number, log.end, stamp, key, value, tuple(headers))
        log.records.append(record)
        log.end += 1
        self._arrived.set()
        return record

    def skip(self, tp: TopicPartition, offsets: int) -> None:
        """Leave out offsets, as markers of transactions do."""
        self._partition(tp).end += offsets
        self._arrived.set()

    def remove_before(self, tp: TopicPartition, offset: int) -> None:
        """Remove the records before an offset, as retention does."""
        log = self._partition(tp)
        log.records = [record for record in log.records if record.offset >= offset]
        log.beginning = max(log.beginning, offset)

    def records(self, topic: str) -> list[LocalRecord]:
        """All records of a topic, partition after partition."""
        return [record for log in self._topics.get(topic, ()) for record in log.records]

    def values(self, topic: str) -> list[bytes | None]:
        return [record.value for record in self.records(topic)]

    def between(self, tp: TopicPartition, begin: int, most: int | None = None) -> tuple[list[LocalRecord], int]:
        """(records from `begin` on, the position behind them)."""
        log = self._partition(tp)
        found = [record for record in log.records if record.offset >= begin]
        if most is not None and len(found) > most:
            return found[:most], found[most - 1].offset + 1
        return found, log.end

    def beginning(self, tp: TopicPartition) -> int:
        return self._partition(tp).beginning

    def end(self, tp: TopicPartition) -> int:
        return self._partition(tp).end

    def answer(self) -> None:
        """Raises KafkaConnectionError while the broker is down."""
        if not self.up:
            raise KafkaConnectionError("the local broker is down")

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int | None,
        headers: Sequence[tuple[str, bytes]],
    ) -> "asyncio.Future[object]":
        """Take a record from a producer."""
        number = self.partition_for(topic, key) if partition is None else partition
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        sent = Sent(self, topic, number, key, value, tuple(headers), future)
        if topic in self.hold:
            self.held.append(sent)
        elif self.up:
            sent.acknowledge()
        else:
            sent.expire()
        return future

    def acknowledge(self, sent: Iterable[Sent] | None = None) -> None:
        """Write held records into the log, in the order given; without any, all of them."""
        for each in list(self.held if sent is None else sent):
            self.held.remove(each)
            each.acknowledge()

    def commit(self, group: str, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        self.answer()
        self.commits.append(dict(offsets))
        for tp, entry in offsets.items():
            self.committed[group, tp] = entry

    def partition_for(self, topic: str, key: bytes | None) -> int:
        self.create_topic(topic, len(self._topics.get(topic, ())) or self.default_partitions)
        return crc32(key or b"") % len(self._topics[topic])

    async def wait_for_records(self, seconds: float) -> None:
        """Wait for a record, at most for so long."""
        self._arrived.clear()
        try:
            await asyncio.wait_for(self._arrived.wait(), seconds)
        except TimeoutError:
            return

    def _partition(self, tp: TopicPartition) -> _Partition:
        self.create_topic(tp.topic, tp.partition + 1)
        return self._topics[tp.topic][tp.partition]


class LocalGroup:
    """Shares the partitions of a topic out among its members, round robin; every change makes all of them plan anew."""

    def __init__(self, broker: LocalBroker, name: str, topic: str) -> None:
        self.broker = broker
        self.name = name
        self.topic = topic
        self.generation = 0
        self._members: list[Callable[[], None]] = []
        self._shares: dict[int, set[int]] = defaultdict(set)

    def join(self, rebalanced: Callable[[], None]) -> None:
        """`rebalanced` is called whenever the shares are others; `share_of` says what they are."""
        self._members.append(rebalanced)
        self.rebalance()

    def leave(self, rebalanced: Callable[[], None]) -> None:
        if rebalanced in self._members:
            self._members.remove(rebalanced)
            self.rebalance()

    def share_of(self, rebalanced: Callable[[], None]) -> set[int]:
        return set(self._shares[self._members.index(rebalanced)]) if rebalanced in self._members else set()

    def rebalance(self) -> None:
        self.generation += 1
        self._shares.clear()
        for tp in self.broker.partitions_of(self.topic):
            if self._members:
                self._shares[tp.partition % len(self._members)].add(tp.partition)
        for member in list(self._members):
            member()
