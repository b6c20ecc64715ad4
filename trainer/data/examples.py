"""Cuts the windows of a file and labels each: positive (an alarm would be right), normal (fit to learn from)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig, LeadConfig, WindowConfig
from stream_detector.detection.grid.steps import Steps
from stream_detector.detection.grid.windows import cut, not_running_steps
from stream_detector.detection.operating import OperatingRule
from trainer.data.dataset import Dataset

APART_STEPS = 1 << 30
"""More steps than a window, a gap or a lead window has."""


@dataclass(frozen=True)
class Examples:
    """B windows, one asset after another, each in the order of time.

    Attributes:
        windows: (B, T, F) float64 in sensor units, NaN = masked.
        rows: (B,) the row of the file that is each window's newest step.
        positive: (B,) an alarm at that step would be right; None where the file has no labels.
        normal: (B,) nothing in the window is anomalous, nor is an event ahead: fit to learn normal operation from.
        assets: (B,) the name of each window's asset; None where the file names none.
    """

    windows: NDArray[np.float64]
    rows: NDArray[np.int64]
    positive: NDArray[np.bool_] | None
    normal: NDArray[np.bool_]
    assets: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Examples":
        """The windows of a mask (B,), or these windows in this order."""
        positive = None if self.positive is None else self.positive[chosen]
        assets = None if self.assets is None else self.assets[chosen]
        return Examples(self.windows[chosen], self.rows[chosen], positive, self.normal[chosen], assets)


def cut_examples(
    dataset: Dataset,
    grid: GridConfig,
    window: WindowConfig,
    lead: LeadConfig,
    operating: OperatingRule | None = None,
) -> Examples:
    """Cut all windows of a file with the detector's own grid, and label them. None is of two assets or runs.

    Windows whose newest row somebody may have changed the label of, by acting on an alarm, are left out, and rows in
    which the machine does not run are in none.
    """
    steps = row_steps(dataset, grid)
    windows, rows, newest = _cut(dataset, grid, window, operating)
    positive = None if dataset.labels is None else row_positives(dataset, grid, lead)[rows]
    if dataset.labels is None:
        normal = np.ones(len(rows), dtype=bool)
    elif dataset.labels_mark_events:
        assert positive is not None
        normal = ~positive
    else:
        normal = ~any_between(steps[dataset.labels], newest - window.steps + 1, newest)
    assets = None if dataset.asset_rows is None else np.array(dataset.assets)[dataset.asset_rows[rows]]
    found = Examples(windows, rows, positive, normal, assets)
    return found if dataset.acted is None else found.take(~dataset.acted[rows])


def row_steps(dataset: Dataset, grid: GridConfig) -> NDArray[np.int64]:
    """(N,) the step of the grid that each row lies in; those of different assets lie far apart, ascending."""
    if grid.kind == "table":
        return np.arange(len(dataset))
    steps = Steps(grid).step_of(dataset.times)
    if dataset.asset_rows is None or not len(steps):
        return steps
    return np.asarray(steps + dataset.asset_rows * (int(np.ptp(steps)) + APART_STEPS), np.int64)


def run_numbers(
    dataset: Dataset, steps: NDArray[np.int64], max_gap_steps: int, idle: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(N,) number of the run that each row is in: a gap, an event or a stop begins another.

    steps: (N,) of the rows. idle: (N,) rows that are `not_running`.
    """
    starts = np.diff(steps, prepend=steps[0]) > max_gap_steps + 1
    starts[1:] |= (dataset.events | idle)[:-1]
    return np.cumsum(starts)


def not_running(dataset: Dataset, grid: GridConfig, operating: OperatingRule | None) -> NDArray[np.bool_]:
    """(N,) rows in which the machine does not run (rule 10): nothing is learnt from them, and they are not judged."""
    found = np.zeros(len(dataset), dtype=bool)
    if operating is None:
        return found
    for own in dataset.by_part():
        events, times = dataset.events[own], dataset.times[own]
        idle = not_running_steps(times[~events], dataset.values[own][~events], times[events], grid, operating)
        found[own] = np.isin(Steps(grid).step_of(times), idle) & ~events
    return found


def row_positives(dataset: Dataset, grid: GridConfig, lead: LeadConfig) -> NDArray[np.bool_]:
    """(N,) rows on which an alarm is right: anomalous ones, or those from which an event lies in the lead window."""
    assert dataset.labels is not None
    if not dataset.labels_mark_events:
        return dataset.labels
    steps = row_steps(dataset, grid)
    ahead = any_between(steps[dataset.labels], steps + lead.from_steps, steps + lead.until_steps)
    return ahead & ~dataset.labels


def any_between(marked: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(B,) whether one of the ascending steps `marked` lies in [first, last]."""
    return np.searchsorted(marked, last, side="right") > np.searchsorted(marked, first, side="left")


def _cut(
    dataset: Dataset, grid: GridConfig, window: WindowConfig, operating: OperatingRule | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Windows (B, T, F), the row and the step of each one's newest step (B,). Rows of events are in none."""
    if grid.kind == "table":
        rows = np.arange(len(dataset))
        return dataset.values[:, None, :], rows, rows
    found = []
    for own in dataset.by_part():
        events = dataset.events[own]
        readings = np.flatnonzero(~events)
        times, values = dataset.times[own], dataset.values[own]
        windows = cut(times[readings], values[readings], times[events], grid, window, operating)
        found.append((windows.values, own.start + readings[windows.rows]))
    chosen = np.concatenate([rows for _, rows in found])
    values = found[0][0] if len(found) == 1 else np.concatenate([values for values, _ in found])
    return values, chosen, row_steps(dataset, grid)[chosen]
