"""The content of the demo's screen, as a fold over messages: no broker, no terminal, no clock of its own."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Literal

from stream_detector.messages import Alarm, Costs, LoggedEvent, Score, from_iso
from stream_detector.operations.ledger.ledger import Ledger

Verdict = Literal["open", "caught", "false", "waiting"]
"""Outcomes of an alarm: still up; an event followed; none followed; over, but its lead window is not."""

RATE_SECONDS = 3.0
DELAYS_KEPT = 200


@dataclass(frozen=True)
class SeenAlarm:
    """An alarm with what became of it. `lead_seconds`: from raising to the event that it caught."""

    alarm: Alarm
    verdict: Verdict
    lead_seconds: float | None


@dataclass(frozen=True)
class SeenEvent:
    """A break; `lead_seconds` is None where nothing announced it. `pending`: the scores have not passed it yet."""

    time: float
    event: str
    lead_seconds: float | None
    pending: bool


@dataclass(frozen=True)
class Tally:
    """What the alarms were worth so far, in the plant's currency units."""

    caught: int
    missed: int
    alarms: int
    right_alarms: int
    false_alarms: int
    lead_seconds: float | None
    cost: float
    never_cost: float

    @property
    def saved(self) -> float:
        return self.never_cost - self.cost

    @property
    def saved_share(self) -> float:
        return self.saved / self.never_cost if self.never_cost else 0.0


@dataclass(frozen=True)
class Point:
    """The scores of a few steps: the highest, whether an alarm was up, whether something broke. None = no score."""

    ratio: float | None
    alarm: bool
    event: bool


class Watch:
    """Follows one asset.

    Args:
        asset: whose messages count.
        step_seconds, lead_seconds: of the bundle's grid, and the end of its lead window.
        costs: of the bundle, for events before the first alarm.
    """

    def __init__(self, asset: str, step_seconds: float, lead_seconds: float, costs: Costs) -> None:
        self.asset, self.step_seconds, self.costs = asset, step_seconds, costs
        self._lead_seconds = lead_seconds
        self._ledger = Ledger(default_costs=costs)
        self._alarms: dict[str, Alarm] = {}
        self._ratios: dict[int, float] = {}
        self._up: set[int] = set()
        self._event_steps: set[int] = set()
        self._sent_at: dict[int, float] = {}
        self._delays: deque[float] = deque(maxlen=DELAYS_KEPT)
        self._sent: deque[tuple[float, int]] = deque()
        self.newest: Score | None = None
        self.scored = 0
        self.readings = 0
        self.over = False  # nothing more comes: whatever was pending is decided

    def sent(self, time: float, readings: int, now: float) -> None:
        """The plant has sent the row of `time`; `readings` are all that it has sent so far."""
        self._sent_at[self._step(time)] = now
        self.readings = readings
        self._sent.append((now, readings))
        while now - self._sent[0][0] > RATE_SECONDS:
            self._sent.popleft()

    def add_score(self, score: Score, now: float) -> None:
        if score.asset != self.asset:
            return
        step = self._step(from_iso(score.time))
        level = score.score if score.probability is None else score.probability
        # Where no threshold pays every score is far below it.
        threshold = math.inf if score.threshold is None else score.threshold
        self._ratios[step] = level / threshold if threshold > 0 else score.score
        if score.alarm:
            self._up.add(step)
        if step in self._sent_at:
            self._delays.append(now - self._sent_at[step])
        self.newest = score
        self.scored += 1

    def add_alarm(self, alarm: Alarm) -> bool:
        """Enters an alarm; True unless it repeats one that is known."""
        if alarm.asset != self.asset or self._alarms.get(alarm.id) == alarm:
            return False
        self._alarms[alarm.id] = alarm
        self._ledger.add_alarm(alarm)
        return True

    def add_event(self, asset: str, event: LoggedEvent) -> None:
        if asset == self.asset and isinstance(event.time, str):
            self._ledger.add_event(asset, event)
            self._event_steps.add(self._step(from_iso(event.time)))

    @property
    def time(self) -> float | None:
        """Event time that the scores have reached, epoch seconds."""
        return None if self.newest is None else from_iso(self.newest.time) + self.step_seconds

    @property
    def delay_seconds(self) -> float | None:
        """From the plant's sending of a row to its score on this screen, the middle one of the newest."""
        return median(self._delays) if self._delays else None

    @property
    def readings_per_second(self) -> float:
        """Readings a second that the plant sent over the last few seconds."""
        if len(self._sent) < 2 or self._sent[-1][0] == self._sent[0][0]:
            return 0.0
        (first, before), (last, after) = self._sent[0], self._sent[-1]
        return (after - before) / (last - first)

    def tally(self) -> Tally:
        account = self._ledger.account(self.asset)
        events = [event for event in account.events if not self._pending(event.time, event.caught_by is not None)]
        leads = [event.lead_seconds for event in events if event.lead_seconds is not None]
        seen = self.alarms()
        return Tally(
            caught=len(leads),
            missed=len(events) - len(leads),
            alarms=len(seen),
            right_alarms=sum(alarm.verdict == "caught" for alarm in seen),
            false_alarms=sum(alarm.verdict == "false" for alarm in seen),
            lead_seconds=sum(leads) / len(leads) if leads else None,
            cost=sum(event.cost for event in events) + sum(alarm.cost for alarm in account.alarms),
            never_cost=sum(event.never_cost for event in events),
        )

    def alarms(self) -> list[SeenAlarm]:
        """Oldest first."""
        account = self._ledger.account(self.asset)
        leads = {event.caught_by: event.lead_seconds for event in account.events if event.caught_by}
        return [
            SeenAlarm(self._alarms[entry.id], self._verdict(self._alarms[entry.id], entry.useful), leads.get(entry.id))
            for entry in account.alarms
        ]

    def events(self) -> list[SeenEvent]:
        """Oldest first."""
        account = self._ledger.account(self.asset)
        return [
            SeenEvent(
                event.time, event.event, event.lead_seconds, self._pending(event.time, event.caught_by is not None)
            )
            for event in account.events
        ]

    def points(self, count: int, steps_each: int) -> Iterator[Point]:
        """The last `count` points of the curve, oldest first, each the highest of `steps_each` steps."""
        if self.newest is None:
            return
        end = self._step(from_iso(self.newest.time)) // steps_each + 1
        for block in range(end - count, end):
            steps = range(block * steps_each, (block + 1) * steps_each)
            ratios = [self._ratios[step] for step in steps if step in self._ratios]
            yield Point(
                max(ratios) if ratios else None,
                any(step in self._up for step in steps),
                any(step in self._event_steps for step in steps),
            )

    def _pending(self, event_time: float, caught: bool) -> bool:
        """Before the scores have passed a break, the alarm that announced it may be on its way."""
        return not (caught or self.over or (self.time is not None and self.time > event_time))

    def _verdict(self, alarm: Alarm, useful: bool) -> Verdict:
        if useful:
            return "caught"
        if alarm.cleared_at is None:
            return "open"
        over = from_iso(alarm.cleared_at) + self._lead_seconds
        return "false" if self.over or (self.time is not None and self.time > over) else "waiting"

    def _step(self, time: float) -> int:
        return math.floor(time / self.step_seconds)
