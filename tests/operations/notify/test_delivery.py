import asyncio
from collections.abc import Collection, Iterable
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream_detector.metrics import ForwarderMetrics
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.notify.delivery import Delivery, RetryPolicy, watch
from stream_detector.operations.notify.notification import Notification, Writer
from stream_detector.operations.notify.receivers import DeliveryError
from tests.support.alarm_logs import FakeReceiver, MemoryAlarmLog
from tests.support.messages import MIDNIGHT, at_step, make_alarm, make_feedback, planned_downtime

WRITER = Writer()
AT_ONCE = RetryPolicy(first_seconds=0.0, longest_seconds=0.0, jitter_seconds=0.0)


class Bench:
    """A delivery with a log in memory, a clock set by hand, and restarts."""

    def __init__(self, receiver: Any = None, batch: int = 100) -> None:
        self.log = MemoryAlarmLog(batch)
        self.receiver = receiver or FakeReceiver()
        self.book = AlarmBook()
        self.now = 1_000.0
        self.registry = CollectorRegistry()
        self.metrics = ForwarderMetrics(self.registry)
        self.start()

    def start(self) -> None:
        self.delivery = Delivery(
            self.receiver, self.log, self.book, WRITER, self.metrics, AT_ONCE, 86_400.0, lambda: self.now
        )
        self.restored = False

    def run(self, steps: int = 1) -> list[tuple[str, str]]:
        async def go() -> None:
            if not self.restored:
                await self.delivery.restore()
                self.restored = True
            for _ in range(steps):
                await self.delivery.step()

        asyncio.run(go())
        return self.receiver.told

    def counted(self, name: str) -> float | None:
        return self.registry.get_sample_value(
            f"stream_detector_forwarder_{name}_total", {"receiver": self.receiver.name}
        )


def test_an_alarm_is_told_when_raised_and_when_cleared_and_then_committed() -> None:
    bench = Bench()
    alarm = make_alarm(1)
    bench.log.append(alarm, make_alarm(1, 3))
    assert bench.run() == [(alarm.id, "raised"), (alarm.id, "cleared")]
    assert (bench.log.committed, bench.counted("notifications_accepted")) == (2, 2)


def test_repeats_in_the_log_are_told_once() -> None:
    bench = Bench(batch=1)
    bench.log.append(*[make_alarm(1), make_alarm(1, 3)] * 3)
    assert len(bench.run(steps=6)) == 2
    assert bench.log.committed == 6


def test_a_receiver_that_refuses_gets_everything_in_order_later() -> None:
    bench = Bench()
    bench.receiver.refusals = 7
    bench.log.append(make_alarm(1), make_alarm(1, 3), make_alarm(5))
    assert [state for _, state in bench.run()] == ["raised", "cleared", "raised"]
    assert bench.counted("notification_failures") == 7


def test_a_receiver_that_hangs_does_not_keep_another_waiting_and_loses_nothing() -> None:
    class Hanging(FakeReceiver):
        released: asyncio.Event

        async def deliver(self, notifications: list[Notification]) -> None:
            await self.released.wait()
            await super().deliver(notifications)

    async def go() -> None:
        receiver = Hanging("hanging")
        receiver.released = asyncio.Event()
        hanging, healthy = Bench(receiver), Bench(FakeReceiver("healthy"))
        for bench in (hanging, healthy):
            bench.log.append(make_alarm(1), timestamp=900.0)
        tasks = [asyncio.create_task(bench.delivery.step()) for bench in (hanging, healthy)]
        await tasks[1]
        assert (len(healthy.receiver.got), healthy.log.committed) == (1, 1)
        assert (len(hanging.receiver.got), hanging.log.committed) == (0, 0)
        watching = asyncio.create_task(watch([hanging.delivery, healthy.delivery], hanging.metrics))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sample = hanging.registry.get_sample_value
        assert sample("stream_detector_forwarder_oldest_pending_seconds") == 100.0
        assert sample("stream_detector_forwarder_pending_alarms") == 1
        watching.cancel()
        hanging.receiver.released.set()
        await tasks[0]
        assert (len(hanging.receiver.got), hanging.log.committed) == (1, 1)

    asyncio.run(go())


def test_a_stop_in_the_middle_of_a_batch_commits_what_was_accepted_and_no_more() -> None:
    class Stuck(FakeReceiver):
        async def deliver(self, notifications: list[Notification]) -> None:
            if len(self.got) == 2:
                await asyncio.Event().wait()
            await super().deliver(notifications)

    async def go() -> Any | Bench:
        bench = Bench(Stuck())
        bench.log.append(*(make_alarm(step) for step in (1, 2, 3, 4)))
        task = asyncio.create_task(bench.delivery.step())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return bench

    bench = asyncio.run(go())
    assert bench.log.committed == 2
    bench.receiver = FakeReceiver()
    bench.start()
    assert bench.run() == [(make_alarm(3).id, "raised"), (make_alarm(4).id, "raised")]


def shelve(bench: Bench, until: int = 10) -> None:
    bench.book.take_feedback(make_feedback("shelve", at=0, until=at_step(until), reason="calibration"))


def unshelve(bench: Bench) -> None:
    bench.book.take_feedback(make_feedback("unshelve", at=1))


def test_a_shelved_alarm_is_told_when_it_comes_back_and_still_is_up() -> None:
    bench = Bench()
    shelve(bench)
    bench.log.append(make_alarm(1), make_alarm(2), make_alarm(2, 4))
    assert bench.run() == []
    assert bench.log.committed == 3
    unshelve(bench)
    assert bench.run() == [(make_alarm(1).id, "raised")]


def test_nobody_is_told_in_planned_downtime_and_of_what_is_still_up_when_it_is_over() -> None:
    bench = Bench()
    bench.book = AlarmBook(planner=planned_downtime(10, 20))
    bench.now = MIDNIGHT + 120.0
    bench.start()
    bench.log.append(make_alarm(1))
    bench.run()
    bench.now = MIDNIGHT + 10 * 120.0
    bench.log.append(make_alarm(10, asset="pm-2"), make_alarm(11), make_alarm(11, 12))
    assert bench.run() == [(make_alarm(1).id, "raised"), (make_alarm(1).id, "suppressed")]
    assert (
        "planned downtime until 2026-05-01 00:40 UTC: boiler inspection" in bench.receiver.got[-1].texts["description"]
    )
    bench.now = MIDNIGHT + 20 * 120.0
    assert bench.run()[2:] == [(make_alarm(1).id, "raised"), (make_alarm(10, asset="pm-2").id, "raised")]


def test_an_alarm_held_back_by_a_shelf_survives_a_restart() -> None:
    bench = Bench()
    shelve(bench)
    bench.log.append(make_alarm(1))
    bench.run()
    bench.start()
    unshelve(bench)
    assert bench.run() == [(make_alarm(1).id, "raised")]
    bench.start()
    assert len(bench.run()) == 1


def test_shelving_takes_an_alarm_back_and_its_return_has_another_key() -> None:
    bench = Bench()
    bench.log.append(make_alarm(1))
    bench.run()
    shelve(bench)
    bench.run()
    unshelve(bench)
    assert [state for _, state in bench.run()] == ["raised", "suppressed", "raised"]
    assert bench.receiver.got[1].ended_at == bench.now
    assert len({notification.key for notification in bench.receiver.got}) == 3


def test_a_receiver_that_forgets_is_reminded_of_what_is_up_also_after_a_restart() -> None:
    bench = Bench(FakeReceiver(repeat_seconds=60.0))
    bench.log.append(make_alarm(1), make_alarm(2), make_alarm(2, 4), timestamp=1_000.0)
    bench.run()
    bench.receiver.got.clear()
    assert bench.run() == []
    bench.now += 61
    assert bench.run(steps=2) == [(make_alarm(1).id, "raised")]
    bench.start()
    assert bench.run() == [(make_alarm(1).id, "raised")] * 2


def test_an_alarm_whose_detector_is_gone_is_not_repeated_for_ever() -> None:
    bench = Bench(FakeReceiver(repeat_seconds=60.0))
    bench.log.append(make_alarm(1), timestamp=1_000.0)
    bench.run()
    bench.receiver.got.clear()
    bench.now += 100_000
    assert bench.run() == []


def test_a_record_that_is_no_alarm_is_passed_over() -> None:
    bench = Bench()
    bench.log.append(None, make_alarm(1))
    assert len(bench.run()) == 1
    assert bench.log.committed == 2


def test_an_alarm_that_the_receiver_refuses_for_good_does_not_keep_the_next_ones_from_people(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bad = make_alarm(1)
    bench.receiver.never = {bad.id}
    bench.log.append(bad, make_alarm(2), make_alarm(1, 3), make_alarm(2, 4))
    assert bench.run(steps=2) == [(make_alarm(2).id, "raised"), (make_alarm(2).id, "cleared")]
    assert (bench.log.committed, bench.log.untold) == (4, set())
    assert (bench.counted("notifications_refused"), bench.counted("notification_failures")) == (1, 3)
    assert f"refuses alarm {bad.id}" in caplog.text


def test_of_many_reminders_only_the_one_that_is_refused_is_left_out() -> None:
    bench = Bench(FakeReceiver(repeat_seconds=60.0))
    bench.log.append(*(make_alarm(step) for step in (1, 2, 3)), timestamp=1_000.0)
    bench.run()
    bench.receiver.got.clear()
    bench.receiver.never = {make_alarm(2).id}
    bench.now += 61
    assert bench.run() == [(make_alarm(1).id, "raised"), (make_alarm(3).id, "raised")]


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, [1.0, 2.0, 4.0, 8.0, 10.0]), (7.0, [7.0, 7.0, 7.0, 8.0, 10.0]), (60.0, [60.0] * 5)]
)
def test_waits_grow_and_are_as_long_as_the_receiver_asks(
    monkeypatch: pytest.MonkeyPatch, asked: float | None, waited: list[float]
) -> None:
    class Busy(FakeReceiver):
        async def deliver(self, notifications: list[Notification]) -> None:
            if self.refusals:
                self.refusals -= 1
                raise DeliveryError("429", asked)
            await super().deliver(notifications)

    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    bench = Bench(Busy())
    bench.delivery._retry = RetryPolicy(1.0, 10.0, 0.0)
    bench.receiver.refusals = 5
    bench.log.append(make_alarm(1))
    assert len(bench.run()) == 1
    assert slept == waited


def test_an_alarm_that_comes_back_after_a_restart_has_a_key_that_was_not_seen() -> None:
    bench = Bench()
    bench.log.append(make_alarm(1))
    bench.run()
    shelve(bench)
    bench.run()
    bench.start()
    unshelve(bench)
    assert [state for _, state in bench.run()] == ["raised", "suppressed", "raised"]
    assert len({notification.key for notification in bench.receiver.got}) == 3


class Killed(BaseException):
    """The process is gone."""


class Process:
    """A process that is dead does nothing any more, whatever its `finally` says."""

    dead = False

    def die(self) -> NoReturn:
        self.dead = True
        raise Killed


class Mortal(FakeReceiver):
    """Is there when the process dies: before it takes something, or after, without an answer."""

    def __init__(self, process: Process, lives: Iterable[tuple[int, bool]]) -> None:
        super().__init__()
        self.process, self.lives = process, list(lives)

    async def deliver(self, notifications: list[Notification]) -> None:
        left, taken = self.lives[0] if self.lives else (1, True)
        if left or taken:
            await super().deliver(notifications)
        if left and self.lives:
            self.lives[0] = (left - 1, taken)
        elif not left:
            del self.lives[0]
            self.process.die()


class MortalLog(MemoryAlarmLog):
    """The process dies instead of the commits with these numbers."""

    def __init__(self, process: Process, batch: int, dies_at: Collection[int]) -> None:
        super().__init__(batch)
        self.process, self.dies_at, self.commits = process, dies_at, 0

    async def commit(self, untold: Collection[str], in_doubt: Collection[str]) -> None:
        if self.process.dead:
            return
        self.commits += 1
        if self.commits in self.dies_at:
            self.process.die()
        await super().commit(untold, in_doubt)


class MortalBench(Bench):
    """Dies at a notification (`lives`: so many before it, and whether it is taken) or at a commit."""

    def __init__(self, batch: int = 100, lives: Iterable[tuple[int, bool]] = (), dies_at: Collection[int] = ()) -> None:
        self.process = Process()
        super().__init__(Mortal(self.process, lives), batch)
        self.log = MortalLog(self.process, batch, dies_at)
        self.start()

    def restart(self) -> None:
        self.process.dead = False
        self.start()


def killed_while_it_took_an_alarm_back(taken: bool) -> MortalBench:
    """`taken`: by the receiver, before the process died."""
    bench = MortalBench(lives=[(1, taken)])
    bench.log.append(make_alarm(1))
    bench.run()
    shelve(bench)
    with pytest.raises(Killed):
        bench.run()
    return bench


@pytest.mark.parametrize("taken", [False, True])
def test_an_alarm_is_told_again_though_the_forwarder_died_while_it_took_it_back_and_missed_the_end_of_the_shelving(
    taken: bool,
) -> None:
    bench = killed_while_it_took_an_alarm_back(taken)
    unshelve(bench)
    bench.restart()
    assert [state for _, state in bench.run(steps=2)] == ["raised", *["suppressed"] * taken, "raised"]
    assert len({notification.key for notification in bench.receiver.got}) == len(bench.receiver.got)


@pytest.mark.parametrize("taken", [False, True])
def test_an_alarm_that_may_have_been_told_is_told_again_with_the_key_that_it_had(taken: bool) -> None:
    bench = MortalBench(lives=[(0, taken)])
    bench.log.append(make_alarm(1))
    with pytest.raises(Killed):
        bench.run()
    bench.restart()
    assert [state for _, state in bench.run(steps=2)] == ["raised"] * (1 + taken)
    assert len({notification.key for notification in bench.receiver.got}) == 1


@pytest.mark.parametrize("taken", [False, True])
def test_an_alarm_is_taken_back_though_the_forwarder_died_meanwhile(taken: bool) -> None:
    bench = killed_while_it_took_an_alarm_back(taken)
    bench.restart()
    assert [state for _, state in bench.run(steps=2)] == ["raised", *["suppressed"] * taken, "suppressed"]
    unshelve(bench)
    assert [state for _, state in bench.run()][-1] == "raised"


def test_an_alarm_that_ended_while_it_was_taken_back_is_cleared() -> None:
    bench = killed_while_it_took_an_alarm_back(taken=False)
    bench.log.append(make_alarm(1, 3))
    bench.restart()
    assert [state for _, state in bench.run()] == ["raised", "cleared"]


inputs = st.lists(
    st.tuples(st.sampled_from(["raise", "clear", "shelve", "unshelve", "restart"]), st.integers(1, 4)), max_size=20
)


@given(inputs, st.integers(1, 3), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=5),
       st.sets(st.integers(1, 12)), st.booleans())  # fmt: skip
@example([("raise", 1), ("shelve", 1), ("unshelve", 1)], 1, [(1, True)], set(), True)
@example([("shelve", 1), ("raise", 1), ("unshelve", 1), ("clear", 1)], 1, [(0, True)], set(), True)
@example([("raise", 1), ("shelve", 1), ("clear", 1)], 1, [], {2}, True)
def test_whenever_the_forwarder_is_killed_every_alarm_that_should_be_told_is_told(
    given: list[tuple[str, int]], batch: int, lives: list[tuple[int, bool]], dies_at: set[int], stays_down: bool
) -> None:
    bench = MortalBench(batch, lives, dies_at)

    def run(stays_down: bool) -> None:
        """Where it dies, it starts again: at once, or after what happens next."""
        if bench.process.dead:
            bench.restart()
        while True:
            try:
                bench.run(steps=1 + len(bench.log.records))
            except Killed:
                if stays_down:
                    return
                bench.restart()
            else:
                return

    raised: set[str] = set()
    cleared: set[str] = set()
    must_be_told: set[str] = set()
    shelved = False
    for at, (what, number) in enumerate([*given, ("unshelve", 0)]):
        alarm_id = make_alarm(number).id if number else ""
        if what == "raise" and alarm_id not in raised:
            raised.add(alarm_id)
            bench.log.append(make_alarm(number))
        elif what == "clear" and alarm_id in raised - cleared:
            cleared.add(alarm_id)
            bench.log.append(make_alarm(number, number + 1))
        elif what in ("shelve", "unshelve"):
            shelved = what == "shelve"
            said = {"until": at_step(at + 1_000), "reason": "why"} if shelved else {}
            bench.book.take_feedback(make_feedback(what, at=at, **said))
        elif what == "restart":
            bench.start()
        run(stays_down)
        if not shelved and not bench.process.dead:
            must_be_told |= raised - cleared
    run(stays_down=False)
    last = dict(bench.receiver.told)
    assert must_be_told <= last.keys()
    assert {alarm_id for alarm_id, state in last.items() if state == "raised"} == raised - cleared


def test_nobody_is_told_of_an_alarm_that_is_held_back() -> None:
    bench = Bench()
    told = make_alarm(5)
    bench.log.append(make_alarm(1, held_back=True), make_alarm(1, 3, held_back=True), told)
    assert bench.run() == [(told.id, "raised")]
    assert bench.log.committed == 3
    bench.start()
    assert bench.run() == [(told.id, "raised")]
