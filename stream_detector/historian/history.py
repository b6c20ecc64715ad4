"""Holds the content of a historian's file: times, values of the sensors, labels."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import UsageError
from stream_detector.historian.report import ReadReport, some


@dataclass(frozen=True)
class History:
    """A file's content. Rows are as in the file, whatever their order.

    Attributes:
        times: (N,) epoch seconds; 0, 1, 2, ... where rows have no time.
        sensors: F names.
        values: (N, F) float64, NaN = missing.
        labels: (N,) whether something happened in the row; None where the file has no label column.
        runs: (N,) ascending for each asset: number of the run that a row is in; None where the layout names no run
            columns.
        assets: the names of the assets; none where the file tells of no asset.
        asset_rows: (N,) the place of each row's asset in `assets`; None where there is none.
        report: what was found on the way.
    """

    path: Path
    times: NDArray[np.float64]
    sensors: tuple[str, ...]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None
    runs: NDArray[np.int64] | None = None
    report: ReadReport = field(default_factory=ReadReport)
    assets: tuple[str, ...] = ()
    asset_rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.times)

    def of_asset(self, name: str) -> "History":
        """The rows of one asset; UsageError where there is none of that name."""
        if name not in self.assets:
            raise UsageError(f"{self.path} has no asset {name!r}; it has {some(self.assets)}")
        assert self.asset_rows is not None
        return self.take(np.asarray(self.asset_rows == self.assets.index(name)))

    def between(self, from_time: float | None, until_time: float | None) -> "History":
        """The rows with from_time <= time < until_time."""
        keep = np.ones(len(self), dtype=bool)
        if from_time is not None:
            keep &= self.times >= from_time
        if until_time is not None:
            keep &= self.times < until_time
        return self.take(keep)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "History":
        """The rows of a mask (N,), or these rows in this order."""
        return replace(
            self,
            times=self.times[rows],
            values=self.values[rows],
            labels=None if self.labels is None else self.labels[rows],
            runs=None if self.runs is None else self.runs[rows],
            asset_rows=None if self.asset_rows is None else self.asset_rows[rows],
        )
