"""The ledger's report: totals with the interval of the saving, by asset, by bundle and by day."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from stream_detector.detection.block_bootstrap import Interval, holding_interval
from stream_detector.detection.event_cost import warning_minutes
from stream_detector.messages import to_iso
from stream_detector.operations.ledger.held_back import Prevented, prevented
from stream_detector.operations.ledger.ledger import AlarmEntry, EventEntry, Ledger

SECONDS_PER_MINUTE = 60.0

WARNINGS = (1, 2, 3)
"""Least warnings, in steps, that the saving is told for."""


Entries = tuple[Sequence[EventEntry], Sequence[AlarmEntry]]
"""Of one ledger, or a part of it."""

Span = tuple[date | None, date | None]
"""First and last day that a report is about, quiet ones included; None: that of the first and the last entry."""


class Tally(Struct, frozen=True):
    """Events and alarms added up; costs in the plant's currency units.

    `saving` is relative, `1 - cost / never_cost`, and None without events; `saving_low` and `saving_high` are its 90 %
    interval over days, None where there are too few events or days for one, or nothing was caught. A state that was
    found counts as caught; `lead_minutes` are those of events, `delay_minutes` those from the beginning of each found
    state, below 0 where the alarm came first. An alarm that is `open` is neither useful nor false yet, but paid for.
    `saving` is what holds if nobody had acted: an event that acting prevented is in no log. Alarms that were `acted` on
    are not false without an event; those that were `held_back` cost and catch nothing.
    """

    events: int
    caught: int
    missed: int
    alarms: int
    false_alarms: int
    open_alarms: int
    judged_real: int
    judged_false: int
    cost: float
    never_cost: float
    saved: float
    saving: float | None
    saving_low: float | None
    saving_high: float | None
    lead_minutes: tuple[float, ...]
    delay_minutes: tuple[float, ...] = ()
    acted: int = 0
    held_back: int = 0


class LedgerReport(Struct, frozen=True):
    """The ledger between `since` and `until` (epoch seconds, None = unbounded), with the entries it rests on."""

    since: float | None
    until: float | None
    total: Tally
    by_asset: dict[str, Tally]
    by_bundle: dict[str, Tally]
    by_day: dict[str, Tally]
    events: tuple[EventEntry, ...]
    alarms: tuple[AlarmEntry, ...]
    prevented: Prevented | None = None

    @property
    def warnings(self) -> list[tuple[float, float]]:
        """Least and most minutes from the end of the step of each alarm to the event that it caught, ascending."""
        return sorted(
            warning_minutes(event.lead_steps, event.step_seconds)
            for event in self.events
            if event.until is None and event.lead_steps is not None and event.step_seconds is not None
        )

    def by_least_warning(self) -> list[dict[str, Any]]:
        """What is left where a warning of fewer than so many steps is none; every alarm is paid for as it was.

        A state may be found after it began, so it counts in each.
        """
        found = []
        for steps in WARNINGS:
            short = [
                event
                for event in self.events
                if event.until is None and event.lead_steps is not None and event.lead_steps < steps
            ]
            cost = self.total.cost + math.fsum(event.never_cost - event.cost for event in short)
            never = self.total.never_cost
            saving = 1.0 - cost / never if never else None
            found.append({"steps": steps, "caught": self.total.caught - len(short), "saving": saving})
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, the totals at the top with the names that `trainer backtest --json` uses."""
        return {
            "since": None if self.since is None else to_iso(self.since),
            "until": None if self.until is None else to_iso(self.until),
            **tally_json(self.total),
            "by_least_warning": self.by_least_warning(),
            "if_nobody_acted": not self.total.acted,
            "prevented": None if self.prevented is None else asdict(self.prevented),
            "per_asset": [{"asset": asset, **tally_json(tally)} for asset, tally in self.by_asset.items()],
            "per_bundle": [{"bundle": bundle, **tally_json(tally)} for bundle, tally in self.by_bundle.items()],
            "per_day": [{"day": day, **tally_json(tally)} for day, tally in self.by_day.items()],
            "event_list": [
                {
                    "asset": event.asset,
                    "time": to_iso(event.time),
                    "event": event.event,
                    "until": None if event.until is None or event.until == math.inf else to_iso(event.until),
                    "bundle": event.bundle,
                    "caught_by": event.caught_by,
                    "lead_minutes": None if event.lead_seconds is None else event.lead_seconds / SECONDS_PER_MINUTE,
                    "cost": event.cost,
                }
                for event in self.events
            ],
            "alarm_list": [
                {
                    "id": alarm.id,
                    "asset": alarm.asset,
                    "raised_at": to_iso(alarm.raised_at),
                    "bundle": alarm.bundle,
                    "outcome": _outcome(alarm),
                    "held_back": alarm.held_back,
                    "acted": alarm.acted,
                    "feedback": alarm.feedback,
                    "cost": alarm.cost,
                }
                for alarm in self.alarms
            ],
        }


def report(
    ledger: Ledger,
    since: float | None = None,
    until: float | None = None,
    asset: str | None = None,
    *,
    every_day: bool = False,
) -> LedgerReport:
    """Adds up what happened at `since <= event time < until`, of one asset or all.

    Matching is done before the cut, so an event just after `since` may be caught by an alarm just before it, and the
    reports of adjoining periods add up to the report of the whole. `every_day`: the ledger knows all that happened from
    `since` to `until`, so that days without an entry were quiet ones.
    """

    def inside(time: float) -> bool:
        return (since is None or time >= since) and (until is None or time < until)

    names = [name for name in ledger.assets if asset is None or name == asset]
    accounts = [ledger.account(name) for name in names]
    events = tuple(event for account in accounts for event in account.events if inside(event.time))
    alarms = tuple(alarm for account in accounts for alarm in account.alarms if inside(alarm.raised_at))
    last = None if until is None else math.nextafter(until, -math.inf)
    span = (day_of(since), day_of(last)) if every_day else (None, None)
    return LedgerReport(
        since=since,
        until=until,
        total=tally(events, alarms, span),
        by_asset=_tallies(grouped((events, alarms), lambda entry: entry.asset), span),
        by_bundle=_by_bundle(events, alarms, [] if ledger.service is None else ledger.service.between(since, until)),
        by_day=_tallies(grouped((events, alarms), lambda entry: entry.day.isoformat())),
        events=events,
        alarms=alarms,
        prevented=prevented(events, alarms),
    )


def entries_of(
    ledger: Ledger, since: float | None = None, until: float | None = None, asset: str | None = None
) -> tuple[tuple[EventEntry, ...], tuple[AlarmEntry, ...]]:
    """Events and alarms of `since <= event time < until`, of one asset or all.

    Matching is done before the cut, so an event just after `since` may be caught by an alarm just before it, and the
    reports of adjoining periods add up to the report of the whole.
    """

    def inside(time: float) -> bool:
        return (since is None or time >= since) and (until is None or time < until)

    accounts = [ledger.account(name) for name in (ledger.assets if asset is None else [asset])]
    events = tuple(event for account in accounts for event in account.events if inside(event.time))
    alarms = tuple(alarm for account in accounts for alarm in account.alarms if inside(alarm.raised_at))
    return events, alarms


def _outcome(alarm: AlarmEntry) -> str:
    if alarm.useful or alarm.open:
        return "useful" if alarm.useful else "open"
    return "held-back" if alarm.held_back else "acted" if alarm.acted else "false"


def tally(events: Sequence[EventEntry], alarms: Sequence[AlarmEntry], span: Span = (None, None)) -> Tally:
    """Adds up some entries, in whatever order. `span`: the days that they were looked for on."""
    # Fractions and fsum are exact, so the order of the entries cannot move a cent.
    amounts = Counter(event.cost for event in events) + Counter(alarm.cost for alarm in alarms)
    cost = _exact(amounts)
    never_cost = math.fsum(event.never_cost for event in events)
    caught = sum(event.caught_by is not None for event in events)
    interval = _interval(events, alarms, span)
    return Tally(
        events=len(events),
        caught=caught,
        missed=len(events) - caught,
        alarms=len(alarms),
        false_alarms=sum(alarm.false for alarm in alarms),
        open_alarms=sum(alarm.open for alarm in alarms),
        judged_real=sum(alarm.feedback == "real" for alarm in alarms),
        judged_false=sum(alarm.feedback == "false-alarm" for alarm in alarms),
        acted=sum(alarm.acted for alarm in alarms),
        held_back=sum(alarm.held_back for alarm in alarms),
        cost=cost,
        never_cost=never_cost,
        saved=never_cost - cost,
        saving=1.0 - cost / never_cost if never_cost else None,
        saving_low=interval.low,
        saving_high=interval.high,
        lead_minutes=tuple(
            sorted(
                event.lead_seconds / SECONDS_PER_MINUTE
                for event in events
                if event.lead_seconds is not None and event.until is None
            )
        ),
        delay_minutes=tuple(
            sorted(
                -event.lead_seconds / SECONDS_PER_MINUTE
                for event in events
                if event.lead_seconds is not None and event.until is not None
            )
        ),
    )


def _exact(amounts: Counter[float]) -> float:
    return float(sum((Fraction(amount) * count for amount, count in amounts.items()), Fraction()))


def grouped(entries: Entries, key: Callable[[EventEntry | AlarmEntry], str]) -> dict[str, Entries]:
    """The entries by a key, in its order."""
    found: dict[str, tuple[list[EventEntry], list[AlarmEntry]]] = defaultdict(lambda: ([], []))
    for event in entries[0]:
        found[key(event)][0].append(event)
    for alarm in entries[1]:
        found[key(alarm)][1].append(alarm)
    return {name: found[name] for name in sorted(found)}


def _tallies(groups: dict[str, Entries], span: Span = (None, None)) -> dict[str, Tally]:
    return {name: tally(*entries, span) for name, entries in groups.items()}


def _by_bundle(
    events: Sequence[EventEntry], alarms: Sequence[AlarmEntry], in_service: Sequence[str]
) -> dict[str, Tally]:
    """`in_service`: bundles that decided in this time, whether or not anything happened.

    Where nobody knows which one did, no saving is told of several: a missed event is booked on the one that raised the
    last alarm before it, so that one which is silent would seem to save most.
    """
    groups = {**dict.fromkeys(in_service, ((), ())), **grouped((events, alarms), lambda entry: entry.bundle)}
    by_bundle = _tallies({name: groups[name] for name in sorted(groups)})
    if len(by_bundle) < 2 or all(event.bundle_known for event in events):
        return by_bundle
    return {name: replace(found, saving=None, saving_low=None, saving_high=None) for name, found in by_bundle.items()}


def _interval(events: Sequence[EventEntry], alarms: Sequence[AlarmEntry], span: Span) -> Interval:
    cost: dict[date, float] = defaultdict(float)
    never_cost: dict[date, float] = defaultdict(float)
    for event in events:
        cost[event.day] += event.cost
        never_cost[event.day] += event.never_cost
    for alarm in alarms:
        cost[alarm.day] += alarm.cost
    if not cost:
        return Interval(None, None)
    days = sorted(cost)
    first, last = span[0] or days[0], span[1] or days[-1]
    calendar_days = (last - first).days + 1
    return holding_interval(
        [cost[day] for day in days],
        [never_cost[day] for day in days],
        events=len(events),
        caught=sum(event.caught_by is not None for event in events),
        quiet_days=max(calendar_days - len(days), 0),
    )


def day_of(time: float | None) -> date | None:
    """The day in UTC; None where there is no time, or none of the calendar."""
    try:
        return None if time is None else datetime.fromtimestamp(time, UTC).date()
    except (OverflowError, ValueError, OSError):
        return None


def tally_json(tally: Tally) -> dict[str, Any]:
    """Plain values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(tally).items()}
