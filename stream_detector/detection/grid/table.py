"""A table of one asset driven through a grid, as the stream drives it."""

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from stream_detector.detection.grid.closed_steps import Closings
from stream_detector.detection.grid.contents import EVENT_SENSOR
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.intake import Intake
from stream_detector.detection.grid.sorted_readings import Readings

Floats = NDArray[np.float64]

SLOT = 0
"""Of the grid, which the table's asset has for itself."""


def closings_of_table(grid: Grid, times: Floats, values: Floats, events: Floats) -> Iterator[Closings]:
    """Yields closings in order. Read the windows that end there before you ask for the next.

    times: (N,) epoch seconds, ascending. values: (N, F), NaN = missing. events: (E,) epoch seconds, any order.
    `record` of a closing is the row that closed it. The end of the table closes its last steps.
    """
    readings = table_readings(times, values, np.sort(events))
    if not len(readings):
        return
    grid.admit(SLOT, float(readings.time[0]), 0)
    yield from Intake(grid).take_readings(readings, np.arange(max(len(times), 1)))
    last = grid.close_all(np.array([SLOT]))
    yield replace(last, record=np.full_like(last.record, max(len(times) - 1, 0)))


def table_readings(times: Floats, values: Floats, events: Floats) -> Readings:
    """A table of one asset as readings in log order: rows by time, an event before the rows of the same time.

    times: (N,); values: (N, F), NaN = missing; events: (E,) times of events. `record` is the row, an event's is that of
    the next row.
    """
    rows, sensors = values.shape
    place = np.searchsorted(times, events, side="left")
    record = np.repeat(np.arange(rows), sensors)
    at = place * sensors
    return Readings(
        slot=np.full(rows * sensors + len(events), SLOT, np.int64),
        sensor=np.insert(np.tile(np.arange(sensors), rows), at, EVENT_SENSOR),
        time=np.insert(np.repeat(times, sensors), at, events),
        value=np.insert(np.ascontiguousarray(values).reshape(-1), at, np.nan),
        record=np.insert(record, at, np.minimum(place, max(rows - 1, 0))),
    )
