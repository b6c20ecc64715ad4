"""What it was last time: the past alarms that most resemble one, by what each sensor had to do with it. Pure."""

import math
from collections.abc import Iterable

from msgspec import Struct

from stream_detector.messages import Alarm, from_iso
from stream_detector.operations.ledger.ledger import Account

MOST = 4
LEAST_LIKENESS = 0.7
"""Cosine of the angle between two attributions; 0.7 is 45 degrees."""


class Precedent(Struct, frozen=True):
    """A past alarm. `likeness` from `LEAST_LIKENESS` to 1; `lead_seconds` to the event, None = none followed."""

    id: str
    asset: str
    raised_at: float
    likeness: float
    lead_seconds: float | None
    judgement: str | None


class Outcome(Struct, frozen=True):
    """What became of an alarm: how long after its raise the event came (None = none did), and what a person said."""

    lead_seconds: float | None
    judgement: str | None


def outcomes_of(accounts: Iterable[Account]) -> dict[str, Outcome]:
    """What became of the alarms of some assets, by their ids."""
    found: dict[str, Outcome] = {}
    for account in accounts:
        leads = {event.caught_by: event.lead_seconds for event in account.events}
        found |= {alarm.id: Outcome(leads.get(alarm.id), alarm.feedback) for alarm in account.alarms}
    return found


def attribution(alarm: Alarm) -> dict[str, float]:
    """Share of each sensor, negative where it read less than expected: too high and too low are different things."""
    return {
        top.sensor: -top.share
        if top.value is not None and top.expected is not None and top.value < top.expected
        else top.share
        for top in alarm.top_sensors
    }


def likeness(one: dict[str, float], other: dict[str, float]) -> float:
    """Cosine of the angle between two attributions.

    >>> likeness({"x7": 0.6, "x3": 0.2}, {"x7": 0.6, "x3": 0.2}), likeness({"x7": 0.6}, {"x3": 0.5})
    (1.0, 0.0)
    """
    product = sum(share * other.get(sensor, 0.0) for sensor, share in one.items())
    length = math.sqrt(sum(s * s for s in one.values()) * sum(s * s for s in other.values()))
    return round(product / length, 6) if length > 0 else 0.0


def precedents(alarm: Alarm, past: Iterable[Alarm], outcomes: dict[str, Outcome]) -> list[Precedent]:
    """The alarms of the same recipe that resemble it most and were over before it, the likest first, at most `MOST`.

    outcomes: by id; what is not there was followed by nothing.
    """
    own, raised_at = attribution(alarm), from_iso(alarm.raised_at)
    found = []
    for other in past:
        if other.id == alarm.id or other.state != "cleared" or other.recipe != alarm.recipe:
            continue
        at = from_iso(other.raised_at)
        alike = likeness(own, attribution(other))
        if at < raised_at and alike >= LEAST_LIKENESS:
            outcome = outcomes.get(other.id, Outcome(None, None))
            found.append(Precedent(other.id, other.asset, at, alike, outcome.lead_seconds, outcome.judgement))
    found.sort(key=lambda precedent: (-precedent.likeness, -precedent.raised_at))
    return found[:MOST]
