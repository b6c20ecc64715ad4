"""Which labelled states a detector finds, counted by the ledger: what `fit` promises is what the ledger says."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.messages import Alarm, LoggedEvent
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report

STATE = "state"


@dataclass(frozen=True)
class StateFigures:
    """States and alarms between two times; `median_delay_seconds` runs from the beginning of each found state.

    `cost`, `never_cost`: of these alarms, and of none.
    """

    states: int
    found: int
    alarms: int
    false_alarms: int
    median_delay_seconds: float | None
    cost: float
    never_cost: float


def states_of(times: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """First and last time of each run of labelled rows. times, labels: (N,)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]]).astype(np.int8)))
    begins, ends = changes[::2], changes[1::2] - 1
    return [(float(times[begin]), float(times[end])) for begin, end in zip(begins, ends, strict=True)]


def judge(states: Sequence[tuple[float, float]], alarms: Sequence[Alarm], since: float, until: float) -> StateFigures:
    """What the ledger says of these alarms and states between two times (epoch seconds, both included)."""
    ledger = Ledger()
    for alarm in alarms:
        ledger.add_alarm(alarm)
    (asset,) = {alarm.asset for alarm in alarms} or {"file"}
    for begin, last in states:
        ledger.add_event(asset, LoggedEvent(time=begin, event=STATE, until=last))
    found = report(ledger, since, math.nextafter(until, math.inf)).total
    delays = found.delay_minutes
    return StateFigures(
        states=found.events,
        found=found.caught,
        alarms=found.alarms,
        false_alarms=found.false_alarms,
        median_delay_seconds=60 * statistics.median(delays) if delays else None,
        cost=found.cost,
        never_cost=found.never_cost,
    )
