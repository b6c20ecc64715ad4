"""Which labelled states a detector finds, counted by the ledger: what `fit` promises is what the ledger says."""

import math
import statistics
from collections.abc import Mapping, Sequence
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


def judge(
    states: Sequence[tuple[str, float, float]], alarms: Sequence[Alarm], spans: Mapping[str, tuple[float, float]]
) -> StateFigures:
    """What the ledger says of these alarms and states, were none held back: the lot says nothing of a detector.

    states: asset, first and last time of each. spans: first and last time (epoch seconds, both included) on which each
        asset is judged.
    """
    totals, delays = [], list[float]()
    for asset, (since, until) in spans.items():
        ledger = Ledger()
        for alarm in alarms:
            if alarm.asset == asset:
                ledger.add_alarm(alarm.model_copy(update={"held_back": False}))
        for of, begin, last in states:
            if of == asset:
                ledger.add_event(asset, LoggedEvent(time=begin, event=STATE, until=last))
        total = report(ledger, since, math.nextafter(until, math.inf)).total
        totals.append(total)
        delays += total.delay_minutes
    return StateFigures(
        states=sum(total.events for total in totals),
        found=sum(total.caught for total in totals),
        alarms=sum(total.alarms for total in totals),
        false_alarms=sum(total.false_alarms for total in totals),
        median_delay_seconds=60 * statistics.median(delays) if delays else None,
        cost=sum(total.cost for total in totals),
        never_cost=sum(total.never_cost for total in totals),
    )
