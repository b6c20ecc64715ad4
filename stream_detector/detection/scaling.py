"""From raw windows to what a model reads: smoothing, levels or differences or instance-normalised, then a frozen scale.

Every sum over steps runs in a fixed order (one addition a step), so that a window's values never depend on the other
windows of its batch.
"""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.config import ScalerConfig, TransformConfig
from stream_detector.detection.ordered_sum import sum_in_order

FloatArray = NDArray[np.float64]

NORMAL_IQR = 1.3489795003921634
"""Interquartile range of a standard normal: makes the robust scale of a normal sensor its standard deviation."""

CONSTANT = 1e-12
"""A sensor whose spread is below this share of its size is constant; its differences are rounding noise."""


LEAST_KNOWN_MOVES = 5
"""Fewer say nothing of how far a sensor usually moves."""


class Transformed(Struct, frozen=True):
    """Windows after the transform. In sensor units the newest step is `offset + factor * values[:, -1]`.

    values: (B, T', F), NaN = masked; offset, factor: (B, F).
    """

    values: FloatArray
    offset: FloatArray
    factor: FloatArray


def is_by_cell(config: TransformConfig) -> bool:
    """Whether every cell stays as it is, whatever the others of its window are."""
    return config.kind == "levels" and config.smooth_steps == 1


def transformed_steps(config: TransformConfig, steps: int) -> int:
    """How many steps T' are left of a window of `steps` steps.

    Smoothing over s steps uses up s - 1, differencing one more, and a running scale its own steps, so no step is
    computed from less than it needs.
    """
    return steps - (config.smooth_steps - 1) - (1 + config.scale_steps if config.kind == "differences" else 0)


def transform(config: TransformConfig, windows: FloatArray) -> Transformed:
    """Apply the transform to `windows`: (B, T, F) in sensor units, NaN = masked.

    "centred" takes each window's own mean away; "instance" also divides by its standard deviation, as in Kim et al.
    2022, "Reversible instance normalization" (without its learnt part).
    """
    smooth = moving_average(windows, config.smooth_steps)
    shape = (smooth.shape[0], smooth.shape[2])
    if config.kind == "differences":
        moves = smooth[:, 1:] - smooth[:, :-1]
        if not config.scale_steps:
            return Transformed(moves, smooth[:, -2], np.ones(shape))
        scale = running_scale(moves, config.scale_steps)
        return Transformed(moves[:, config.scale_steps :] / scale, smooth[:, -2], scale[:, -1])
    if config.kind in ("instance", "centred"):
        known = np.isfinite(smooth)
        count = np.maximum(known.sum(axis=1), 1)
        center = sum_over_steps(np.where(known, smooth, 0.0)) / count
        if config.kind == "centred":
            return Transformed(smooth - center[:, None], center, np.ones(shape))
        deviation = np.where(known, smooth - center[:, None], 0.0)
        spread = np.sqrt(sum_over_steps(deviation**2) / count)
        factor = np.where(spread > CONSTANT * np.maximum(np.abs(center), 1.0), spread, 1.0)
        return Transformed((smooth - center[:, None]) / factor[:, None], center, factor)
    return Transformed(smooth, np.zeros(shape), np.ones(shape))


def moving_average(windows: FloatArray, steps: int) -> FloatArray:
    """Causal mean over `steps` steps: (B, T, F) -> (B, T - steps + 1, F). Masked cells count neither way."""
    if steps == 1:
        return windows
    length = windows.shape[1] - steps + 1
    known = np.isfinite(windows)
    filled = np.where(known, windows, 0.0)
    total = np.zeros((windows.shape[0], length, windows.shape[2]))
    count = np.zeros(total.shape)
    for lag in range(steps):
        total += filled[:, lag : lag + length]
        count += known[:, lag : lag + length]
    means: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means


def running_scale(moves: FloatArray, steps: int) -> FloatArray:
    """Mean absolute move of each sensor over the `steps` steps before: (B, T, F) -> (B, T - steps, F).

    NaN where fewer than `LEAST_KNOWN_MOVES` of them are known, or where the sensor did not move at all.
    """
    before = np.abs(moves[:, :-1])
    known = moving_average(np.isfinite(before).astype(np.float64), steps) * steps
    scale = moving_average(before, steps)
    scale[(known < min(LEAST_KNOWN_MOVES, steps) - 0.5) | (scale <= 0)] = np.nan
    return scale


def sum_over_steps(values: NDArray[np.floating[Any]]) -> FloatArray:
    """(B, T, F) -> (B, F) in float64, adding in the order of the steps whatever B and F are."""
    count, steps, sensors = values.shape
    by_step = np.empty((steps, count, sensors))
    np.copyto(by_step, values.swapaxes(0, 1))
    return sum_in_order(by_step)


class Scaler(Struct, frozen=True):
    """Scaled value = (value - center) / scale, clipped to +-clip. center, scale: (F,); learnt once, then frozen.

    Where windows are of several machines, each with a scale of its own, center and scale are (B, F), one row a window;
    a centre that is NaN masks its sensor. usual_error: (F,) of each sensor, where errors are standardised.
    """

    center: FloatArray
    scale: FloatArray
    clip: float | None = None
    usual_error: FloatArray | None = None

    @classmethod
    def learn(cls, config: ScalerConfig, values: FloatArray) -> "Scaler":
        """Learn the scale from `values`: (N, F), NaN = unknown. A constant or unknown sensor keeps the scale 1."""
        sensors = values.shape[1]
        center, scale = np.zeros(sensors), np.ones(sensors)
        for sensor in range(sensors):
            column = values[:, sensor]
            column = column[np.isfinite(column)]
            if config.kind == "none" or not len(column):
                continue
            center[sensor], spread = center_and_spread(config, column)
            if spread > 0:
                scale[sensor] = spread
        return cls(center, scale, config.clip)

    def arrays(self) -> dict[str, FloatArray]:
        """What a bundle keeps, by name."""
        found = {"center": self.center, "scale": self.scale}
        return found if self.usual_error is None else {**found, "usual_error": self.usual_error}

    def of_windows(self, center: FloatArray, scale: FloatArray) -> "Scaler":
        """The same with a scale for each of B windows. center, scale: (B, F)."""
        return Scaler(center, scale, self.clip, self.usual_error)

    def take(self, windows: slice) -> "Scaler":
        """For these windows; the same where all windows have one scale."""
        if self.center.ndim == 1:
            return self
        return Scaler(self.center[windows], self.scale[windows], self.clip, self.usual_error)

    def apply(self, values: FloatArray) -> FloatArray:
        """Scale and clip (..., F), or windows (B, T, F) each by its own row; NaN stays NaN."""
        scaled = self.relative(values)
        return scaled if self.clip is None else np.clip(scaled, -self.clip, self.clip, out=scaled)

    def relative(self, values: FloatArray) -> FloatArray:
        """As `apply`, before any clipping."""
        center, scale = self.center, self.scale
        if center.ndim == 2:
            center, scale = center[:, None], scale[:, None]
        scaled: FloatArray = values - center
        scaled /= scale
        return scaled

    def invert(self, scaled: FloatArray) -> FloatArray:
        """Back to the transform's units: (..., F), or (B, F) each by its own row."""
        return scaled * self.scale + self.center


def center_and_spread(config: ScalerConfig, column: FloatArray) -> tuple[float, float]:
    """Centre and spread of the known values of one sensor: (N,). The spread of a constant sensor is 0."""
    center, spread = _statistics(config, column)
    return center, 0.0 if spread <= CONSTANT * max(1.0, abs(center)) else spread


def _statistics(config: ScalerConfig, column: FloatArray) -> tuple[float, float]:
    if config.kind == "minmax":
        return float(column.min()), float(column.max() - column.min())
    if config.kind == "robust":
        low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
        # Half of the values may be equal (a valve that is mostly shut): then the plain deviation is the better scale.
        return float(middle), float((high - low) / NORMAL_IQR) or float(column.std())
    return float(column.mean()), float(column.std())
