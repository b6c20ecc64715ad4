"""What our side of Faust's driver does with fetches, assignments and commits; Faust itself runs in test_worker."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from stream_detector.errors import StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.worker.transport import agent, consumer_thread, draining
from stream_detector.streaming.worker.transport.consumer_thread import ConsumerThread
from stream_detector.streaming.worker.transport.faust_driver import FIRST_COMMIT_LOOK_SECONDS, BatchConsumer
from stream_detector.streaming.worker.transport.fetched import (
    LEAST_RECORD_BYTES,
    MOST_BYTES_TOGETHER,
    Columns,
    Fetched,
    in_groups,
)
from stream_detector.streaming.worker.transport.handle_and_commit import begin_or_fail, commit_declared
from stream_detector.streaming.worker.transport.membership import Membership
from stream_detector.streaming.worker.transport.offset_keeper import CommittedOffsets
from stream_detector.streaming.worker.transport.pacing import Pacing
from tests.support.event_loop import in_event_loop, settle
from tests.support.pipelines import READINGS, fetched

SETTINGS = Settings(bootstrap="local:1", instance="one")
NAME = TopicPartition(READINGS, 0)


class Keeper:
    """Says what the test wants, and what it was asked, in order."""

    def __init__(self, offsets: dict[int, tuple[int, str]] | None = None) -> None:
        self.offsets = offsets or {}
        self.asked: list[str] = []
        self.errors: list[BaseException] = []
        self.flush_error: BaseException | None = None
        self.handle_error: BaseException | None = None
        self.alarms: asyncio.Future[None] | None = None
        """Of a batch; done when they are acknowledged."""

    def commit_with(self, commit: Callable[[], Awaitable[object]]) -> None:
        self.asked.append("commit with")

    def interrupt(self) -> None:
        self.asked.append("interrupt")

    async def plan(self, partitions: set[int], consumer: CommittedOffsets) -> dict[int, tuple[int, int]]:
        self.asked.append(f"plan {sorted(partitions)}")
        return {number: (100 + number, 7) for number in partitions}

    async def flush(self) -> None:
        self.asked.append("flush")
        await asyncio.sleep(0)
        if self.flush_error is not None:
            raise self.flush_error
        self.asked.append("flushed")

    def to_commit(self) -> dict[int, tuple[int, str]]:
        self.asked.append("to_commit")
        return self.offsets

    def committed(self, offsets: Mapping[int, int]) -> None:
        self.asked.append(f"committed {dict(offsets)}")

    async def begin(self, *fetches: Fetched) -> Awaitable[None] | None:
        self.asked.append("handle")
        await asyncio.sleep(0)
        if self.handle_error is not None:
            raise self.handle_error
        self.asked.append("handled")
        return self.alarms

    def fail(self, error: BaseException) -> None:
        self.errors.append(error)


# -- what every stream does --------------------------------------------------------------------------------------------


async def answer(keeper: Keeper, done: bool | BaseException) -> bool:
    async def commit(offsets: Mapping[int, tuple[int, str]]) -> bool:
        keeper.asked.append(f"commit {dict(offsets)}")
        if isinstance(done, BaseException):
            raise done
        return done

    return await commit_declared(keeper, commit)


@in_event_loop
async def test_a_commit_follows_the_flush_and_is_told_when_it_is_done() -> None:
    keeper = Keeper({0: (12, '{"low":4}')})
    assert await answer(keeper, True)
    assert keeper.asked == ["flush", "flushed", "to_commit", "commit {0: (12, '{\"low\":4}')}", "committed {0: 12}"]


@in_event_loop
async def test_where_nothing_is_new_nothing_is_committed() -> None:
    keeper = Keeper()
    assert not await answer(keeper, True)
    assert keeper.asked == ["flush", "flushed", "to_commit"]


@in_event_loop
async def test_a_commit_that_the_group_did_not_take_is_not_told() -> None:
    keeper = Keeper({0: (12, "")})
    assert not await answer(keeper, False)
    assert keeper.asked[-1] == "commit {0: (12, '')}"
    assert keeper.errors == []


@in_event_loop
async def test_a_flush_that_fails_ends_the_worker_and_nothing_is_committed() -> None:
    keeper = Keeper({0: (12, "")})
    keeper.flush_error = StalledError("nothing is acknowledged")
    assert not await answer(keeper, True)
    assert keeper.asked == ["flush"]
    assert keeper.errors == [keeper.flush_error]


@in_event_loop
async def test_a_commit_that_is_refused_ends_the_worker() -> None:
    keeper, refused = Keeper({0: (12, "")}), StalledError("another worker of this name")
    assert not await answer(keeper, refused)
    assert keeper.errors == [refused]


@in_event_loop
async def test_a_fetch_that_fails_ends_the_worker_and_is_never_done() -> None:
    keeper = Keeper()
    keeper.handle_error = ZeroDivisionError()
    handling = asyncio.create_task(begin_or_fail([fetched()], keeper))
    await settle()
    assert keeper.errors == [keeper.handle_error]
    assert not handling.done()
    handling.cancel()
    await asyncio.gather(handling, return_exceptions=True)
    assert handling.cancelled()


@in_event_loop
async def test_a_fetch_that_is_broken_off_is_no_failure() -> None:
    keeper = Keeper()
    keeper.handle_error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await begin_or_fail([fetched()], keeper)
    assert keeper.errors == []


# -- the agent ---------------------------------------------------------------------------------------------------------


class Event:
    def __init__(self, keeper: Keeper) -> None:
        self.value = [fetched()]
        self._keeper = keeper

    def ack(self) -> None:
        self._keeper.asked.append("ack")


@in_event_loop
async def test_an_event_is_acknowledged_when_it_is_handled_and_its_records_are_let_go() -> None:
    keeper = Keeper()
    event = Event(keeper)
    await agent._handle(cast(Any, event), cast(Any, keeper), set())
    assert keeper.asked == ["handle", "handled", "ack"]
    assert len(event.value[0].columns) == 0


@in_event_loop
async def test_an_event_is_in_hand_until_its_alarms_are_acknowledged() -> None:
    keeper = Keeper()
    keeper.alarms = asyncio.get_running_loop().create_future()
    event, in_hand = Event(keeper), set[asyncio.Task[None]]()
    await agent._handle(cast(Any, event), cast(Any, keeper), in_hand)
    await settle()
    assert keeper.asked == ["handle", "handled"]
    assert (len(event.value[0].columns), len(in_hand)) == (2, 1)
    keeper.alarms.set_result(None)
    await settle()
    assert keeper.asked == ["handle", "handled", "ack"]
    assert (len(event.value[0].columns), len(in_hand)) == (0, 0)


@in_event_loop
async def test_while_alarms_are_on_their_way_the_client_gets_its_turns_before_the_next_event() -> None:
    """It takes several turns of the loop to write a request, and to read an answer."""
    keeper = Keeper()
    keeper.alarms = asyncio.get_running_loop().create_future()
    in_hand = set[asyncio.Task[None]]()

    async def client() -> None:
        for _ in range(8):
            await asyncio.sleep(0)
        keeper.asked.append("written")

    await agent._handle(cast(Any, Event(keeper)), cast(Any, keeper), in_hand)
    keeper.alarms = None
    writing = asyncio.create_task(client())
    await agent._handle(cast(Any, Event(keeper)), cast(Any, keeper), in_hand)
    assert keeper.asked == ["handle", "handled", "handle", "handled", "ack", "written"]
    await writing


@in_event_loop
async def test_an_event_whose_alarms_cannot_be_sent_is_never_acknowledged() -> None:
    keeper = Keeper()
    keeper.alarms = asyncio.get_running_loop().create_future()
    in_hand = set[asyncio.Task[None]]()
    await agent._handle(cast(Any, Event(keeper)), cast(Any, keeper), in_hand)
    keeper.alarms.set_exception(StalledError("nothing is acknowledged"))
    await settle()
    assert keeper.asked == ["handle", "handled"]
    assert [str(error) for error in keeper.errors] == ["nothing is acknowledged"]
    for task in in_hand:
        task.cancel()
    await settle()
    assert keeper.asked == ["handle", "handled"]


@in_event_loop
async def test_an_event_that_failed_is_never_acknowledged() -> None:
    keeper = Keeper()
    keeper.handle_error = ZeroDivisionError()
    handling = asyncio.create_task(agent._handle(cast(Any, Event(keeper)), cast(Any, keeper), set()))
    await settle()
    assert keeper.asked == ["handle"]
    assert keeper.errors == [keeper.handle_error]
    handling.cancel()


class Revoked(Keeper):
    def revoke_others(self, kept: set[int]) -> None:
        self.asked.append(f"revoke others than {sorted(kept)}")


@in_event_loop
async def test_a_worker_that_is_left_without_partitions_forgets_them() -> None:
    """`perform_seek`, where the others are planned, is not called then."""
    keeper = Revoked()
    stream = agent.FaustStream(SETTINGS, cast(Any, keeper))
    keeper.asked.clear()
    await stream._app.on_partitions_assigned.send({TP(READINGS, 0)})
    assert keeper.asked == []
    await stream._app.on_partitions_assigned.send(set())
    assert keeper.asked == ["revoke others than []"]
    assert not stream.observe().member


# -- the consumer in the main event loop -------------------------------------------------------------------------------


class Thread:
    """Calls at once what is to be called in the consumer's thread, and writes it down."""

    def __init__(self, commits: bool = True) -> None:
        self.called: list[tuple[str, Any]] = []
        self._commits = commits

    def look_again(self) -> None:
        self.called.append(("look again", None))

    async def call_thread(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        return await work(*arguments)

    async def seek_to(self, plan: Mapping[TopicPartition, tuple[int, int]]) -> None:
        self.called.append(("seek", dict(plan)))

    async def take_back(self, unread: Sequence[Fetched]) -> None:
        self.called.append(("take back", list(unread)))

    async def commit_with_metadata(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> bool:
        self.called.append(("commit", dict(offsets)))
        return self._commits

    async def committed_with_metadata(self, partitions: list[TopicPartition]) -> dict[TopicPartition, Any]:
        return {tp: OffsetAndMetadata(5, '{"low":1}') for tp in partitions}


class Consumer(BatchConsumer):
    """Without Faust around it."""

    flow_active = True
    should_stop = False
    fetchable: set[TP] | None = None
    """None: all that is fetched."""

    def __init__(
        self, keeper: Keeper, thread: Any, records: Mapping[TP, Fetched] | BaseException | None = None
    ) -> None:
        self.transport = cast(Any, SimpleNamespace(keeper=keeper, settings=SETTINGS))
        self.app = cast(Any, SimpleNamespace(consumer_generation_id=1, in_recovery=False))
        self._thread = thread
        self._records = records
        self._buffered_partitions: set[TP] = set()
        self._active_partitions = self.assignment()
        self._has_room = asyncio.Event()
        self._acked = {TP(READINGS, 0): [1, 2]}
        self._acked_index = {TP(READINGS, 0): {1, 2}}
        self._read_offset = {TP(READINGS, 0): 9}
        self._committed_offset = {TP(READINGS, 0): 9}

    def assignment(self) -> set[TP]:
        return {TP(READINGS, 0), TP(READINGS, 2)}

    async def _wait_next_records(self, timeout: float) -> Any:
        if isinstance(self._records, Exception):
            raise self._records
        return self._records, self.fetchable or set(self._records or ())


@in_event_loop
async def test_after_an_assignment_the_consumer_seeks_where_the_keeper_says() -> None:
    keeper, thread = Keeper(), Thread()
    consumer = Consumer(keeper, thread)
    await consumer.perform_seek()
    assert keeper.asked == ["plan [0, 2]"]
    assert thread.called == [("seek", {TopicPartition(READINGS, 0): (100, 7), TopicPartition(READINGS, 2): (102, 7)})]
    assert (consumer._read_offset, consumer._committed_offset) == ({}, {})
    assert await consumer.committed_with_metadata([0]) == {0: (5, '{"low":1}')}


@pytest.mark.parametrize("done", [True, False])
@in_event_loop
async def test_a_commit_of_fausts_commits_what_the_keeper_declares(done: bool) -> None:
    keeper, thread = Keeper({0: (12, '{"low":4}')}), Thread(done)
    consumer = Consumer(keeper, thread)
    assert await consumer.force_commit() is done
    assert thread.called == [("commit", {NAME: (12, '{"low":4}')})]
    assert ("committed {0: 12}" in keeper.asked) is done
    assert (consumer._acked, consumer._acked_index) == ({}, {})


@in_event_loop
async def test_the_first_commit_comes_with_the_first_progress_and_the_others_at_the_interval() -> None:
    consumer = Consumer(Keeper(), Thread())
    progress = iter([False, False, True, True, True])
    waits: list[float] = []

    async def commit() -> bool:
        waits.append(0.0)
        consumer.should_stop = len(waits) == 5
        return next(progress)

    async def sleep(seconds: float) -> None:
        waits[-1] = seconds

    async def itertimer(interval: float, name: str = "") -> AsyncIterator[float]:
        while not consumer.should_stop:
            await sleep(interval)
            yield interval

    for name, method in (("commit", commit), ("sleep", sleep), ("itertimer", itertimer)):
        setattr(consumer, name, method)
    consumer.commit_interval = 0.5
    await cast(Any, consumer)._commit_handler.fun(consumer)
    assert waits == [FIRST_COMMIT_LOOK_SECONDS, FIRST_COMMIT_LOOK_SECONDS, 0.5, 0.5, 0.0]


async def messages(consumer: BatchConsumer, timeout: float = 0.0) -> list[Any]:
    return [message async for _, message in cast(AsyncIterator[Any], consumer.getmany(timeout))]


@in_event_loop
async def test_a_fetch_becomes_one_event_at_the_offset_of_its_last_record() -> None:
    fetch = fetched(10, 15)
    (message,) = await messages(Consumer(Keeper(), Thread(), {TP(READINGS, 0): fetch}))
    assert (message.offset, message.value, message.generation_id) == (14, [fetch], 1)


LARGE = b" " * MOST_BYTES_TOGETHER
"""The value of a record that comes alone."""


def fetches_of(values: Mapping[int, bytes]) -> dict[TP, Fetched]:
    """A fetch of each partition, whose records have these values."""
    return {TP(READINGS, number): fetched(number=number, value=value) for number, value in values.items()}


@in_event_loop
async def test_small_fetches_are_one_event_and_a_large_one_is_its_own() -> None:
    fetches = fetches_of({0: b"{}", 1: b"{}", 2: LARGE, 3: b"{}"})
    found = await messages(Consumer(Keeper(), Thread(), fetches))
    assert [[each.partition for each in message.value] for message in found] == [[0, 1], [2], [3]]
    assert [(message.partition, message.offset) for message in found] == [(0, 11), (2, 11), (3, 11)]


@in_event_loop
async def test_many_records_are_large_however_short_they_are() -> None:
    many = MOST_BYTES_TOGETHER // LEAST_RECORD_BYTES + 1
    fetches = [fetched(), fetched(0, many, number=1, value=b""), fetched(number=2)]
    assert [[each.partition for each in group] for group in in_groups(fetches)] == [[0], [1], [2]]


def test_a_record_without_a_value_does_not_make_a_fetch_large() -> None:
    fetches = [fetched(), fetched(number=1)]
    fetches[0].columns.values[0] = None
    assert list(map(len, in_groups(fetches))) == [2]


@in_event_loop
async def test_fetches_from_before_a_rebalance_are_not_handed_on() -> None:
    thread = Thread()
    consumer = Consumer(Keeper(), thread, fetches_of({0: LARGE, 1: LARGE}))
    found = []
    async for _, message in consumer.getmany(0.0):
        found.append(message)
        consumer.app.consumer_generation_id = 2
    assert len(found) == 1
    assert [(what, [each.partition for each in unread]) for what, unread in thread.called] == [("take back", [1])]


@in_event_loop
async def test_of_fetches_that_come_together_those_of_other_partitions_are_taken_back() -> None:
    thread = Thread()
    consumer = Consumer(Keeper(), thread, fetches_of(dict.fromkeys(range(3), b"{}")))
    consumer.fetchable = {TP(READINGS, 0), TP(READINGS, 2)}
    [message] = await messages(consumer)
    assert [each.partition for each in message.value] == [0, 2]
    assert [[each.partition for each in unread] for _, unread in thread.called] == [[1]]


@in_event_loop
async def test_a_fetch_that_nobody_takes_while_the_flow_stands_is_taken_back() -> None:
    """A rebalance has sought while the fetch was on its way, and lets the flow go on a moment later."""
    thread, unread = Thread(), [fetched(), fetched(number=2)]
    consumer = Consumer(Keeper(), thread, {TP(READINGS, each.partition): each for each in unread})
    consumer.flow_active = False
    assert await messages(consumer) == []
    assert thread.called == [("take back", unread)]


@in_event_loop
async def test_where_all_buffers_are_full_the_next_fetch_waits_for_room_and_not_for_a_second() -> None:
    consumer = Consumer(Keeper(), Thread(), {TP(READINGS, 0): fetched()})
    for tp in consumer.assignment():
        consumer.on_buffer_full(tp)
    asked = asyncio.create_task(messages(consumer, timeout=60.0))
    await settle()
    assert not asked.done()
    consumer.on_buffer_drop(TP(READINGS, 0))
    async with asyncio.timeout(5):
        assert await asked == []  # and Faust asks again
    assert len(await messages(consumer)) == 1
    assert consumer._thread.called == [("look again", None)]  # type: ignore[attr-defined]


@in_event_loop
async def test_a_wait_for_room_ends_so_that_a_stop_is_noticed() -> None:
    consumer = Consumer(Keeper(), Thread(), {TP(READINGS, 0): fetched()})
    for tp in consumer.assignment():
        consumer.on_buffer_full(tp)
    assert await messages(consumer, timeout=0.01) == []


@in_event_loop
async def test_where_one_buffer_has_room_the_fetch_does_not_wait() -> None:
    consumer = Consumer(Keeper(), Thread(), {TP(READINGS, 0): fetched()})
    consumer.on_buffer_full(TP(READINGS, 2))
    async with asyncio.timeout(5):
        assert len(await messages(consumer, timeout=60.0)) == 1


@in_event_loop
async def test_a_fetch_that_fails_ends_the_worker() -> None:
    keeper, error = Keeper(), StalledError("the log does not hold the offsets")
    assert await messages(Consumer(keeper, Thread(), error)) == []
    assert keeper.errors == [error]


# -- the consumer's thread ---------------------------------------------------------------------------------------------


class Kafka:
    """As much of an aiokafka consumer as the thread needs."""

    def __init__(self, assigned: Iterable[TopicPartition] = (NAME,), error: BaseException | None = None) -> None:
        self._closed = False
        self._error = error
        self.committed: list[dict[TopicPartition, OffsetAndMetadata]] = []
        self.sought: list[tuple[TopicPartition, int]] = []
        self.paused: list[TopicPartition] = []
        self.places = {tp: SimpleNamespace(position=0, has_valid_position=True, timestamp=5) for tp in assigned}
        assignment = SimpleNamespace(tps=set(assigned), state_value=self.places.__getitem__)
        self._subscription = SimpleNamespace(
            subscription=SimpleNamespace(assignment=assignment, _reassignment_in_progress=False)
        )
        self._fetcher = SimpleNamespace(_closed=False, _subscriptions=self)
        self._coordinator = SimpleNamespace(generation=3, group_id="g", member_id="me", _send_req=self.send)
        self.sent: list[Any] = []

    def fetch_context(self) -> Any:
        return contextlib.nullcontext()

    def assignment(self) -> set[TopicPartition]:
        return set(self.places)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought.append((partition, offset))
        self.places[partition].position = offset

    def pause(self, partition: TopicPartition) -> None:
        self.paused.append(partition)

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        if self._error is not None:
            raise self._error
        self.committed.append(offsets)

    async def send(self, request: Any) -> None:
        if self._error is not None:
            raise self._error
        self.sent.append(request)


class BareThread(ConsumerThread):
    """Without Faust and without a thread."""

    def __init__(self, kafka: Kafka | None, flow_active: bool = True) -> None:
        self.settings = SETTINGS
        self.positions, self.epochs = {}, {}
        self._membership = Membership(10.0)
        self.pacing = Pacing()
        self.consumer = cast(Any, SimpleNamespace(flow_active=flow_active))
        self._consumer = kafka

    def _ensure_consumer(self) -> Any:
        return self._consumer

    async def call_thread(  # type: ignore[override]  # without its queue
        self, method: Callable[..., Awaitable[Any]], *arguments: Any, **_: Any
    ) -> Any:
        return await method(*arguments)


async def commit(kafka: Kafka, *partitions: TopicPartition) -> bool:
    return await BareThread(kafka).commit_with_metadata(dict.fromkeys(partitions or (NAME,), (12, '{"low":4}')))


@in_event_loop
async def test_offsets_are_committed_with_what_a_restart_needs() -> None:
    kafka = Kafka()
    assert await commit(kafka)
    assert kafka.committed == [{NAME: OffsetAndMetadata(12, '{"low":4}')}]


@in_event_loop
async def test_only_what_is_assigned_is_committed_and_the_rest_is_not_taken_for_done() -> None:
    other = TopicPartition(READINGS, 1)
    kafka = Kafka()
    assert not await commit(kafka, NAME, other)
    assert kafka.committed == [{NAME: OffsetAndMetadata(12, '{"low":4}')}]
    assert not await commit(kafka, other)
    assert len(kafka.committed) == 1


@pytest.mark.parametrize(
    "error", [CommitFailedError("fenced"), IllegalStateError("not assigned"), KafkaConnectionError("away")], ids=repr
)
@in_event_loop
async def test_a_commit_that_another_generation_or_an_outage_prevents_is_not_done(error: BaseException) -> None:
    assert not await commit(Kafka(error=error))


@in_event_loop
async def test_a_commit_that_is_refused_names_the_instance() -> None:
    with pytest.raises(StalledError, match="runs as instance 'one'"):
        await commit(Kafka(error=UnknownError("82")))


async def fetch(
    thread: ConsumerThread, monkeypatch: pytest.MonkeyPatch, drained: dict[TopicPartition, Columns] | BaseException
) -> dict[TP, Fetched]:
    async def drain(*_: object) -> dict[TopicPartition, Columns]:
        if isinstance(drained, BaseException):
            raise drained
        return drained

    monkeypatch.setattr(consumer_thread, "drain", drain)
    return await thread._fetch_records(cast(Any, thread)._consumer, {TP(*NAME)})


@in_event_loop
async def test_fetches_are_chained_and_carry_the_number_of_their_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka()
    thread = BareThread(kafka)
    await thread.seek_to({NAME: (10, 7)})
    assert kafka.sought == [(NAME, 10)]
    columns = Columns(range(10, 12), [b"m"] * 2, [b"{}"] * 2, [0, 0])
    kafka.places[NAME].position = 12
    found = await fetch(thread, monkeypatch, {NAME: columns})
    assert found[TP(*NAME)] == Fetched(READINGS, 0, 7, 10, 12, columns)
    kafka.places[NAME].position = 15
    found = await fetch(thread, monkeypatch, {})
    assert (found[TP(*NAME)].start, found[TP(*NAME)].end, len(found[TP(*NAME)].columns)) == (12, 15, 0)
    assert await fetch(thread, monkeypatch, {}) == {}


@in_event_loop
async def test_who_catches_up_on_one_partition_does_not_wait_long_for_news_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = Kafka()
    thread = BareThread(kafka)
    few, many = ({NAME: Columns(values=[b"{}"] * count)} for count in (10, 5_000))
    waits = []
    for drained in (few, many, few, many, {}):
        await fetch(thread, monkeypatch, drained)
        waits.append(kafka._fetcher._fetch_max_wait_ms)
    assert waits == [500, 20, 500, 20, 500]


@in_event_loop
async def test_brokers_gather_records_for_a_busy_worker_unless_it_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka()
    thread = BareThread(kafka)
    few, many = ({NAME: Columns(values=[b"{}"] * count)} for count in (10, 5_000))
    asked = []
    for work, drained in ((0.001, few), (1.0, few), (0.0, many)):
        thread.pacing.worked(work)
        await fetch(thread, monkeypatch, drained)
        asked.append((kafka._fetcher._fetch_min_bytes, kafka._fetcher._fetch_max_wait_ms))
    assert asked == [(1, 500), (thread.settings.fetch_bytes, 15), (1, 20)]


class OneRecord(FetchResult):  # type: ignore[misc]  # aiokafka has no types
    """What a broker sent of one partition, not yet taken."""

    def __init__(self) -> None: ...

    def has_more(self) -> bool:
        return False


class Fetching:
    """As much of aiokafka's fetcher as a wait for records needs; one record of `NAME` lies in it."""

    _closed = False

    def __init__(self) -> None:
        self._records = {NAME: OneRecord()}
        self._subscriptions = SimpleNamespace(reassignment_in_progress=False, is_assigned=lambda _: True)
        self._fetch_waiters: set[asyncio.Future[None]] = set()
        self._wait_consume_future = None

    def _create_fetch_waiter(self) -> asyncio.Future[None]:
        waiter = asyncio.get_running_loop().create_future()
        self._fetch_waiters.add(waiter)
        return waiter

    def _notify(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


@in_event_loop
async def test_room_for_one_partition_ends_the_wait_for_another_that_has_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draining, "_take", lambda *_: Columns(values=[b"{}"]))
    kafka, active = Kafka(), {TopicPartition(READINGS, 1)}
    thread, kafka._fetcher = BareThread(kafka), cast(Any, Fetching())
    thread.thread_loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(draining.drain(cast(Any, kafka._fetcher), active, 60.0, 1_000))
    await settle()
    assert not waiting.done()
    active.add(NAME)
    thread.look_again()
    async with asyncio.timeout(5):
        assert list(await waiting) == [NAME]


@in_event_loop
async def test_a_new_plan_forgets_the_positions_of_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    other = TopicPartition(READINGS, 1)
    kafka = Kafka([NAME, other])
    thread = BareThread(kafka)
    await thread.seek_to({NAME: (10, 1), other: (20, 1)})
    await thread.seek_to({NAME: (10, 2)})
    kafka.places[NAME].position, kafka.places[other].position = 12, 22
    found = await fetch(thread, monkeypatch, {})
    assert {tp.partition: fetch.epoch for tp, fetch in found.items()} == {0: 2}
    assert kafka.paused == [other]


@in_event_loop
async def test_what_is_taken_back_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka()
    thread = BareThread(kafka)
    await thread.seek_to({NAME: (10, 7)})
    columns = Columns(range(10, 12), [b"m"] * 2, [b"{}"] * 2, [0, 0])
    for _ in range(2):
        kafka.places[NAME].position = 12
        found = await fetch(thread, monkeypatch, {NAME: columns})
        assert found[TP(*NAME)] == Fetched(READINGS, 0, 7, 10, 12, columns)
        await thread.take_back(list(found.values()))
        assert kafka.places[NAME].position == 10


@pytest.mark.parametrize("assigned", [True, False])
@in_event_loop
async def test_what_a_seek_or_a_revocation_has_overtaken_is_not_taken_back(assigned: bool) -> None:
    kafka = Kafka()
    thread = BareThread(kafka)
    await thread.seek_to({NAME: (10, 7)})
    if assigned:
        await thread.seek_to({NAME: (40, 8)})
    else:
        kafka.places.clear()
    before = list(kafka.sought)
    await thread.take_back([Fetched(READINGS, 0, 7, 10, 12, Columns())])
    assert kafka.sought == before


@in_event_loop
async def test_a_partition_that_was_taken_away_while_it_was_planned_is_not_sought() -> None:
    kafka = Kafka([NAME])
    await BareThread(kafka).seek_to({TopicPartition(READINGS, 1): (20, 1), NAME: (10, 1)})
    assert kafka.sought == [(NAME, 10)]


@in_event_loop
async def test_nothing_is_fetched_of_what_is_not_assigned_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Kafka()
    thread = BareThread(kafka)
    await thread.seek_to({NAME: (10, 1)})
    kafka.places[NAME].position = 12
    kafka._subscription.subscription.assignment.tps.clear()
    assert await fetch(thread, monkeypatch, {}) == {}
    kafka._subscription.subscription.assignment = None
    assert await fetch(thread, monkeypatch, {}) == {}


@in_event_loop
async def test_offsets_that_the_log_lost_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = BareThread(Kafka())
    with pytest.raises(StalledError, match="the log does not hold the offsets"):
        await fetch(thread, monkeypatch, OffsetOutOfRangeError({NAME: 5}))
    assert await fetch(thread, monkeypatch, NoOffsetForPartitionError(NAME)) == {}
    assert await fetch(BareThread(Kafka(), flow_active=False), monkeypatch, {}) == {}


@in_event_loop
async def test_a_worker_leaves_its_group_as_the_member_that_it_is() -> None:
    kafka = Kafka()
    await BareThread(kafka).leave()
    (request,) = kafka.sent
    assert (request._group, request._member_id) == ("g", "me")


@in_event_loop
async def test_who_is_no_member_has_nothing_to_leave() -> None:
    kafka = Kafka()
    kafka._coordinator.generation = -1
    await BareThread(kafka).leave()
    assert kafka.sent == []


@pytest.mark.parametrize("error", [KafkaConnectionError("away"), TimeoutError(), OSError("no route")], ids=repr)
@in_event_loop
async def test_a_coordinator_that_is_away_does_not_keep_a_worker_from_ending(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="stream_detector.streaming.worker.transport.consumer_thread")
    await BareThread(Kafka(error=error)).leave()
    assert "the group was not left" in caplog.text


def test_who_has_no_consumer_or_rebalances_is_no_member() -> None:
    assert not BareThread(None).observe().member
    kafka = Kafka()
    view = BareThread(kafka).observe()
    assert view.member
    assert (view.fetches[0].position, view.fetches[0].answered_ms) == (0, 5)
    kafka._subscription.subscription._reassignment_in_progress = True
    assert not BareThread(kafka).observe().member
