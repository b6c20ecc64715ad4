"""The scale of each machine, from its values alone; what these do not tell is what is usual in the fleet."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.config import ScalerConfig
from stream_detector.detection.scaling import Scaler, center_and_spread

Floats = NDArray[np.float64]

LEAST_KNOWN = 0.5
"""Share of the rows in which a sensor must be known to have a scale of its own."""


class FleetScales(Struct, frozen=True):
    """center, scale: (A, F), one row a machine; a centre is NaN where the sensor was never known.

    usual: (F,) scale of a sensor in this fleet, the median of those machines that have one of their own.
    """

    center: Floats
    scale: Floats
    usual: Floats

    def common(self, clip: float | None) -> Scaler:
        """What a machine of this fleet usually looks like; (F,)."""
        center = np.array([_median(column, otherwise=0.0) for column in self.center.T])
        return Scaler(center, self.usual, clip)


def learn_fleet(config: ScalerConfig, values: Sequence[Floats]) -> FleetScales:
    """Learn the scale of every machine by the statistic that `Scaler.learn` has for one. values: (N, F) of each."""
    found = [own_scale(config, each, np.full(each.shape[1], np.nan)) for each in values]
    center, scale = np.stack([center for center, _ in found]), np.stack([scale for _, scale in found])
    usual = np.array([_median(column, otherwise=1.0) for column in scale.T])
    return FleetScales(center, np.where(np.isnan(scale), usual, scale), usual)


def own_scale(config: ScalerConfig, values: Floats, usual: Floats) -> tuple[Floats, Floats]:
    """Centre and scale (F,) of one machine; values: (N, F), NaN = unknown; usual: (F,).

    A sensor that is constant, or known in less than half of the rows, has the scale that is usual. One that was never
    known has the centre NaN, which masks it: of a level that nobody has seen nothing can be said.
    """
    center, scale = np.full(values.shape[1], np.nan), usual.copy()
    for sensor in range(values.shape[1]):
        column = values[:, sensor]
        column = column[np.isfinite(column)]
        if not len(column):
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            middle, spread = center_and_spread(config, column)
        # Readings of 1e300 have no sum: of these nothing can be said either.
        center[sensor] = middle if np.isfinite(middle) else np.nan
        if 0 < spread < np.inf and len(column) >= LEAST_KNOWN * len(values):
            scale[sensor] = spread
    return center, scale


def _median(column: Floats, otherwise: float) -> float:
    known = column[~np.isnan(column)]
    return float(np.median(known)) if len(known) else otherwise
