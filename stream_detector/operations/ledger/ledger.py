"""The ledger: which alarms caught which events, and what that was worth.

A pure collection of messages: its answer depends on *which* messages it was given, never on their order or on how
often each came, so it can be rebuilt from the topics at any time. Matching and prices are those of
`detection.event_cost`, as in the backtest.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import chain
from operator import attrgetter
from typing import Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from stream_detector.detection.config import LeadConfig
from stream_detector.detection.event_cost import NOT_CAUGHT, match_events
from stream_detector.detection.grid.steps import step_of
from stream_detector.messages import (
    Alarm,
    Costs,
    Feedback,
    LoggedEvent,
    OperatingChange,
    from_iso,
    to_bytes,
    to_epoch_seconds,
)
from stream_detector.operations.downtime.planned import Planner
from stream_detector.operations.ledger.operating import OperatingLog
from stream_detector.operations.ledger.service import Service

UNKNOWN_BUNDLE = "unknown"
"""Stands in for the bundle of events of an asset that no alarm was ever raised for."""

SHORTEST_STEP_SECONDS = 1e-6
"""Steps since the epoch stay 64-bit integers."""

FARTHEST_STEP = 2**62

HIGHEST_COST = 1e15

Judgement = Literal["real", "false-alarm"]


class EventEntry(Struct, frozen=True):
    """One event as it is known now. `time` is epoch seconds; `lead_seconds` starts at the step of the alarm that caught
    it, so it is a whole number of steps, of `step_seconds` each.

    `until`: end of a state, +inf while it goes on; None for a moment. A state may be found after it began: then
    `lead_seconds` is below 0, and its absolute value the delay. `foreseen_by`: the alarm that spoke of it first; it has
    caught nothing if it was held back. `bundle_known`: somebody says that the bundle was in service; False: it raised
    the last alarm before, or the first of all.
    """

    asset: str
    time: float
    event: str
    bundle: str
    caught_by: str | None
    lead_seconds: float | None
    cost: float
    never_cost: float
    until: float | None = None
    step_seconds: float | None = None
    foreseen_by: str | None = None
    bundle_known: bool = True

    @property
    def lead_steps(self) -> int | None:
        """Steps from the alarm to the event; None where it was missed."""
        if self.lead_seconds is None or self.step_seconds is None:
            return None
        return round(self.lead_seconds / self.step_seconds)

    @property
    def day(self) -> date:
        """The day in UTC that the event is booked on."""
        return datetime.fromtimestamp(self.time, UTC).date()


class AlarmEntry(Struct, frozen=True):
    """One alarm as it is known now. `feedback` is what a person said of it; it changes no cost.

    `held_back`: nobody was told, so it cost nothing. `acted`: somebody did something about it. `speaks_from`,
    `speaks_until`: event times of the rows whose labels acting may have changed. `at_stake`: the cost of an event that
    it speaks of.
    """

    id: str
    asset: str
    bundle: str
    raised_at: float
    expected_from: float
    open: bool
    useful: bool
    cost: float
    feedback: Judgement | None
    held_back: bool = False
    acted: bool = False
    speaks_from: float = 0.0
    speaks_until: float = 0.0
    at_stake: float = 0.0

    @property
    def false(self) -> bool:
        """Whether the alarm is over, no event followed in its lead window, and that is nobody's doing."""
        return not (self.useful or self.open or self.acted or self.held_back)

    @property
    def day(self) -> date:
        """The day in UTC that the alarm is booked on."""
        return datetime.fromtimestamp(self.raised_at, UTC).date()


class Account(Struct, frozen=True):
    """The entries of one asset, in order of event time.

    Left out are those in planned downtime, `planned` of them, and events before which the machine stood, `standing`.
    """

    events: tuple[EventEntry, ...]
    alarms: tuple[AlarmEntry, ...]
    planned: int = 0
    standing: int = 0


class Standing(Protocol):
    """Whoever knows when machines do not run."""

    def before(self, asset: str, time: float) -> bool:
        """Whether the machine stood all through the lead window of an event at this time (epoch seconds)."""


class Ledger:
    """Collects alarms, events and feedback; `account` gives the entries of an asset.

    Args:
        event_names: which events cost something, e.g. {"break"}; None: all of them.
        default_costs: prices the events of an asset that has no alarm yet (alarms bring their own costs).
        planner: knows when assets are down by plan; events and alarms of that time do not count.

    Nothing is judged while a machine stands, so that nobody could have been warned: events do not count before which it
    did not run, as `add_operating` was told or `leave_out_standing` says.

    Attributes:
        service: knows which bundle was in service when, alarms or not; None = the alarms alone say. It is set before
            the first account is asked for.
    """

    def __init__(
        self,
        event_names: Collection[str] | None = None,
        default_costs: Costs | None = None,
        planner: Planner | None = None,
    ) -> None:
        self.service: Service | None = None
        self._planner = planner
        self._event_names = None if event_names is None else frozenset(event_names)
        self._default_costs = default_costs or Costs()
        self._alarms: dict[str, dict[str, Raised]] = defaultdict(dict)
        self._events: dict[str, dict[tuple[str, ...], LoggedEvent]] = defaultdict(dict)
        self._feedback: dict[str, Feedback] = {}
        self._acted: set[str] = set()
        self._acted_at: dict[str, set[float]] = defaultdict(set)
        self._accounts: dict[str, Account] = {}
        self._standing: Standing | None = None
        self._operating = OperatingLog()

    def leave_out_standing(self, standing: Standing) -> None:
        """From now on events before which the machine stood do not count."""
        self._standing = standing
        self._accounts.clear()

    def add_operating(self, change: OperatingChange) -> None:
        """Takes when a machine begins or ceases to run.

        Raises:
            ValueError: it contradicts itself.
        """
        self._operating.add(change)
        self.forget_account(change.asset)

    def forget_account(self, asset: str) -> None:
        """Something that its entries depend on has changed."""
        self._accounts.pop(asset, None)

    @property
    def assets(self) -> list[str]:
        """All assets with an alarm or an event, sorted."""
        return sorted(asset for asset in {*self._alarms, *self._events} if self._alarms[asset] or self._events[asset])

    def alarms(self) -> Iterator[Alarm]:
        """Every alarm that is known, in no order."""
        for known in list(self._alarms.values()):
            yield from (raised.alarm for raised in list(known.values()))

    @property
    def newest(self) -> float:
        """Event time (epoch seconds) of the newest alarm or event; -inf when there is none."""
        raised = (alarm.raised_at for alarms in self._alarms.values() for alarm in alarms.values())
        happened = (to_epoch_seconds(event.time) for events in self._events.values() for event in events.values())
        return max(chain(raised, happened), default=-math.inf)

    def add_alarm(self, alarm: Alarm) -> None:
        """Takes an alarm, raised or cleared; the cleared form replaces the raised one, whichever comes first.

        Raises:
            ValueError: its times contradict each other or are not ISO 8601 with a zone.
        """
        known = self._alarms[alarm.asset].get(alarm.id)
        if known is None or _alarm_rank(alarm) > _alarm_rank(known.alarm):
            self._alarms[alarm.asset][alarm.id] = Raised(alarm)
            self._accounts.pop(alarm.asset, None)

    def add_event(self, asset: str, event: LoggedEvent) -> tuple[LoggedEvent, ...]:
        """Takes an event or a correction of one. `asset` is the record's key; one named in the event overrides it.

        Returns what changed: the event, and the version of it that was known before; nothing where it is no news.
        """
        asset = event.asset or asset
        identity = ("id", event.id) if event.id is not None else ("at", event.event, repr(to_epoch_seconds(event.time)))
        known = self._events[asset].get(identity)
        if known is not None and _event_rank(event) <= _event_rank(known):
            return ()
        self._events[asset][identity] = event
        self._accounts.pop(asset, None)
        return (event,) if known is None else (event, known)

    def add_feedback(self, feedback: Feedback) -> bool:
        """Takes what a person said about an alarm, or that somebody acted; the newest judgement counts.

        Other actions are no matter of ours. Returns whether it was news.
        """
        if feedback.action == "acted":
            return self._add_acting(feedback)
        if feedback.action not in ("real", "false-alarm", "unjudge") or feedback.alarm is None:
            return False
        known = self._feedback.get(feedback.alarm)
        if known is not None and _feedback_rank(feedback) <= _feedback_rank(known):
            return False
        self._feedback[feedback.alarm] = feedback
        self._accounts.clear()
        return True

    def without_alarms(self) -> "Ledger":
        """Another ledger that knows the same events: what another detector would have been worth."""
        other = Ledger(self._event_names, self._default_costs, self._planner)
        other._standing, other._operating = self._standing, self._operating
        other._events.update({asset: dict(events) for asset, events in self._events.items()})
        return other

    def _add_acting(self, feedback: Feedback) -> bool:
        if feedback.alarm is not None:
            if feedback.alarm in self._acted:
                return False
            self._acted.add(feedback.alarm)
            self._accounts.clear()
            return True
        at, known = from_iso(feedback.at), self._acted_at[feedback.asset]
        if at in known:
            return False
        known.add(at)
        self._accounts.pop(feedback.asset, None)
        return True

    def forget_before(self, time: float) -> None:
        """Drops alarms and events older than `time` (epoch seconds): a process that runs for years stays small."""
        self._operating.forget_before(time)
        for asset in self.assets:
            alarms, events = self._alarms[asset], self._events[asset]
            old_alarms = [key for key, raised in alarms.items() if raised.raised_at < time]
            old_events = [
                key for key, event in events.items() if (end_of(event) or to_epoch_seconds(event.time)) < time
            ]
            for alarm_id in old_alarms:
                del alarms[alarm_id]
                self._feedback.pop(alarm_id, None)
                self._acted.discard(alarm_id)
            self._acted_at[asset] = {at for at in self._acted_at[asset] if at >= time}
            for identity in old_events:
                del events[identity]
            if old_alarms or old_events:
                self._accounts.pop(asset, None)

    def keep_newest(self, alarms: int) -> None:
        """Drops the oldest alarms beyond so many, and the events before those that stay."""
        raised_at = sorted(raised.raised_at for known in self._alarms.values() for raised in known.values())
        if len(raised_at) > alarms:
            self.forget_before(raised_at[-alarms])

    def account(self, asset: str) -> Account:
        """The entries of one asset; computed anew only after something of that asset changed."""
        if asset not in self._accounts:
            self._accounts[asset] = self._match(asset)
        return self._accounts[asset]

    def _match(self, asset: str) -> Account:
        history = History(self._alarms[asset].values())
        events = self._counted_events(asset, history)
        caught_by: list[Raised | None] = [None] * len(events)
        foreseen_by: list[Raised | None] = [None] * len(events)
        useful: set[str] = set()
        for (step_seconds, lead, held_back), group in history.by_grid().items():
            steps = [step_of(time, step_seconds) for time, _ in events]
            lasts = [last_step(event, step, step_seconds) for (_, event), step in zip(events, steps, strict=True)]
            match = match_events([raised.steps_up for raised in group], steps, lead, lasts)
            useful.update(raised.alarm.id for raised, caught in zip(group, match.useful, strict=True) if caught)
            for place, index in enumerate(match.caught_by.tolist()):
                if index != NOT_CAUGHT:
                    foreseen_by[place] = _earlier(foreseen_by[place], group[index])
                    if not held_back:
                        caught_by[place] = _earlier(caught_by[place], group[index])
        found = Account(
            events=tuple(
                self._event_entry(asset, event, time, catcher, seer, history)
                for (time, event), catcher, seer in zip(events, caught_by, foreseen_by, strict=True)
            ),
            alarms=tuple(self._alarm_entry(raised, raised.alarm.id in useful) for raised in history.alarms),
        )
        for standing in (self._operating, self._standing):
            if standing is not None:
                found = _without_standing(found, asset, standing)
        return found if self._planner is None else _without_planned(found, asset, self._planner)

    def _counted_events(self, asset: str, history: "History") -> list[tuple[float, LoggedEvent]]:
        """The events that happened and count, in order; those of one step are one: a machine breaks once at a time."""
        happened = sorted(
            (
                (to_epoch_seconds(event.time), event)
                for event in self._events[asset].values()
                if not event.retracted and (self._event_names is None or event.event in self._event_names)
            ),
            key=lambda entry: (entry[0], to_bytes(entry[1])),
        )
        by_step: dict[tuple[float, float], tuple[float, LoggedEvent]] = {}
        for time, event in happened:
            in_service = history.in_service(time)
            step_seconds = in_service.alarm.step_seconds if in_service else None
            step = time if step_seconds is None else step_of(time, step_seconds)
            by_step.setdefault((step_seconds or 0.0, step), (time, event))
        return list(by_step.values())

    def _event_entry(
        self,
        asset: str,
        event: LoggedEvent,
        time: float,
        catcher: "Raised | None",
        seer: "Raised | None",
        history: "History",
    ) -> EventEntry:
        said = None if catcher is not None or self.service is None else self.service.at(time)
        # One that has raised nothing is priced by the alarms of the one before it.
        responsible = catcher or history.last_of(said, time) or history.in_service(time)
        by_alarms = responsible.alarm.bundle if responsible else UNKNOWN_BUNDLE
        costs = responsible.alarm.costs if responsible else self._default_costs
        return EventEntry(
            asset=asset,
            time=time,
            event=event.event,
            bundle=said or by_alarms,
            caught_by=catcher.alarm.id if catcher else None,
            lead_seconds=catcher.lead_seconds(time) if catcher else None,
            cost=0.0 if catcher else costs.fn,
            never_cost=costs.fn,
            until=end_of(event),
            step_seconds=catcher.alarm.step_seconds if catcher else None,
            foreseen_by=seer.alarm.id if seer else None,
            bundle_known=catcher is not None or said is not None,
        )

    def _alarm_entry(self, raised: "Raised", useful: bool) -> AlarmEntry:
        alarm, feedback = raised.alarm, self._feedback.get(raised.alarm.id)
        step_seconds, (first, last) = alarm.step_seconds, (raised.steps_up[0], raised.steps_up[1] - 1)
        ends = (last + raised.lead.until_steps + 1) * step_seconds
        acted = alarm.id in self._acted or any(
            raised.raised_at <= at < ends for at in self._acted_at.get(alarm.asset, ())
        )
        price = alarm.costs.tp if useful or acted else alarm.costs.fp
        return AlarmEntry(
            id=alarm.id,
            asset=alarm.asset,
            bundle=alarm.bundle,
            raised_at=raised.raised_at,
            expected_from=raised.raised_at + raised.lead.from_steps * alarm.step_seconds,
            open=alarm.state == "raised",
            useful=useful,
            cost=0.0 if alarm.held_back else price,
            feedback=_judgement(feedback),
            held_back=alarm.held_back,
            acted=acted and not alarm.held_back,
            # From the first step whose lead window reaches into what the alarm speaks of.
            speaks_from=(first + raised.lead.from_steps - raised.lead.until_steps) * step_seconds,
            speaks_until=ends,
            at_stake=alarm.costs.fn,
        )


def _without_standing(account: Account, asset: str, standing: Standing) -> Account:
    """What an alarm foresaw counts all the same, and so does a state, which may be found after it began."""
    events = tuple(
        event
        for event in account.events
        if event.foreseen_by is not None or event.until is not None or not standing.before(asset, event.time)
    )
    return replace(account, events=events, standing=account.standing + len(account.events) - len(events))


def _without_planned(account: Account, asset: str, planner: Planner) -> Account:
    """Matching comes first: an alarm from before a window may have caught an event in it, and is right all the same."""
    events = tuple(event for event in account.events if planner.at(asset, event.time) is None)
    alarms = tuple(alarm for alarm in account.alarms if planner.at(asset, alarm.raised_at) is None)
    left_out = len(account.events) - len(events) + len(account.alarms) - len(alarms)
    return replace(account, events=events, alarms=alarms, planned=left_out)


class Raised:
    """An alarm with its times read once."""

    __slots__ = ("alarm", "lead", "raised_at", "steps_up")

    def __init__(self, alarm: Alarm) -> None:
        if alarm.step_seconds < SHORTEST_STEP_SECONDS:
            raise ValueError(f"step_seconds = {alarm.step_seconds} is shorter than any grid: 1e-6 at least")
        if max(map(abs, (alarm.costs.tp, alarm.costs.fp, alarm.costs.fn))) > HIGHEST_COST:
            raise ValueError(f"a cost beyond {HIGHEST_COST:g} cannot be added up to the cent")

        def steps_after(time: str) -> int:
            return round((from_iso(time) - self.raised_at) / alarm.step_seconds)

        self.alarm = alarm
        self.raised_at = from_iso(alarm.raised_at)
        self.lead = LeadConfig(
            from_steps=steps_after(alarm.expected_from), until_steps=steps_after(alarm.expected_until)
        )
        # As long as it is not cleared, only its first step is certain.
        length = 1 if alarm.cleared_at is None else max(1, steps_after(alarm.cleared_at))
        raised_step = round(self.raised_at / alarm.step_seconds)
        self.steps_up = (raised_step, raised_step + length)

    def lead_seconds(self, event_time: float) -> float:
        """In whole steps, as the backtest counts: from the start of the alarm's step to the start of the event's."""
        steps = step_of(event_time, self.alarm.step_seconds) - self.steps_up[0]
        return steps * self.alarm.step_seconds


class History:
    """The alarms of one asset in order of event time."""

    def __init__(self, alarms: Iterable[Raised]) -> None:
        self.alarms = sorted(alarms, key=in_order)
        self._by_bundle: dict[str | None, list[Raised]] = defaultdict(list)
        for raised in self.alarms:
            self._by_bundle[raised.alarm.bundle].append(raised)

    def in_service(self, time: float) -> Raised | None:
        """The last alarm raised up to `time` says which bundle was in service; before the first one, the first does."""
        return _last(self.alarms, time)

    def last_of(self, bundle: str | None, time: float) -> Raised | None:
        """The last alarm that a bundle raised up to `time`, or else its first; None where it raised none."""
        return _last(self._by_bundle.get(bundle, []), time)

    def by_grid(self) -> dict[tuple[float, LeadConfig, bool], list[Raised]]:
        """Alarms of one bundle share their step and lead; those of another are matched on a grid of their own.

        Those that are held back are matched by themselves, too: they catch nothing.
        """
        groups: dict[tuple[float, LeadConfig, bool], list[Raised]] = defaultdict(list)
        for raised in self.alarms:
            groups[raised.alarm.step_seconds, raised.lead, raised.alarm.held_back].append(raised)
        return groups


def _last(alarms: Sequence[Raised], time: float) -> Raised | None:
    """The last of these, in order, raised up to `time`, or else the first; None where there is none."""
    if not alarms:
        return None
    return alarms[max(0, bisect_right(alarms, time, key=attrgetter("raised_at")) - 1)]


def end_of(event: LoggedEvent) -> float | None:
    """End of a state, epoch seconds, +inf while it goes on; None where the event is a moment."""
    if event.until is None:
        return math.inf if event.ongoing else None
    return max(to_epoch_seconds(event.until), to_epoch_seconds(event.time))


def last_step(event: LoggedEvent, step: int, step_seconds: float) -> int:
    """The last step of a state that begins in `step`; that step itself for a moment."""
    end = end_of(event)
    if end is None:
        return step
    return FARTHEST_STEP if end == math.inf else max(step, step_of(end, step_seconds))


def in_order(raised: Raised) -> tuple[float, str]:
    return (raised.raised_at, raised.alarm.id)


def _earlier(known: Raised | None, other: Raised) -> Raised:
    return other if known is None else min(known, other, key=in_order)


# Of several versions of the same thing the one of the highest rank counts. The bytes at the end make the choice the
# same in any order of arrival even where two versions claim the same time.
def _alarm_rank(alarm: Alarm) -> tuple[bool, bytes]:
    return (alarm.state == "cleared", to_bytes(alarm))


def _event_rank(event: LoggedEvent) -> tuple[float, bytes]:
    return (-math.inf if event.logged_at is None else to_epoch_seconds(event.logged_at), to_bytes(event))


def _judgement(feedback: Feedback | None) -> Judgement | None:
    if feedback is None or feedback.action == "unjudge":
        return None
    return "real" if feedback.action == "real" else "false-alarm"


def _feedback_rank(feedback: Feedback) -> tuple[float, bytes]:
    return (from_iso(feedback.at), to_bytes(feedback))
