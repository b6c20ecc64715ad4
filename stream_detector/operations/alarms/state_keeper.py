"""Keeps the alarm states: takes alarms and feedback, publishes every change, ends shelvings, shows the figures."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from stream_detector.messages import Alarm, AlarmStateChange, Feedback
from stream_detector.metrics import ForwarderMetrics
from stream_detector.operations.alarms.alarm_health import SET_ASIDE, AlarmHealth
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.record_guard import Place, RecordGuard

MOST_ASSET_GAUGES = 500


@dataclass(frozen=True, slots=True)
class StateInput:
    """An alarm or feedback as it came; `timestamp` is the broker's, epoch seconds; `place` is where it lies."""

    message: Alarm | Feedback
    timestamp: float
    place: Place


@dataclass(frozen=True, slots=True)
class StatesSoFar:
    """What was published, and what people said, each in the order of its log.

    Not everything that is said makes a change, so it is not found among the changes.

    Attributes:
        answers: about alarms; one may be ahead of its alarm.
        taken: about assets, up to the committed progress.
    """

    changes: Sequence[AlarmStateChange]
    answers: Sequence[Feedback] = ()
    taken: Sequence[Feedback] = ()


class StateLog(Protocol):
    """The log of alarms and feedback that the keeper reads, and the log of states that it writes."""

    async def restore(self) -> StatesSoFar:
        """What came of everything so far; called once, first."""

    async def next(self) -> Sequence[StateInput]:
        """The records after the committed progress; empty after about half a second without any."""

    async def publish(self, changes: Sequence[AlarmStateChange]) -> None:
        """Returns when the broker has acknowledged them all."""

    async def commit(self) -> None:
        """Keeps that everything handed out by `next` is done."""


class StateKeeper:
    """Runs an `AlarmBook` on a `StateLog`.

    Args:
        book: shared with the deliveries, which ask it what is set aside.
        state_log: see `StateLog`.
        health: the figures are taken from here.
        metrics: and shown here.
        guard: what becomes of an alarm or feedback that no state can be made of.
        clock: epoch seconds.
    """

    def __init__(
        self,
        book: AlarmBook,
        state_log: StateLog,
        health: AlarmHealth,
        metrics: ForwarderMetrics,
        guard: RecordGuard,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._book = book
        self._log = state_log
        self._health = health
        self._shown: set[tuple[str, str]] = set()
        self._metrics = metrics
        self._guard = guard
        self._clock = clock

    async def restore(self) -> None:
        """Brings the book back to where it was; before the first `step` and before any delivery."""
        so_far = await self._log.restore()
        self._book.restore(so_far.changes)
        for said in so_far.taken:
            self._book.note_said(said)
        changes = [change for answer in so_far.answers for change in self._book.take_feedback(answer)]
        if changes:
            await self._log.publish(changes)
        self._show()

    async def run(self) -> None:
        """Keeps the states until cancelled."""
        while True:
            await self.step()

    async def step(self) -> None:
        """One batch, then the shelvings that are over; a change is published before its progress is kept."""
        inputs = await self._log.next()
        changes: list[AlarmStateChange] = []
        for given in inputs:
            with self._guard.skipping(given.place):
                changes += self._take(given)
        changes += self._book.tick(self._clock())
        if changes:
            await self._log.publish(changes)
        if inputs:
            await self._log.commit()
        self._show()

    def _take(self, given: StateInput) -> Iterable[AlarmStateChange]:
        if isinstance(given.message, Feedback):
            return self._book.take_feedback(given.message)
        alarm = given.message
        renewal_of = self._book.renewal_of(alarm)
        changes = self._book.take_alarm(alarm, given.timestamp)
        for change in changes:
            if change.alarm == alarm.id and change.previous == "normal" and change.up:
                told = change.state not in ("held-back", *SET_ASIDE)
                self._health.note_raised(alarm.asset, alarm.id, given.timestamp, renewal_of, told=told)
                break
        return changes

    def _show(self) -> None:
        figures = self._health.figures(self._clock())
        metrics = self._metrics
        metrics.rate.set(figures.per_10_minutes)
        metrics.standing.set(figures.total("standing"))
        metrics.shelved.set(figures.total("shelved"))
        metrics.out_of_service.set(figures.total("out-of-service"))
        metrics.chattering.set(figures.chattering)
        metrics.unacknowledged.set(figures.total("unacknowledged"))
        shown = dict(islice(figures.by_asset.items(), MOST_ASSET_GAUGES))
        for gone in self._shown - shown.keys():
            metrics.asset_alarms.remove(*gone)
        for (asset, state), count in shown.items():
            metrics.asset_alarms.labels(asset, state).set(count)
        self._shown = set(shown)
