"""Logistic regression on the scaled values and their sizes: the plainest scorer that learns from labels.

For rare labels and many sensors: heavily shrunk, both classes weighted alike (King and Zeng 2001, "Logistic
regression in rare events data"), and |z| beside z because a lot fails when a sensor is off to either side.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.arrays import require_shapes, shapes_of
from stream_detector.detection.models.registry import ModelOutput
from stream_detector.detection.ordered_sum import sum_in_order


class LogisticClassifier:
    """Kind "logistic-classifier"; the score is P(anomalous) if both classes were equally frequent."""

    supervised = True

    class Options(Config):
        c: Annotated[float, Field(gt=0)] = 1e-3
        """Inverse of the L2 penalty, as in scikit-learn; small = strongly shrunk."""
        sizes: bool = True
        """True if |z| joins z as an input."""

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        self._options = options
        self._sensors = sensors
        size = steps * sensors * (2 if options.sizes else 1)
        self._center = np.zeros(size)
        self._weights = np.zeros(size)
        self._bias = np.zeros(1)

    def learn(
        self,
        windows: NDArray[np.float32],
        known: NDArray[np.bool_],  # noqa: ARG002 - a masked cell is 0, the mean of its sensor
        labels: NDArray[np.bool_],
        seed: int,  # noqa: ARG002 - the optimum is unique
    ) -> None:
        """Fit on labelled windows (B, T, F); ValueError where only one class is there."""
        if labels.all() or not labels.any():
            raise ValueError("a classifier needs normal and anomalous rows, and only one kind is there")

        from sklearn.linear_model import LogisticRegression

        inputs = self._inputs(windows)
        self._center = inputs.mean(axis=0)
        fitted = LogisticRegression(C=self._options.c, class_weight="balanced", max_iter=2000)
        fitted.fit(inputs - self._center, labels)
        self._weights = np.array(fitted.coef_[0], dtype=np.float64)
        self._bias = np.array(fitted.intercept_, dtype=np.float64)

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        """A sensor's error is the part of the log odds that speaks for an anomaly, not below 0."""
        parts = (self._inputs(windows) - self._center) * self._weights
        logit = sum_in_order(np.concatenate([np.full((1, len(windows)), self._bias[0]), parts.T]))
        errors = sum_in_order(parts.reshape(len(windows), -1, self._sensors).swapaxes(0, 1))
        return ModelOutput(errors=np.maximum(errors, 0.0), score=1.0 / (1.0 + np.exp(-np.clip(logit, -700, 700))))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"center": self._center.copy(), "weights": self._weights.copy(), "bias": self._bias.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        require_shapes(arrays, shapes_of(self.arrays()))
        self._center = np.array(arrays["center"], dtype=np.float64)
        self._weights = np.array(arrays["weights"], dtype=np.float64)
        self._bias = np.array(arrays["bias"], dtype=np.float64)

    def _inputs(self, windows: NDArray[np.float32]) -> NDArray[np.float64]:
        """(B, T, F) -> (B, N) with N = T * F, twice that with sizes."""
        rows = windows.reshape(len(windows), -1).astype(np.float64)
        return np.concatenate([rows, np.abs(rows)], axis=1) if self._options.sizes else rows
