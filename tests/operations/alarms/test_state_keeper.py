import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream_detector.messages import Alarm, AlarmStateChange, Feedback
from stream_detector.metrics import ForwarderMetrics
from stream_detector.operations.alarms.alarm_health import AlarmHealth
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.alarms.state_keeper import StateInput, StateKeeper, StatesSoFar
from stream_detector.operations.notify.delivery import AlarmRecord
from stream_detector.operations.record_guard import RecordGuard
from tests.support.messages import MIDNIGHT, at_step, make_alarm, make_feedback


class MemoryStateLog:
    """Hands out `inputs` from the committed place on; keeps what is published. `broken`: publishing fails."""

    def __init__(self) -> None:
        self.inputs: list[StateInput] = []
        self.published: list[AlarmStateChange] = []
        self.committed, self.broken = 0, False

    async def restore(self) -> StatesSoFar:
        self.position = self.committed
        answers = [given.message for given in self.inputs[: self.committed] if given.message in self.answers]
        taken = [given.message for given in self.inputs[: self.committed] if isinstance(given.message, Feedback)]
        return StatesSoFar(list(self.published), answers, taken)

    @property
    def answers(self) -> list[Feedback]:
        said = [given.message for given in self.inputs if isinstance(given.message, Feedback)]
        return [message for message in said if message.alarm is not None]

    async def next(self) -> list[StateInput]:
        found = self.inputs[self.position :]
        self.position = len(self.inputs)
        return found

    async def publish(self, changes: list[AlarmStateChange]) -> None:
        if self.broken:
            raise ConnectionError
        self.published += changes

    async def commit(self) -> None:
        self.committed = self.position


def start(log: "CrashingLog | MemoryStateLog", now: float = MIDNIGHT) -> tuple[StateKeeper, Callable[..., Any]]:
    registry = CollectorRegistry()
    book = AlarmBook()
    keeper = StateKeeper(book, log, AlarmHealth(book), ForwarderMetrics(registry), RecordGuard(), lambda: now)
    asyncio.run(keeper.restore())
    return keeper, lambda name, **of: registry.get_sample_value(f"stream_detector_forwarder_{name}", of)


def take(log: MemoryStateLog, *messages: Alarm | Feedback) -> None:
    log.inputs += [StateInput(message, MIDNIGHT, AlarmRecord(None, MIDNIGHT, "t", 0, 0)) for message in messages]


def test_changes_are_published_before_the_progress_is_kept_and_repeated_after_a_crash() -> None:
    log = MemoryStateLog()
    take(log, make_alarm(1))
    log.broken = True
    keeper, _ = start(log)
    with pytest.raises(ConnectionError):
        asyncio.run(keeper.step())
    assert (log.published, log.committed) == ([], 0)
    log.broken = False
    keeper, _ = start(log)
    asyncio.run(keeper.step())
    assert ([change.state for change in log.published], log.committed) == (["unacknowledged"], 1)


def test_what_was_published_but_not_committed_is_not_published_again() -> None:
    log = MemoryStateLog()
    take(log, make_alarm(1), make_feedback("acknowledge", make_alarm(1).id, at=2))
    keeper, _ = start(log)
    asyncio.run(keeper.step())
    log.committed = 0
    keeper, _ = start(log)
    asyncio.run(keeper.step())
    assert [change.state for change in log.published] == ["unacknowledged", "acknowledged"]


def test_the_figures_are_shown_and_a_restart_brings_them_back() -> None:
    log = MemoryStateLog()
    shelve = make_feedback("shelve", asset="pm-2", until=at_step(99), reason="calibration")
    take(log, make_alarm(1), shelve)
    keeper, shown = start(log)
    asyncio.run(keeper.step())
    assert (shown("alarms_per_10_minutes"), shown("unacknowledged_alarms"), shown("shelved_alarms")) == (1, 1, 1)
    assert shown("asset_alarms", asset="pm-1", state="unacknowledged") == 1
    assert shown("asset_alarms", asset="pm-2", state="shelved") == 1
    take(log, make_feedback("acknowledge", make_alarm(1).id, at=3))
    asyncio.run(keeper.step())
    assert shown("asset_alarms", asset="pm-1", state="unacknowledged") is None
    _, shown = start(log)
    assert (shown("unacknowledged_alarms"), shown("shelved_alarms")) == (0, 1)


def test_what_is_set_aside_is_no_burden_and_does_not_chatter() -> None:
    log = MemoryStateLog()
    shelve = Feedback(asset="pm-1", action="shelve", reason="r", at=at_step(0), until=at_step(500), who="n")
    raised = [make_alarm(step) for step in range(20, 60, 5)]
    take(log, *raised[:-1], make_alarm(90, asset="pm-2", held_back=True))
    keeper, shown = start(log)
    asyncio.run(keeper.step())
    assert (shown("alarms_per_10_minutes"), shown("chattering_assets")) == (7, 1)
    take(log, shelve, raised[-1])
    asyncio.run(keeper.step())
    assert (shown("alarms_per_10_minutes"), shown("chattering_assets")) == (7, 0)
    assert shown("asset_alarms", asset="pm-1", state="chattering") == 1, "it does, as whoever takes it back should know"


class Killed(BaseException):
    """The process is gone."""


class CrashingLog(MemoryStateLog):
    """Hands out so many inputs at a time; the process dies after so many publishes, again and again."""

    def __init__(self, batch: int, lives: list[int]) -> None:
        super().__init__()
        self.batch, self.lives = batch, list(lives)

    async def next(self) -> list[StateInput]:
        found = self.inputs[self.position : self.position + self.batch]
        self.position += len(found)
        return found

    async def publish(self, changes: list[AlarmStateChange]) -> None:
        for change in changes:
            if self.lives:
                if self.lives[0] == 0:
                    del self.lives[0]
                    raise Killed
                self.lives[0] -= 1
            self.published.append(change)


def run(log: CrashingLog, inputs: list[StateInput]) -> AlarmBook:
    """Runs to the end through all crashes; the book at the end, and one that is restored once more."""
    log.inputs = inputs
    while True:
        try:
            keeper, _ = start(log, MIDNIGHT + 120 * len(inputs))
            while log.committed < len(inputs):
                asyncio.run(keeper.step())
            asyncio.run(keeper.step())
        except Killed:
            continue
        return keeper._book


def as_told(book: AlarmBook) -> tuple[Any, ...]:
    """Whether somebody acknowledged an alarm while it was set aside does not matter: it comes back unacknowledged."""
    suppression = book.suppression("pm-1", 0.0)
    return (
        sorted(
            (alarm.id, alarm.state, alarm.up, suppression is None and alarm.acknowledged)
            for alarm in book.open_alarms()
        ),
        suppression and (suppression.state, suppression.until),
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["raise", "clear"]), st.integers(1, 6)),
        st.tuples(
            st.sampled_from(["acknowledge", "real", "shelve", "unshelve", "out-of-service", "in-service"]),
            st.integers(1, 6),
        ),
    ),
    max_size=16,
)


def as_inputs(
    given: list[tuple[str, int]], said_at: list[int] | None = None, shelved_steps: int = 4
) -> list[StateInput]:
    """Alarm n is up from step n to n + 1, so the next one is its renewal; each input comes a step after the last.

    said_at: the steps at which people said what they say; None: when it comes.
    """
    inputs = []
    raised = set()
    for place, (what, number) in enumerate(given):
        at = place if said_at is None else said_at[place]
        if what == "clear" and number not in raised:
            what = "raise"  # no log tells of an end before its beginning
        if what == "raise":
            raised.add(number)
        message: Alarm | Feedback
        if what in ("raise", "clear"):
            message = make_alarm(number, None if what == "raise" else number + 1)
        else:
            ends = {"until": at_step(at + shelved_steps)} if what == "shelve" else {}
            message = make_feedback(what, make_alarm(number).id, at=at, reason="why", **ends)
        inputs.append(StateInput(message, MIDNIGHT + 120 * place, AlarmRecord(None, 0.0, "t", 0, place)))
    return inputs


@given(steps, st.integers(1, 5), st.lists(st.integers(0, 8), max_size=4))
@example([("raise", 1), ("clear", 1), ("raise", 2)], 5, [3])
@example([("raise", 1), ("shelve", 1)], 5, [2])
@example([("raise", 1), ("shelve", 1), ("unshelve", 1)], 5, [4])
@example([("acknowledge", 1), ("raise", 1)], 1, [1])
@example([("out-of-service", 1), ("raise", 3), ("clear", 1), ("raise", 2), ("raise", 1)], 1, [2])
def test_states_are_the_same_whenever_the_keeper_is_killed_between_two_publishes(
    given: list[tuple[str, int]], batch: int, lives: list[int]
) -> None:
    inputs = as_inputs(given)
    undisturbed, log = CrashingLog(batch, []), CrashingLog(batch, lives)
    expected = as_told(run(undisturbed, inputs))
    assert as_told(run(log, inputs)) == expected
    log.lives, log.committed = [], len(inputs)
    assert as_told(run(log, inputs)) == expected, "and after one more start"


@given(st.data(), steps, st.integers(1, 5), st.lists(st.integers(0, 8), max_size=4))
def test_what_people_say_once_more_changes_nothing_in_whatever_order_it_came(
    data: st.DataObject, given: list[tuple[str, int]], batch: int, lives: list[int]
) -> None:
    said_at = data.draw(st.lists(st.integers(0, 16), min_size=len(given), max_size=len(given)))
    # No two of them at the same time: which was said later could not be told.
    inputs = as_inputs(given, [17 * step + place for place, step in enumerate(said_at)], shelved_steps=1_000)
    log = CrashingLog(batch, lives)
    book = run(log, inputs)
    before, published = as_told(book), len(log.published)
    again = [each for each in inputs if isinstance(each.message, Feedback)]
    assert as_told(run(log, [*inputs, *again])) == before
    assert log.published[published:] == []


def test_of_two_who_contradict_each_other_the_later_is_obeyed_though_it_changed_nothing_and_came_first() -> None:
    log = MemoryStateLog()
    take(log, make_feedback("in-service", at=9), make_feedback("out-of-service", at=5, reason="why"))
    keeper, _ = start(log)
    asyncio.run(keeper.step())
    assert log.published == []
    take(log, make_feedback("out-of-service", at=7, reason="why"))
    restarted, _ = start(log)
    asyncio.run(restarted.step())
    assert log.published == []
