"""How far the sensors have moved off the oldest part of their own window, each against its own noise.

For assets that differ in their levels, such as the wells of a field: nothing of a level is learnt, so a detector that
was fitted on some wells serves the others. What is learnt is how far each sensor moves in normal operation. Shift
against noise is the usual control chart for a shift of the mean (Shewhart 1931) with a robust, trailing reference:
medians, so that a few wild readings move neither side, and noise from differences over a few steps, which a slow drift
does not widen as it would a standard deviation.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.arrays import require_shapes, shapes_of
from stream_detector.detection.models.known_median import known_median
from stream_detector.detection.models.registry import ModelOutput
from stream_detector.detection.ordered_sum import sum_in_order

FloatArray = NDArray[np.float64]

LEAST_REFERENCE = 5
"""Steps of the reference, however short the window still is."""

NORMAL_MEDIAN = 0.6744897501960817
"""Median size of a standard normal variable: makes the noise of a normal sensor its standard deviation."""

CHUNK = 1024
"""Windows that are learnt from at once: bounds the memory that sorting takes."""


class OwnPast:
    """Kind "own-past". A sensor's error is the square root of its shift, in units of its far shifts in normal
    operation, cut off at `largest`; the score is the sum of the errors.

    The shift is |median of the newest steps - median of the oldest part of the window| / noise. Square root and cut-off
    make the score speak of many sensors that move together, and keep one that jumps by itself (a valve, an error code)
    from raising an alarm alone. A sensor that never moved in training has no unit, and no error.
    """

    class Options(Config):
        newest_steps: Annotated[int, Field(ge=1)] = 3
        oldest_share: Annotated[float, Field(gt=0, lt=1)] = 1 / 3
        """Part of the window's steps since its run began that is the reference."""
        noise_lag: Annotated[int, Field(ge=1)] = 3
        """Noise is the usual size of a difference over so many steps."""
        noise_floor: Annotated[float, Field(ge=0)] = 0.2
        """Noise counts as at least this share of its median in normal operation: a sensor may rest on one value."""
        quantile: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
        largest: Annotated[float, Field(gt=0)] = 9.0
        """No shift counts for more than so many far ones."""

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        least = max(options.noise_lag, options.newest_steps) + 1
        if steps < least:
            raise ValueError(
                f"noise_lag = {options.noise_lag} and newest_steps = {options.newest_steps} need windows of at least "
                f"{least} steps, found {steps}"
            )
        self._options = options
        self._floor: FloatArray = np.zeros(sensors)
        self._weight: FloatArray = np.ones(sensors)
        """1 / the far shift of each sensor; 0: it never moved."""

    def learn(
        self,
        windows: NDArray[np.float32],
        known: NDArray[np.bool_],
        labels: NDArray[np.bool_],
        seed: int,  # noqa: ARG002 - nothing is drawn
    ) -> None:
        """Noise and far shifts of each sensor over the normal windows (B, T, F)."""
        normal = np.flatnonzero(~labels)
        parts = [
            self._compare(windows[rows], known[rows]) for rows in np.split(normal, range(CHUNK, len(normal), CHUNK))
        ]
        reference, newest, noise = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        for sensor in range(noise.shape[1]):
            moving = noise[:, sensor][noise[:, sensor] > 0]
            self._floor[sensor] = self._options.noise_floor * float(np.median(moving)) if len(moving) else 0.0
        shift = _shift(reference, newest, noise, self._floor)
        for sensor in range(noise.shape[1]):
            moved = shift[:, sensor][shift[:, sensor] > 0]
            far = float(np.quantile(moved, self._options.quantile)) if len(moved) else 0.0
            self._weight[sensor] = 1 / far if far > 0 else 0.0

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        reference, newest, noise = self._compare(windows, known)
        far_shifts = _shift(reference, newest, noise, self._floor) * self._weight
        errors = np.sqrt(np.minimum(far_shifts, self._options.largest))
        return ModelOutput(reconstruction=reference[:, None], errors=errors, score=sum_in_order(errors.T))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"floor": self._floor.copy(), "weight": self._weight.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        require_shapes(arrays, shapes_of(self.arrays()))
        self._floor = np.array(arrays["floor"], dtype=np.float64)
        self._weight = np.array(arrays["weight"], dtype=np.float64)

    def _compare(
        self, windows: NDArray[np.float32], known: NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Reference, newest value and noise of each sensor: (B, F) each, NaN where nothing is known."""
        options = self._options
        values = np.where(known, windows.astype(np.float64), np.nan)
        steps = values.shape[1]
        seen: NDArray[np.bool_] = np.asarray(known.any(axis=2))
        begin = np.where(seen.any(axis=1), seen.argmax(axis=1), steps)
        length = np.maximum(((steps - begin) * options.oldest_share).astype(np.int64), LEAST_REFERENCE)
        old = np.arange(steps) < (begin + length)[:, None]
        reference = known_median(np.where(old[:, :, None], values, np.nan))
        newest = known_median(values[:, -options.newest_steps :])
        moves = np.abs(values[:, options.noise_lag :] - values[:, : -options.noise_lag])
        noise = known_median(moves) / (NORMAL_MEDIAN * np.sqrt(2))
        return reference, newest, noise


def _shift(reference: FloatArray, newest: FloatArray, noise: FloatArray, floor: FloatArray) -> FloatArray:
    """(B, F) shifts in units of noise; 0 where one of the three is unknown, or there is no noise to hold it against."""
    unit = np.maximum(noise, floor)
    shift = np.divide(np.abs(newest - reference), unit, out=np.zeros(unit.shape), where=unit > 0)
    return np.where(np.isfinite(shift), shift, 0.0)
