"""Mahalanobis distance of a few consecutive steps from the training data, averaged over a window.

De Maesschalck et al. 2000, "The Mahalanobis distance"; the covariance is shrunk towards its diagonal as in Ledoit and
Wolf 2004, with a share that is set, not estimated: on short stretches of training rows the small eigenvalues are
noise, and a plain inverse turns every slow drift into an alarm (measured on the water-loop testbed).
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.arrays import require_shapes, shapes_of
from stream_detector.detection.models.networks.graph import Compiled, matrix_product
from stream_detector.detection.models.registry import ModelOutput
from stream_detector.detection.ordered_sum import sum_in_order

RIDGE = 1e-6
"""Added to every variance: a constant sensor stays finite."""


class Mahalanobis:
    """Kind "mahalanobis". The score is the mean distance over the window's steps (each with the `lags - 1` before it).

    A sensor's error is its part of the squared distance, z * (P z) summed over its lags, not below 0.
    """

    class Options(Config):
        shrinkage: Annotated[float, Field(ge=0, le=1)] = 0.3
        """0: the sample covariance; 1: its diagonal, which is the root sum of squared z-scores."""
        lags: Annotated[int, Field(ge=1, le=16)] = 1
        squared: bool = False
        """Average squared distances (dwells on the worst step) instead of distances."""

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        if options.lags > steps:
            raise ValueError(f"lags = {options.lags} is more than the {steps} steps of a window")
        self._options = options
        size = sensors * options.lags
        self._mean: NDArray[np.float64] = np.zeros(size)
        self._precision: NDArray[np.float64] = np.eye(size)
        self._weigh: Compiled | None = None
        """Multiplies by the precision; made anew when that changes."""

    def learn(
        self,
        windows: NDArray[np.float32],
        known: NDArray[np.bool_],  # noqa: ARG002 - a masked cell is 0, the mean of its sensor
        labels: NDArray[np.bool_],
        seed: int,  # noqa: ARG002 - nothing is drawn
    ) -> None:
        """Mean and covariance of the newest `lags` steps of each normal window (B, T, F)."""
        rows = self._rows(windows[~labels])[:, -1].astype(np.float64)
        self._mean = np.asarray(rows.mean(axis=0), dtype=np.float64)
        centred = rows - self._mean
        covariance = centred.T @ centred / max(len(rows) - 1, 1)
        diagonal = np.diag(np.diag(covariance))
        share = self._options.shrinkage
        shrunk = (1 - share) * covariance + share * diagonal + RIDGE * np.eye(len(covariance))
        self._weigh = None
        self._precision = np.asarray(np.linalg.inv(shrunk), dtype=np.float64)

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        rows = self._rows(windows)
        count, steps, size = rows.shape
        if self._weigh is None:
            self._weigh = matrix_product(self._precision)
        centred = rows - self._mean
        parts = centred * self._weigh(centred.reshape(-1, size)).reshape(rows.shape)
        errors = sum_in_order(parts.reshape(count, -1, windows.shape[2]).swapaxes(0, 1))
        squared = np.maximum(sum_in_order(np.moveaxis(parts, 2, 0)), 0.0)
        score = sum_in_order((squared if self._options.squared else np.sqrt(squared)).T)
        return ModelOutput(errors=np.maximum(errors, 0.0) / steps, score=score / steps)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"mean": self._mean.copy(), "precision": self._precision.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        require_shapes(arrays, shapes_of(self.arrays()))
        self._mean = np.array(arrays["mean"], dtype=np.float64)
        self._precision = np.array(arrays["precision"], dtype=np.float64)
        self._weigh = None

    def _rows(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, T, F) -> (B, T - lags + 1, lags * F): each step beside the `lags - 1` steps before it."""
        lags = self._options.lags
        length = windows.shape[1] - lags + 1
        return np.concatenate([windows[:, lag : lag + length] for lag in range(lags)], axis=2)
