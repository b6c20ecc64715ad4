"""How much more a sensor rose than the others of its kind: like parts of one machine, watched side by side.

What moves all parts (load, speed, temperature) moves the neighbours too and cancels out; a part that wears rises by
itself. Peer-group comparison as in Byttner et al. 2011, "Consensus self-organized models for fault detection (COSMO)",
with medians. What is shared may multiply every level (load) or add to it (parts of one machine shake one frame, and a
failing one is a large share of a quiet one's own level): only a rise that neither explains is an error. Measured on
bearings run to failure, where one form alone takes a change of load or a neighbour's failure for wear.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.arrays import require_shapes, shapes_of
from stream_detector.detection.models.known_median import known_median
from stream_detector.detection.models.registry import ModelOutput

TINY = 1e-9

MOST_CELLS = 2**16
"""Sorted at once."""

Floats = NDArray[np.float64]


class Neighbours:
    """Kind "neighbours": the sensors measure the same thing in one unit; wants `scaler.kind = "none"`.

    A sensor's level is the median of its window. Its excess is what it rose from its usual level beyond the median of
    the other sensors: by their added rise or by their factor, whichever explains more. Its error is the excess less
    what reaches it from the loudest of the others, in usual mean levels of the machine: 0.05 = a twentieth of that. The
    score is the largest error.
    """

    class Options(Config):
        crosstalk: Annotated[float, Field(ge=0, lt=1)] = 0.1
        """Part of the largest excess among the others that shows in a sound sensor."""
        running: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """At a step where the sensors' median share of their usual level is below this the machine stands still: the
        step is left out. 0: for sensors without a zero, every step counts."""
        newest: Annotated[int | None, Field(ge=1)] = None
        """The level of a sensor is that of so many of its newest known steps, however far apart; none: of all."""
        least_known: Annotated[float, Field(gt=0, le=1)] = 0.5
        """A sensor with fewer known steps than this share of them has the error 0."""

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        if sensors < 2:
            raise ValueError("neighbours are held against each other, and there is one sensor; name two at least")
        self._options = options
        self._newest = min(options.newest or steps, steps)
        self._least = max(1.0, options.least_known * self._newest)
        self._level = np.ones(sensors)
        self._seen: NDArray[np.bool_] = np.ones(sensors, np.bool_)

    def learn(
        self,
        windows: NDArray[np.float32],
        known: NDArray[np.bool_],
        labels: NDArray[np.bool_],
        seed: int,  # noqa: ARG002 - nothing is drawn
    ) -> None:
        """The usual level of each sensor: the median of the newest steps of the normal windows (B, T, F)."""
        newest = np.where(known[~labels, -1], windows[~labels, -1].astype(np.float64), np.nan)
        # A sensor that the training part never shows has no usual level, and stays silent.
        self._level = np.nan_to_num(known_median(newest[None])[0], nan=0.0)
        self._seen = np.asarray(np.isfinite(newest).any(axis=0), np.bool_)

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        values = np.where(known & self._seen, windows.astype(np.float64), np.nan)
        if self._options.running > 0:
            share = values / np.where(self._level > TINY, self._level, np.nan)
            values[~(known_median(share.swapaxes(1, 2)) >= self._options.running)] = np.nan
        # Counted from the newest step back.
        place = np.cumsum(np.isfinite(values)[:, ::-1], axis=1)[:, ::-1]
        values[place > self._newest] = np.nan
        level = known_median(values)
        level[np.isfinite(values).sum(axis=1) < self._least] = np.nan
        usual = self._level
        added = usual + _median_of_others(level - usual)
        # Only a size has a factor.
        size = np.where(usual > TINY, usual, np.nan)
        multiplied = size * _median_of_others(level / size)
        shared = np.fmax(added, multiplied)
        excess = level - shared
        heard = self._options.crosstalk * np.maximum(_largest_of_others(excess), 0.0)
        errors = np.maximum(np.nan_to_num(excess - heard, nan=0.0), 0.0) / max(float(np.abs(usual).mean()), TINY)
        expected = np.where(np.isfinite(shared), shared, usual)[:, None]
        return ModelOutput(reconstruction=expected, errors=errors, score=errors.max(axis=1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"level": self._level.copy(), "seen": self._seen.astype(np.float64)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        require_shapes(arrays, shapes_of(self.arrays()))
        self._level = np.array(arrays["level"], dtype=np.float64)
        self._seen = np.array(arrays["seen"], dtype=np.float64) > 0


def _median_of_others(values: Floats) -> Floats:
    """For each sensor the median of the known values of all others: (B, F) -> (B, F)."""
    return np.concatenate([known_median(others) for others in _others(values)], axis=1)


def _largest_of_others(values: Floats) -> Floats:
    """For each sensor the largest known value of all others, 0 where none is: (B, F) -> (B, F)."""
    filled = np.nan_to_num(values, nan=0.0)
    return np.concatenate([others.max(axis=1, initial=0.0) for others in _others(filled)], axis=1)


def _others(values: Floats) -> Iterator[Floats]:
    """(B, F) -> (B, F - 1, S) for S sensors after S sensors: below each the values of all others."""
    sensors = values.shape[1]
    at_once = max(1, MOST_CELLS // values.size)
    for start in range(0, sensors, at_once):
        each, other = np.arange(start, min(start + at_once, sensors)), np.arange(sensors - 1)[:, None]
        yield values[:, other + (other >= each)]
