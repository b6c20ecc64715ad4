"""Principal components with the two classical statistics: T2 inside the model's plane, Q outside it.

Jackson and Mudholkar 1979, "Control procedures for residuals associated with principal component analysis". Each
statistic is divided by its own training quantile, and the larger of the two is the score: 1 means "at the limit".
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.arrays import require_shapes
from stream_detector.detection.models.networks.graph import Compiled, matrix_product
from stream_detector.detection.models.registry import ModelOutput
from stream_detector.detection.ordered_sum import sum_in_order

TINY = 1e-9


class PrincipalComponents:
    """Kind "principal-components": reads the window as one vector of T * F values."""

    class Options(Config):
        variance: Annotated[float, Field(gt=0, le=1)] = 0.9
        """Keep as few components as explain this share of the training variance."""
        quantile: Annotated[float, Field(gt=0, lt=1)] = 0.99
        """Quantile of the training windows at which each statistic's limit lies."""

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        size = steps * sensors
        self._options = options
        self._mean = np.zeros(size)
        self._components = np.zeros((1, size))
        self._variances = np.ones(1)
        self._limits = np.ones(2)
        self._products: tuple[Compiled, Compiled] | None = None
        """Onto the plane and back; made anew when the components change."""

    def learn(
        self,
        windows: NDArray[np.float32],
        known: NDArray[np.bool_],  # noqa: ARG002 - a masked cell is 0, the mean of its sensor
        labels: NDArray[np.bool_],
        seed: int,  # noqa: ARG002 - nothing is drawn
    ) -> None:
        """Components of the normal windows (B, T, F)."""
        rows = windows[~labels].reshape(int((~labels).sum()), -1).astype(np.float64)
        self._mean = rows.mean(axis=0)
        _, spread, directions = np.linalg.svd(rows - self._mean, full_matrices=False)
        variances = spread**2 / max(len(rows) - 1, 1)
        explained = np.cumsum(variances) / max(float(variances.sum()), TINY)
        kept = min(int(np.searchsorted(explained, self._options.variance)) + 1, len(variances))
        self._products = None
        self._components, self._variances = directions[:kept], np.maximum(variances[:kept], TINY)
        inside, outside, _ = self._statistics(windows[~labels])
        self._limits = np.maximum(
            np.quantile(np.stack([inside, outside]), self._options.quantile, axis=1),
            TINY,
        )

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        inside, outside, residual = self._statistics(windows)
        score = np.maximum(inside / self._limits[0], outside / self._limits[1])
        errors = (residual.reshape(windows.shape) ** 2).mean(axis=1)
        return ModelOutput(errors=errors, score=score)

    def _statistics(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """T2 (B,), Q (B,) and what the plane leaves over (B, T * F)."""
        rows = windows.reshape(len(windows), -1) - self._mean
        if self._products is None:
            self._products = matrix_product(self._components.T), matrix_product(self._components)
        onto, back = self._products
        scores = onto(rows)
        residual = rows - back(scores)
        inside = sum_in_order((scores**2 / self._variances).T)
        return inside, sum_in_order((residual**2).T), residual

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "mean": self._mean.copy(),
            "components": np.ascontiguousarray(self._components),
            "variances": self._variances.copy(),
            "limits": self._limits.copy(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        size = len(self._mean)
        components = np.array(arrays.get("components", np.zeros((0, 0))), dtype=np.float64)
        kept = max(len(components), 1)
        require_shapes(arrays, {"mean": (size,), "components": (kept, size), "variances": (kept,), "limits": (2,)})
        self._mean = np.array(arrays["mean"], dtype=np.float64)
        self._components, self._products = components, None
        self._variances = np.array(arrays["variances"], dtype=np.float64)
        self._limits = np.array(arrays["limits"], dtype=np.float64)
