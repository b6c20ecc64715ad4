"""Whether a curve of memory stays flat: the slope of a straight line, with an interval that does not flatter it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
FLAT_PER_TEN_MINUTES = 0.01
"""Memory that grows by less than this share of itself in ten minutes counts as flat."""

FEWEST_SAMPLES = 10


@dataclass(frozen=True)
class Trend:
    """Megabytes an hour with the ends of the interval; `level_mb`: mean of the curve."""

    mb_per_hour: float
    low: float
    high: float
    level_mb: float

    @property
    def limit(self) -> float:
        """Megabytes an hour that still count as flat."""
        return FLAT_PER_TEN_MINUTES * self.level_mb * 6

    @property
    def flat(self) -> bool:
        """Even the upper end of the interval is below the limit."""
        return self.high < self.limit


def trend(seconds: Sequence[float], megabytes: Sequence[float]) -> Trend:
    """Least squares through the second half of the curve: the first half is warming up.

    Neighbouring samples are alike, so the interval counts them as fewer: n (1 - r) / (1 + r) with the residuals'
    correlation r at lag one (Bartlett 1935).

    Raises:
        ValueError: fewer than `FEWEST_SAMPLES` samples in the second half.
    """
    times = np.asarray(seconds, np.float64)
    curve = np.asarray(megabytes, np.float64)
    half = times >= (times[0] + times[-1]) / 2 if len(times) else np.zeros(0, np.bool_)
    times, curve = times[half], curve[half]
    if len(times) < FEWEST_SAMPLES:
        raise ValueError(f"{len(times)} samples in the second half of the curve, at least {FEWEST_SAMPLES} are wanted")
    hours = (times - times.mean()) / 3600
    slope = float(hours @ (curve - curve.mean()) / (hours @ hours))
    residuals = curve - curve.mean() - slope * hours
    spread = float(residuals @ residuals)
    alike = 0.0 if spread == 0 else max(0.0, float(residuals[1:] @ residuals[:-1]) / spread)
    effective = max(3.0, len(times) * (1 - alike) / (1 + alike))
    error = np.sqrt(spread / (effective - 2) / (hours @ hours))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, effective - 2) * error)
    return Trend(slope, slope - reach, slope + reach, float(curve.mean()))


def sparkline(values: Sequence[float]) -> str:
    """One character a value, from the smallest to the largest."""
    marks = "▁▂▃▄▅▆▇█"
    lowest, highest = min(values), max(values)
    if highest == lowest:
        return marks[0] * len(values)
    return "".join(marks[round((value - lowest) / (highest - lowest) * (len(marks) - 1))] for value in values)
