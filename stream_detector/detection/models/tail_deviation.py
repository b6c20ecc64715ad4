"""The newest step's size against the largest sizes of normal operation, sensor by sensor.

Meant for deviations from a running mean: plants have quiet sensors and jumpy ones, and a scale from the far tail of
normal deviations puts them on one footing where standard deviations do not (measured on drinking water, where the
same rule in standard deviations loses a third of the F1).
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.registry import ModelOutput

TINY = 1e-6
"""In scaled units; a sensor that never deviated in training counts from here."""


class TailDeviation:
    """Kind "tail-deviation": errors are |newest value| / training quantile of it, the score the largest of them."""

    class Options(Config):
        quantile: Annotated[float, Field(gt=0.5, lt=1)] = 0.999

    def __init__(self, options: Options, steps: int, sensors: int) -> None:  # noqa: ARG002 - only the newest step counts
        self._quantile = options.quantile
        self._tail = np.ones(sensors)

    def learn(
        self,
        windows: NDArray[np.float32],
        known: NDArray[np.bool_],
        labels: NDArray[np.bool_],
        seed: int,  # noqa: ARG002 - nothing is drawn
    ) -> None:
        """The tail of each sensor over the normal windows (B, T, F)."""
        newest, seen = np.abs(windows[~labels, -1].astype(np.float64)), known[~labels, -1]
        for sensor in range(newest.shape[1]):
            values = newest[seen[:, sensor], sensor]
            self._tail[sensor] = max(float(np.quantile(values, self._quantile)), TINY) if len(values) else 1.0

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        errors = np.where(known[:, -1], np.abs(windows[:, -1].astype(np.float64)) / self._tail, 0.0)
        return ModelOutput(errors=errors, score=errors.max(axis=1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"tail": self._tail.copy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        if set(arrays) != {"tail"} or arrays["tail"].shape != self._tail.shape:
            found = {name: array.shape for name, array in arrays.items()}
            raise ValueError(f"the arrays do not fit the model: found {found}, wanted tail {self._tail.shape}")
        self._tail = np.array(arrays["tail"], dtype=np.float64)
