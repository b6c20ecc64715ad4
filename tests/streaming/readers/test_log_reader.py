"""A reader of a local log: what counts as a snapshot of this worker's, and where windows begin."""

import asyncio
import logging
import statistics
import time
from collections.abc import Iterable

import pytest
from aiokafka.errors import KafkaConnectionError

from stream_detector.decoding.control_records import KEY
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, TopicPartition
from stream_detector.streaming.local.broker import LocalBroker
from stream_detector.streaming.local.clients import LocalConsumer, LocalGroupOffsets
from stream_detector.streaming.readers.log_reader import LogReader, open_log_reader
from stream_detector.streaming.state.snapshots import snapshot_message
from tests.support.event_loop import in_event_loop
from tests.support.plant import Record
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import produce

SETTINGS = Settings(bootstrap="local:1")
READINGS, STATE = SETTINGS.topic_readings, SETTINGS.topic_state


def write(
    broker: LocalBroker, asset: str, data: bytes | None, offset: int, bundle: str = "b1", group: str = SETTINGS.group
) -> None:
    message = snapshot_message(SETTINGS.model_copy(update={"group": group}), bundle, 0, asset, data, offset)
    broker.append(message.topic, message.value, message.key, message.partition, headers=message.headers)


async def snapshots_of(broker: LocalBroker, end: int = 100) -> dict[str, bytes]:
    async with LogReader(SETTINGS, LocalConsumer(broker, most_records=2), LocalGroupOffsets(broker)) as reader:
        found = (await reader.state({0: end}))[0].of_service(None, "b1")
    return {asset: snapshot.data for asset, snapshot in found.items() if snapshot.data is not None}


@in_event_loop
async def test_the_snapshot_that_covers_most_counts_and_not_the_one_written_last() -> None:
    broker = LocalBroker()
    for asset, data, offset in (("m", b"1", 10), ("n", b"2", 5), ("m", b"3", 30), ("m", b"a woken zombie's", 20)):
        write(broker, asset, data, offset)
    assert await snapshots_of(broker) == {"m": b"3", "n": b"2"}


@in_event_loop
async def test_of_two_that_cover_the_same_the_later_counts() -> None:
    broker = LocalBroker()
    write(broker, "m", b"1", 10)
    write(broker, "m", b"2", 10)
    assert await snapshots_of(broker) == {"m": b"2"}


@in_event_loop
async def test_an_asset_that_is_gone_has_no_snapshot_until_it_comes_back() -> None:
    broker = LocalBroker()
    write(broker, "m", b"1", 10)
    write(broker, "m", None, 20)
    assert await snapshots_of(broker) == {}
    write(broker, "m", b"back", 30)
    assert await snapshots_of(broker) == {"m": b"back"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"bundle": "b2"}, "another bundle"), ({"group": "others"}, "another group"), ({"offset": 101}, "another log")],
    ids=lambda value: value if isinstance(value, str) else "",
)
@in_event_loop
async def test_a_snapshot_of_another_is_refused(changes: dict[str, object], why: str) -> None:
    broker = LocalBroker()
    write(broker, "m", b"mine", 50)
    write(broker, "m", b"another's", **({"offset": 60} | changes))
    assert await snapshots_of(broker, end=100) == {"m": b"mine"}


@in_event_loop
async def test_a_snapshot_that_covers_the_whole_log_is_of_this_one() -> None:
    broker = LocalBroker()
    write(broker, "m", b"mine", 100)
    assert await snapshots_of(broker, end=100) == {"m": b"mine"}


@in_event_loop
async def test_a_record_that_is_no_snapshot_is_passed_over_and_told(caplog: pytest.LogCaptureFixture) -> None:
    broker = LocalBroker()
    broker.append(STATE, b"?", None, 0)
    broker.append(STATE, b"?", b"m", 0, headers=[("offset", b"1"), ("bundle", b"b1")])
    broker.append(STATE, b"?", b'["stream-detector","m"]', 0)
    broker.append(STATE, b"?", b'["stream-detector","m"]', 0, headers=[("offset", b"?"), ("bundle", b"b1")])
    write(broker, "m", b"mine", 50)
    with caplog.at_level(logging.WARNING):
        assert await snapshots_of(broker) == {"m": b"mine"}
    assert caplog.text.count("holds a record that is no snapshot") == 4


@in_event_loop
async def test_low_by_time_lies_a_window_before_the_last_record_that_was_committed() -> None:
    broker = LocalBroker()
    for second in range(100):
        broker.append(READINGS, b"{}", b"m", 0, timestamp=second * 1000)
    async with LogReader(SETTINGS, LocalConsumer(broker), LocalGroupOffsets(broker)) as reader:
        assert await reader.low_by_time(0, committed=50, beginning=0, rewind_seconds=10.0) == 39
        assert await reader.low_by_time(0, committed=50, beginning=0, rewind_seconds=1e9) == 0
        assert await reader.low_by_time(0, committed=50, beginning=50, rewind_seconds=10.0) == 50
        assert await reader.low_by_time(0, committed=101, beginning=3, rewind_seconds=10.0) == 3
        # A head reads on from where its training ended, if that is no more than a day ago.
        assert await reader.low_by_time(0, 50, 0, 10.0, read_until=30.0) == 20
        assert await reader.low_by_time(0, 50, 0, 10.0, read_until=60.0) == 39
        assert await reader.low_by_time(0, 50, 0, 10.0, read_until=48.0 - 90_000.0) == 39


@pytest.mark.parametrize("orders", [1, 3, 200])
@in_event_loop
async def test_low_by_time_goes_by_the_readings_and_not_by_who_wrote_a_control_record(orders: int) -> None:
    broker = LocalBroker()
    for second in range(300):
        broker.append(READINGS, b"{}", b"m", 0, timestamp=second * 1000)
    for _ in range(orders):  # written an hour later, or by a clock that is ahead
        broker.append(READINGS, b"{}", KEY, 0, timestamp=4_000_000)
    async with LogReader(SETTINGS, LocalConsumer(broker, most_records=7), LocalGroupOffsets(broker)) as reader:
        assert await reader.low_by_time(0, 300 + orders, 0, 10.0) == 289
        assert await reader.low_by_time(0, 300 + orders, 300, 10.0) == 300


@in_event_loop
async def test_the_ends_and_the_offsets_of_the_group_are_told() -> None:
    broker = LocalBroker()
    tp = TopicPartition(READINGS, 1)
    for _ in range(5):
        broker.append(READINGS, b"{}", b"m", 1)
    broker.remove_before(tp, 2)
    broker.committed[SETTINGS.group, tp] = OffsetAndMetadata(4, "")
    broker.committed["others", TopicPartition(READINGS, 0)] = OffsetAndMetadata(9, "")
    async with LogReader(SETTINGS, LocalConsumer(broker), LocalGroupOffsets(broker)) as reader:
        assert await reader.ends({0, 1}) == {0: (0, 0), 1: (2, 5)}
        assert await reader.committed({0, 1}) == {1: 4}
        assert await reader.committed(set()) == {}


@in_event_loop
async def test_a_reader_that_cannot_connect_is_closed() -> None:
    broker = LocalBroker()
    broker.up = False
    stopped: list[bool] = []

    class Consumer(LocalConsumer):
        async def stop(self) -> None:
            stopped.append(True)

    with pytest.raises(KafkaConnectionError):
        await LogReader(SETTINGS, Consumer(broker), LocalGroupOffsets(broker)).__aenter__()
    assert stopped == [True]


class Watched(LocalConsumer):
    """Tells of which partitions more would be fetched while nobody asks for it."""

    paused: frozenset[TopicPartition] = frozenset()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        super().assign(partitions)
        self.paused = frozenset()

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused |= set(partitions)

    @property
    def fetching(self) -> set[TopicPartition]:
        return self.assignment() - self.paused


@in_event_loop
async def test_nothing_is_fetched_on_behind_what_was_asked_for() -> None:
    broker = LocalBroker()
    for second in range(100):
        broker.append(READINGS, b"{}", b"m", 0, timestamp=second * 1000)
    write(broker, "m", b"1", 10)
    consumer = Watched(broker, most_records=30)
    async with LogReader(SETTINGS, consumer, LocalGroupOffsets(broker)) as reader:
        await reader.low_by_time(0, committed=100, beginning=0, rewind_seconds=10.0)
        assert consumer.fetching == set()
        assert len([len(records) async for records in reader.readings(0, 10, 100)]) == 3
        assert consumer.fetching == set()
        await reader.state({0: 100, 1: 0})
        assert consumer.fetching == set()
        async for _ in reader.readings(0, 10, 100):
            break
        reader.rest()
        assert consumer.fetching == set()


@pytest.mark.kafka
@pytest.mark.slow
def test_a_log_in_which_nothing_happens_is_read_without_waiting_for_more(
    kafka: Kafka | ExistingKafka, unique_name: str
) -> None:
    name = f"{unique_name}.readings"
    create_topic(kafka.bootstrap, name, 2)
    produce(kafka.bootstrap, name, (Record(number % 2, b"m", b"{}") for number in range(40)))
    settings = Settings(bootstrap=kafka.bootstrap, topic_readings=name)

    async def laps() -> list[float]:
        took = []
        async with open_log_reader(settings) as reader:
            for lap in range(9):
                began, number = time.monotonic(), lap % 2
                beginning, end = (await reader.ends({number}))[number]
                low = await reader.low_by_time(number, end, beginning, 60.0)
                assert sum([len(records) async for records in reader.readings(number, low, end)]) == 20
                took.append(time.monotonic() - began)
        return took

    # Each question that waits behind a fetch at the end of the log would take half a second.
    assert statistics.median(asyncio.run(laps())[1:]) < 0.4
