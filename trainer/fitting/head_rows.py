"""A plant's file as the calibrated head reads it: every closed step in order, with its features and its label."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig, LeadConfig, WindowConfig
from stream_detector.detection.grid.windows import cut
from stream_detector.detection.head.features import Features, FeatureState
from stream_detector.detection.operating import OperatingRule
from trainer.data.dataset import Dataset
from trainer.data.examples import any_between, row_positives, row_steps

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class HeadRows:
    """M closed steps in order, those of events included.

    Attributes:
        rows: (M,) row of the file.
        steps, times: (M,) step of the grid and its time, epoch seconds.
        event: (M,) an event lies in the step.
        scorable: (M,) the detector scores it.
        positive: (M,) an event lies in its lead window.
        features: (M, D) float32, NaN = not known.
        movement: (D,) features that say how much something moves.
        state: of the features, after the last step.
        told_late_seconds: how long after an event it is told.
        acted: (M,) somebody acted on an alarm, so that nobody knows the label.
    """

    rows: Ints
    steps: Ints
    times: NDArray[np.float64]
    event: Bools
    scorable: Bools
    positive: Bools
    features: NDArray[np.float32]
    movement: Bools
    state: FeatureState
    acted: Bools
    told_late_seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def told_by(self, time: float, lead: LeadConfig) -> "HeadRows":
        """The rows as they were known at `time` (epoch seconds): an event not told by then is a row like others."""
        told = self.event & (self.times + self.told_late_seconds < time)
        if self.told_late_seconds == 0 or np.array_equal(told, self.event & (self.times < time)):
            return self
        ahead = any_between(self.steps[told], self.steps + lead.from_steps, self.steps + lead.until_steps)
        return replace(self, event=told, positive=ahead & ~told)


def read_rows(
    dataset: Dataset,
    grid: GridConfig,
    window: WindowConfig,
    lead: LeadConfig,
    features: Features,
    operating: OperatingRule | None = None,
) -> HeadRows:
    """Every step of the file through the features, in order, as the stream would hand them on."""
    readings = np.flatnonzero(~dataset.events)
    newest = WindowConfig(steps=1)
    events = dataset.times[dataset.events]
    windows = cut(dataset.times[readings], dataset.values[readings], events, grid, newest, operating)
    event_rows = np.flatnonzero(dataset.events)
    rows = np.concatenate([readings[windows.rows], event_rows])
    steps = np.concatenate([windows.steps, row_steps(dataset, grid)[event_rows]])
    position = np.concatenate([windows.run_position, np.zeros(len(event_rows), np.int64)])
    values = np.concatenate([windows.values[:, -1], dataset.values[event_rows]])
    event = np.concatenate([np.zeros(len(windows), bool), np.ones(len(event_rows), bool)])
    order = np.lexsort((event, steps))
    rows, steps, position, values, event = rows[order], steps[order], position[order], values[order], event[order]
    times = steps * grid.step_seconds

    state = features.fresh()
    found = np.empty((len(rows), len(features.names)), np.float32)
    for index in range(len(rows)):
        found[index] = features.advance(
            state, float(times[index]), values[index], int(position[index]), bool(event[index])
        )
    on_stride = (steps + 1) % window.stride == 0
    known = ~np.isnan(values).all(axis=1)
    return HeadRows(
        rows=rows,
        steps=steps,
        times=times,
        event=event,
        scorable=~event & known & on_stride & (position + 1 >= window.shortest),
        positive=row_positives(dataset, grid, lead)[rows],
        features=found,
        movement=features.movement,
        state=state,
        told_late_seconds=dataset.told_late_seconds,
        acted=np.zeros(len(rows), bool) if dataset.acted is None else dataset.acted[rows] & ~event,
    )
