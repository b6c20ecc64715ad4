"""What it was last time, for people who are told of an alarm: the past alarms that the ledger knows to be like it."""

from collections.abc import Sequence
from dataclasses import dataclass

from stream_detector.messages import Alarm
from stream_detector.operations.alarms.precedents import Precedent, outcomes_of, precedents
from stream_detector.operations.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class LastTime:
    """Past alarms like one, added up: how many, how many were followed by an event, how many minutes later (least and
    most), and how many people judged false."""

    count: int
    followed: int
    from_minutes: float
    until_minutes: float
    wrong: int


def last_time(ledger: Ledger, alarm: Alarm) -> LastTime | None:
    """None where the ledger knows no alarm like it."""
    return added_up(precedents(alarm, ledger.alarms(), outcomes_of(map(ledger.account, ledger.assets))))


def added_up(found: Sequence[Precedent]) -> LastTime | None:
    """None where there is no precedent."""
    if not found:
        return None
    minutes = [abs(one.lead_seconds) / 60 for one in found if one.lead_seconds is not None]
    wrong = sum(one.judgement == "false-alarm" for one in found)
    return LastTime(len(found), len(minutes), min(minutes, default=0.0), max(minutes, default=0.0), wrong)
