"""Windows to scores: what a scorer promises. Higher = more anomalous."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

CHUNK = 256
"""Windows scored at once: a larger batch is not faster on a CPU, and the memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of B windows over F sensors.

    `score`: (B,) float64. `errors`: (B, F) float64, 0 where the sensor is masked. `expected`: (B, F) float64, what the model
    expects of the newest step in sensor units, NaN where it expects nothing.
    """

    score: NDArray[np.float64]
    errors: NDArray[np.float64]
    expected: NDArray[np.float64]


class WindowScorer(Protocol):
    """Anything that scores windows: (B, T, F) float64, NaN = masked. The result for a window depends on that window alone."""

    def score(self, windows: NDArray[np.float64]) -> Scored: ...
