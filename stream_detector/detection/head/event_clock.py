"""Inputs from time alone: time since the last event, events lately, time into the run.

Events of a machine come in bursts (Hawkes 1971, "Spectra of some self-exciting and mutually exciting point processes"),
and the minutes after a restart are the riskiest.
"""

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

COUNTED_HOURS = (1, 3, 12, 24)
LONGEST_MINUTES = 2_880.0
LONGEST_RUN = 720
EARLY_STEPS = 20
NAMES = (
    *(f"events in {hours} h" for hours in COUNTED_HOURS),
    "since event",
    "run position",
    "grade",
    "since grade",
    "early in run",
)


class ClockState(Struct):
    """`event_times`: epoch seconds of the last 24 h, ascending. None: not seen yet."""

    event_times: list[float] = field(default_factory=list)
    last_event: float | None = None
    grade: float | None = None
    grade_since: float | None = None


def read_clock(state: ClockState, time: float, run_position: int, grade: float) -> NDArray[np.float64]:
    """(9,) in the order of `NAMES`. time: epoch seconds; grade: product code, NaN = none or missing.

    Counts and durations are log(1 + x), durations in units of ten minutes and capped at two days.
    """
    if np.isfinite(grade) and grade != state.grade:
        if state.grade is not None:
            state.grade_since = time
        state.grade = grade
    counts = [sum(moment > time - 3600.0 * hours for moment in state.event_times) for hours in COUNTED_HOURS]
    durations = [_log_minutes(time, since) for since in (state.last_event, state.grade_since)]
    return np.array(
        [
            *np.log1p(counts),
            durations[0],
            np.log1p(min(run_position, LONGEST_RUN)),
            np.nan if state.grade is None else state.grade,
            durations[1],
            float(run_position < EARLY_STEPS),
        ]
    )


def note_event(state: ClockState, time: float) -> None:
    """An event at `time` (epoch seconds); one that is told late is sorted in."""
    state.event_times = sorted(t for t in (*state.event_times, time) if t > time - 3600.0 * COUNTED_HOURS[-1])
    state.last_event = time if state.last_event is None else max(state.last_event, time)


def _log_minutes(time: float, since: float | None) -> float:
    minutes = LONGEST_MINUTES if since is None else min(max(time - since, 0.0) / 60.0, LONGEST_MINUTES)
    return float(np.log1p(minutes / 10.0))
