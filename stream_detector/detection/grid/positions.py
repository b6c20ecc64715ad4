"""The position of each asset in event time: its watermark, and its steps that are open, closed and newest."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.slot_arrays import SlotArrays

NO_STEP = -(2**62)
"""Stands for "no such step"; far below any step, with room to subtract."""

NO_STEP_YET = 2**62
"""Stands for a step that no asset reaches."""


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(slots=True)
class Positions(SlotArrays):
    """One row a slot; all but the watermark are steps.

    Attributes:
        watermark: the newest time seen, epoch seconds.
        next_step: the next step to close. horizon: steps before it are past their lateness.
        newest: the newest step with a reading. opened: cells are cleared up to this step.
        run_start, last: the first and the last step of the run of steps (rule 7); `NO_STEP` where there is none.
        stands: whether the machine stands (rule 10). stood: the newest step in which it did, or `NO_STEP`.
        tells_from: steps before it say nothing of whether it stands: that was known before a restart.
        not_running: whether the newest closed step with readings was not judged because of that.
    """

    watermark: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    next_step: NDArray[np.int64] = field(default_factory=_none)
    newest: NDArray[np.int64] = field(default_factory=_none)
    opened: NDArray[np.int64] = field(default_factory=_none)
    horizon: NDArray[np.int64] = field(default_factory=_none)
    run_start: NDArray[np.int64] = field(default_factory=_none)
    last: NDArray[np.int64] = field(default_factory=_none)
    stood: NDArray[np.int64] = field(default_factory=_none)
    tells_from: NDArray[np.int64] = field(default_factory=_none)
    stands: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    not_running: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))

    def begin(self, slot: int, time: float, horizon: int) -> None:
        """An asset begins in the slot with a record at `time` (epoch seconds)."""
        self.watermark[slot] = time
        self.next_step[slot] = self.horizon[slot] = horizon
        self.newest[slot] = self.opened[slot] = horizon - 1
        self.run_start[slot] = self.last[slot] = self.stood[slot] = self.tells_from[slot] = NO_STEP
        self.stands[slot] = self.not_running[slot] = False
