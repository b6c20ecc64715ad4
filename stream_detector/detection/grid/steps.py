"""Event time to steps: which step a time lies in, and which steps are past their lateness."""

import math

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig

TOLERANCE_SECONDS = 1e-6
"""A time this close below a step's start belongs to it: 0.3 / 0.1 is 2.9999999999999996, and float64 holds epoch
seconds to a quarter of a microsecond."""


def step_of(time: float, step_seconds: float) -> int:
    """The step that a time (epoch seconds) lies in, as the grid sees it."""
    return math.floor((time + TOLERANCE_SECONDS) / step_seconds)


class Steps:
    """The clock of a grid. Step k covers [k, k + 1) * step_seconds; sample k (kind "samples") is the one nearest to
    k * step_seconds."""

    def __init__(self, config: GridConfig) -> None:
        self.step_seconds = config.step_seconds
        self._samples = config.kind == "samples"
        lateness = config.lateness_seconds / config.step_seconds
        whole = round(lateness)
        self._lateness_seconds = config.lateness_seconds
        self._whole_lateness = whole if abs(lateness - whole) < 1e-9 else None
        self.lateness_steps = 1 + math.ceil(lateness - 1e-9)
        """L: a reading at step r proves that readings of steps up to r - L have arrived or are late."""

    def step_of(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """The step that each time (epoch seconds) lies in."""
        if self._samples:
            return np.floor(times / self.step_seconds + 0.5).astype(np.int64)
        return np.floor((times + TOLERANCE_SECONDS) / self.step_seconds).astype(np.int64)

    def first_of_even(
        self, first: NDArray[np.float64], step_seconds: NDArray[np.float64], count: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(M,) the steps of samples at `first` (epoch seconds), and (M,) if the `count` from there on, `step_seconds`
        apart, surely lie on the steps that follow: not where float64 is too coarse to tell which sample of the grid is
        near.
        """
        place = first / self.step_seconds + 0.5
        steps = np.floor(place)
        # Near 1970 floats are finer, and those of a block's end coarser than those of its beginning.
        furthest = np.maximum(np.abs(first), np.abs(first + count * self.step_seconds))
        coarse = np.spacing(furthest) / self.step_seconds + np.spacing(furthest / self.step_seconds + 1.0)
        phase, blur = place - steps, 4.0 * coarse
        even = (step_seconds == self.step_seconds) & (phase > blur) & (phase < 1.0 - blur)
        return steps.astype(np.int64), even if self._samples else np.zeros_like(even)

    def horizon_of(self, times: NDArray[np.float64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first step that is not past its lateness while the watermark is at `times`, which lie in `steps`.

        Step r is past it once its end + lateness_seconds <= watermark.
        """
        if self._whole_lateness is not None:
            return steps - self._whole_lateness
        if self._samples:
            return steps - (self.lateness_steps - 1)
        shifted = times - self._lateness_seconds + TOLERANCE_SECONDS
        return np.floor(shifted / self.step_seconds).astype(np.int64)

    def start_of(self, step: int) -> float:
        """Epoch seconds at which the step begins."""
        return step * self.step_seconds
