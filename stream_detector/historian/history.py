"""Holds the content of a historian's file: times, values of the sensors, labels."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.historian.report import ReadReport


@dataclass(frozen=True)
class History:
    """A file's content. Rows are as in the file, whatever their order.

    Attributes:
        times: (N,) epoch seconds; 0, 1, 2, ... where rows have no time.
        sensors: F names.
        values: (N, F) float64, NaN = missing.
        labels: (N,) whether something happened in the row; None where the file has no label column.
        runs: (N,) ascending: number of the run that a row is in; None where the layout names no run columns.
        report: what was found on the way.
    """

    path: Path
    times: NDArray[np.float64]
    sensors: tuple[str, ...]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None
    runs: NDArray[np.int64] | None = None
    report: ReadReport = field(default_factory=ReadReport)

    def __len__(self) -> int:
        return len(self.times)

    def between(self, from_time: float | None, until_time: float | None) -> "History":
        """The rows with from_time <= time < until_time."""
        keep = np.ones(len(self), dtype=bool)
        if from_time is not None:
            keep &= self.times >= from_time
        if until_time is not None:
            keep &= self.times < until_time
        labels = None if self.labels is None else self.labels[keep]
        runs = None if self.runs is None else self.runs[keep]
        return History(self.path, self.times[keep], self.sensors, self.values[keep], labels, runs, self.report)
