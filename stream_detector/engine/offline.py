"""A table of one asset through the detector's own decisions: offline scores and alarms are those of the stream."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_detector.bundle.bundle import Bundle
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.table import SLOT, closings_of_table
from stream_detector.engine.alarm_messages import StepResults
from stream_detector.engine.decider import Decider
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.messages import Alarm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FrameScores:
    """M scored steps in order, and the alarms.

    `step`: (M,) of the grid. `time`: (M,) its start, epoch seconds. `row`: (M,) the table's last row in it.
    `score`, `probability` (NaN without a head): (M,). `above`: (M,) above it. `degraded`: (M,) masked sensors.
    `evidence`, `expected`: (M, F), of the errors or the head. `alarms`: raised and cleared, as on the topic.
    """

    step: Ints
    time: Floats
    row: Ints
    score: Floats
    probability: Floats
    above: NDArray[np.bool_]
    evidence: Floats
    expected: Floats
    degraded: Ints
    alarms: list[Alarm]
    threshold: float

    def __len__(self) -> int:
        return len(self.step)


def score_frame(
    bundle: Bundle | DetectorSpec, times: ArrayLike, values: ArrayLike, events: ArrayLike = (), asset: str = "asset"
) -> FrameScores:
    """Score a table of one asset as the engine would its rows, sent in order of time, events before rows of their time.

    times: (N,) epoch seconds, ascending. values: (N, F) float64 in the bundle's order of sensors, NaN = missing.
    events: (E,) epoch seconds. The end of the table closes its last steps; on the stream they still wait.
    """
    spec = bundle if isinstance(bundle, DetectorSpec) else DetectorSpec.of(bundle)
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    grid = Grid(spec.grid, spec.window, len(spec.sensors))
    decider = Decider(spec, grid, keep_results=True)
    decider.admit(SLOT, asset, None)
    for closings in closings_of_table(grid, times, values, np.asarray(events, np.float64)):
        decider.add(closings)
    decisions = decider.take()
    step = _joined(decisions.results, "step", np.empty(0, np.int64))
    sensors = np.empty((0, len(spec.sensors)))
    return FrameScores(
        step=step,
        time=step * spec.grid.step_seconds,
        row=np.searchsorted(grid.steps.step_of(times), step, side="right") - 1,
        score=_joined(decisions.results, "score", np.empty(0)),
        probability=_joined(decisions.results, "probability", np.empty(0)),
        above=_joined(decisions.results, "above", np.empty(0, np.bool_)),
        evidence=_joined(decisions.results, "evidence", sensors),
        expected=_joined(decisions.results, "expected", sensors),
        degraded=_joined(decisions.results, "degraded", np.empty(0, np.int64)),
        alarms=[alarm for _, alarm in decisions.alarms],
        threshold=spec.threshold,
    )


def _joined(results: list[StepResults], name: str, empty: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([empty, *(getattr(found, name) for found in results)])
