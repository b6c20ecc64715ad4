"""Windows to scores: transform, scale, model, error per sensor, one number. Higher is always more anomalous."""

import math
from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.config import ScoreConfig, TransformConfig
from stream_detector.detection.models.fixed_batches import run_in_batches, try_sizes
from stream_detector.detection.models.registry import Model
from stream_detector.detection.ordered_sum import sum_in_order
from stream_detector.detection.scaling import FloatArray, Scaler, is_by_cell, sum_over_steps, transform
from stream_detector.detection.window_rows import WindowRows

CHUNK_CELLS = 2**18
LEAST_CHUNK, MOST_CHUNK = 256, 1024
"""Cells and windows a chunk, powers of two: large ones share the cost of a network's calls, until its arrays outgrow
the caches; and the network keeps memory for them."""

UNMOVED = np.zeros(1), np.ones(1)
"""Offset and factor where the transform leaves every cell as it is."""

SCALED_LIMIT = 1e6
"""Scaled values are bounded by this even without a clip: a reading of 1e300 must give a large score, not infinity."""


class ScoredWindows(Struct, frozen=True):
    """What a scorer says of B windows. score: (B,); attribution: (B, F) error per sensor, 0 where it is masked;
    expected: (B, F), what the model expected of the newest step in sensor units, NaN where it has no expectation."""

    score: FloatArray
    attribution: FloatArray
    expected: FloatArray


class Inputs(Struct, frozen=True):
    """What a model reads of B windows, and the way back. scaled: (B, T', F), 0 where masked; known: (B, T', F); offset,
    factor: (B, F) as in `Transformed`, or `UNMOVED`."""

    scaled: NDArray[np.float32]
    known: NDArray[np.bool_]
    offset: FloatArray
    factor: FloatArray


class Scorer:
    """Scores windows; the result of a window is bitwise the same in every batch and order.

    A masked cell (NaN) is 0 after scaling and counts no error; a sensor whose cells are all masked has the error 0 and
    does not count in the mean over sensors.
    """

    def __init__(self, transform_config: TransformConfig, scaler: Scaler, model: Model, score: ScoreConfig) -> None:
        self._transform = transform_config
        self._scaler = scaler
        self._model = model
        self._score = score

    def prepare(self) -> None:
        """Do what the first scores would wait for; another thread may score meanwhile."""
        try_sizes(self._model)

    def score(self, windows: FloatArray | WindowRows, scaler: Scaler | None = None) -> ScoredWindows:
        """windows: (B, T, F) float64 in sensor units, NaN = masked. scaler: one row a window, in place of its own."""
        rows = windows if isinstance(windows, WindowRows) else WindowRows.apart(windows)
        parts = [self._judge(*chunk) for chunk in self._in_chunks(rows, scaler)]
        if not parts:
            sensors = rows.rows.shape[1]
            return ScoredWindows(np.empty(0), np.empty((0, sensors)), np.empty((0, sensors)))
        if len(parts) == 1:
            return parts[0]
        return ScoredWindows(
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.attribution for part in parts]),
            np.concatenate([part.expected for part in parts]),
        )

    def _in_chunks(self, windows: WindowRows, scaler: Scaler | None) -> Iterator[tuple[Inputs, Scaler]]:
        """What the model reads of the windows, a chunk at a time, with what scaled it."""
        size = _chunk_windows(windows.steps * windows.rows.shape[1])
        chunks = [slice(start, start + size) for start in range(0, len(windows), size)]
        if scaler is None and windows.share and is_by_cell(self._transform):
            rows, known_rows = model_inputs(self._scaler, windows.rows)
            all_known = bool(known_rows.all())
            for chosen in chunks:
                values = windows.of(rows, chosen)
                known = np.ones(values.shape, np.bool_) if all_known else windows.of(known_rows, chosen)
                yield Inputs(values, known, *UNMOVED), self._scaler
            return
        by, dense = self._scaler if scaler is None else scaler, windows.values
        for chosen in chunks:
            moved, of_these = transform(self._transform, dense[chosen]), by.take(chosen)
            yield Inputs(*model_inputs(of_these, moved.values), moved.offset, moved.factor), of_these

    def inputs(
        self, windows: FloatArray, scaler: Scaler | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Inputs of the model: scaled values (B, T', F), 0 where masked, and the mask of known cells (B, T', F)."""
        return model_inputs(self._scaler if scaler is None else scaler, transform(self._transform, windows).values)

    def reconstruct(
        self, windows: FloatArray, scaler: Scaler | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Scaled input (B, T', F) and the model's reconstruction of its newest steps (B, R, F); for reports."""
        scaled, known = self.inputs(windows, scaler)
        return scaled, run_in_batches(self._model, scaled, known).reconstruction

    def _judge(self, inputs: Inputs, scaler: Scaler) -> ScoredWindows:
        scaled, known = inputs.scaled, inputs.known
        output = run_in_batches(self._model, scaled, known)
        if output.errors is None and output.reconstruction is not None:
            errors, counted = self._errors(scaled, known, output.reconstruction)
        else:
            known_sensors: NDArray[np.bool_] = np.asarray(known.any(axis=1))
            counted = known_sensors.sum(axis=1)
            found = np.zeros(known_sensors.shape) if output.errors is None else output.errors
            errors = np.where(known_sensors, found, 0.0).astype(np.float64)
        if scaler.usual_error is not None:
            errors = errors / scaler.usual_error
        if output.reconstruction is None:
            expected = np.full(errors.shape, np.nan)
        else:
            newest = scaler.invert(output.reconstruction[:, -1].astype(np.float64))
            expected = inputs.offset + inputs.factor * newest
            # The spread of a window with a reading of 1e300 overflows; what follows from it is no expectation.
            expected[~np.isfinite(expected)] = np.nan
        score = self._aggregate(errors, counted) if output.score is None else output.score.astype(np.float64)
        return ScoredWindows(score, errors, expected)

    def _errors(
        self, scaled: NDArray[np.float32], known: NDArray[np.bool_], reconstruction: NDArray[np.float32]
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """Error per sensor (B, F) over the reconstructed steps, and how many sensors had a known cell there (B,)."""
        newest = 1 if self._score.steps == "newest" else reconstruction.shape[1]
        known = known[:, -newest:]
        cells = scaled[:, -newest:] - reconstruction[:, -newest:]
        if self._score.error == "absolute":
            np.abs(cells, out=cells)
        else:
            np.square(cells, out=cells)
        if known.all():
            # The usual case; counting cells that are all known would cost as much as adding them.
            return sum_over_steps(cells) / known.shape[1], np.full(len(known), known.shape[2])
        cells[~known] = 0.0
        count = known.sum(axis=1)
        means: FloatArray = sum_over_steps(cells) / np.maximum(count, 1)
        return means, (count > 0).sum(axis=1)

    def _aggregate(self, errors: FloatArray, counted: NDArray[np.int64]) -> FloatArray:
        """(B, F) -> (B,). counted: (B,) how many sensors of each window have an error."""
        if self._score.sensors == "max":
            largest: FloatArray = errors.max(axis=1)
            return largest
        mean: FloatArray = sum_in_order(errors.T) / np.maximum(counted, 1)
        return mean


def _chunk_windows(cells: int) -> int:
    """How many windows of so many cells are scored at once: the largest power of two that `CHUNK_CELLS` has room for,
    from `LEAST_CHUNK` to `MOST_CHUNK`."""
    room = min(max(CHUNK_CELLS // cells, LEAST_CHUNK), MOST_CHUNK)
    return 1 << (room.bit_length() - 1)


def model_inputs(scaler: Scaler, values: FloatArray) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scale transformed windows (B, T', F), or rows (R, F): float32 with 0 where masked, and which cells are known.

    The smallest and largest value tell the usual case, in which all cells are known and none is out of bounds: each
    pass over these arrays costs, for they are larger than a cache. Rounding keeps order, so it may come before the
    bounds.
    """
    scaled = scaler.relative(values)
    with np.errstate(over="ignore"):
        inputs = scaled.astype(np.float32)
    smallest, largest = (float(of.reduce(inputs, axis=None, initial=0.0)) for of in (np.minimum, np.maximum))
    bound = SCALED_LIMIT if scaler.clip is None else min(scaler.clip, SCALED_LIMIT)
    if not (-bound <= smallest and largest <= bound):
        np.clip(inputs, -bound, bound, out=inputs)
    if math.isfinite(smallest) and math.isfinite(largest):
        return inputs, np.ones(values.shape, np.bool_)
    known = np.isfinite(values)
    if scaler.center.ndim == 2:
        known &= ~np.isnan(scaler.center)[:, None]
    inputs[~known] = 0.0
    return inputs, known
