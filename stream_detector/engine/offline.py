"""A table of one asset through the detector's own decisions: offline scores and alarms are those of the stream."""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from stream_detector.bundle.bundle import Bundle
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.table import SLOT, closings_of_table
from stream_detector.engine.decider import Decider
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.outcome import ScoredSteps
from stream_detector.messages import Alarm


class ScoredFrame(Struct, frozen=True):
    """The scored steps of a table and its alarms, raised and cleared, as on the topic.

    `rows`: (M,) the table's last row in each step.
    """

    steps: ScoredSteps
    rows: NDArray[np.int64]
    alarms: list[Alarm]


def score_frame(
    bundle: Bundle | DetectorSpec, times: ArrayLike, values: ArrayLike, events: ArrayLike = (), asset: str = "asset"
) -> ScoredFrame:
    """Score a table of one asset as the engine would its rows, sent in order of time, events before rows of their time.

    Rule 1 is not asked: it refuses nothing that comes in order of time, and what it would still hold the table's end
    confirms.

    times: (N,) epoch seconds, ascending. values: (N, F) float64 in the bundle's order of sensors, NaN = missing.
    events: (E,) epoch seconds. The end of the table closes its last steps; on the stream they still wait.
    """
    spec = bundle if isinstance(bundle, DetectorSpec) else DetectorSpec.of(bundle)
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    grid = Grid(spec.grid, spec.window, len(spec.sensors), operating=spec.operating)
    decider = Decider(spec, grid, keep_results=True)
    decider.admit(SLOT, asset)
    for closings in closings_of_table(grid, times, values, np.asarray(events, np.float64)):
        decider.add(closings)
    decisions = decider.take()
    steps = ScoredSteps.joined([found for _, found in decisions.results], len(spec.sensors))
    rows = np.searchsorted(grid.steps.step_of(times), steps.step, side="right") - 1
    return ScoredFrame(steps, rows, [alarm for _, alarm in decisions.alarms])
