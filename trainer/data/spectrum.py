"""The sensors' spectra: which cycles a plant has, and so how long a window must be to hold one.

Welch 1967, "The use of fast Fourier transform for the estimation of power spectra".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig
from trainer.data.dataset import Dataset
from trainer.data.examples import row_steps

MOST_STEPS = 1 << 18
"""Steps at the end of a longer file that are looked at."""

SEGMENTS = 8
FEWEST_STEPS = 64


@dataclass(frozen=True)
class Spectra:
    """period_seconds: (K,) descending; density: (K, F), each sensor's sums to 1; NaN for a sensor that never moves."""

    sensors: tuple[str, ...]
    period_seconds: NDArray[np.float64]
    density: NDArray[np.float64]

    def strongest(self) -> list[tuple[str, float]]:
        """The period (seconds) with the largest share of each moving sensor's variance."""
        moving = np.isfinite(self.density.sum(axis=0))
        best = np.argmax(np.nan_to_num(self.density), axis=0)
        return [
            (name, float(self.period_seconds[best[column]]))
            for column, name in enumerate(self.sensors)
            if moving[column]
        ]


def spectra(dataset: Dataset, grid: GridConfig) -> Spectra | None:
    """Spectra of the longest recording on the recipe's grid, straight lines across gaps; None for samples without a
    time and for files too short to hold a cycle."""
    if grid.kind == "table" or len(dataset) < FEWEST_STEPS:
        return None
    if dataset.parts is not None:
        names, lengths = np.unique(dataset.parts, return_counts=True)
        dataset = dataset.take(dataset.parts == names[int(np.argmax(lengths))])
    steps = row_steps(dataset, grid)
    kept = steps > steps[-1] - MOST_STEPS
    steps, values = steps[kept], dataset.values[kept]
    regular = np.arange(steps[0], steps[-1] + 1)
    if len(regular) < FEWEST_STEPS:
        return None
    from scipy.signal import welch

    columns = []
    for column in values.T:
        known = np.isfinite(column)
        line = np.interp(regular, steps[known], column[known]) if known.any() else np.zeros(len(regular))
        frequency, power = welch(line, fs=1 / grid.step_seconds, nperseg=max(FEWEST_STEPS, 2 * len(line) // SEGMENTS))
        total = power[1:].sum()
        columns.append(power[1:] / total if total > 0 else np.full(len(power) - 1, np.nan))
    return Spectra(dataset.sensors, 1 / frequency[1:], np.column_stack(columns))
