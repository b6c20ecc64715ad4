"""Windows out of the grid, filled and masked, and the same for a whole table at once."""

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from stream_detector.detection.config import GridConfig, WindowConfig
from stream_detector.detection.grid.closed_steps import (
    NOT_RUNNING,
    STEP,
    STOP,
    Closings,
    Stretches,
    concatenate,
    select,
)
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.groups import members_of
from stream_detector.detection.grid.table import closings_of_table
from stream_detector.detection.operating import OperatingRule
from stream_detector.detection.window_rows import WindowRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Windows(Struct, frozen=True):
    """M windows of one asset, in order of time.

    `steps`: (M,) newest step of each. `times`: (M,) its start, epoch seconds. `rows`: (M,) the table's last row in it.
    `values`: (M, W, F) float64, NaN = masked. `run_position`: (M,) steps since the run began, 0 = first.
    """

    steps: Ints
    times: Floats
    rows: Ints
    values: Floats
    run_position: Ints

    def __len__(self) -> int:
        return len(self.steps)


def gather(grid: Grid, window: WindowConfig, closings: Closings) -> WindowRows:
    """The N windows that end at these closings; right after they closed, before anything else is written.

    Cells before the run are masked, missing ones filled (rule 8), dead sensors masked (rule 5).
    """
    found = _as_they_lie(grid, window.steps, closings)
    before_run = closings.step - closings.run_start < window.steps - 1
    # Whether a sensor is dead shows as a hole, but where the lateness is longer than the window.
    odd = before_run | _holed(found) if window.steps > grid.steps.lateness_steps else np.ones(len(found), np.bool_)
    if not odd.any():
        return found
    # A copy: other windows may share these rows.
    values = found.select(odd).values.copy()
    _apply_rules(grid, select(closings, odd), values)
    return found.replaced(odd, values)


def _as_they_lie(grid: Grid, width: int, closings: Closings) -> WindowRows:
    """The windows as they lie in the grid; rows that neighbours share are read once."""
    slot, step = closings.slot, closings.step
    ahead = np.diff(step)
    shares = (slot[1:] == slot[:-1]) & (ahead > 0) & (ahead < width)
    if not shares.any():
        return WindowRows.apart(grid.value_rows[grid.rows(slot[:, None], _steps_of(closings, width))])
    added = np.full(len(step), width)
    added[1:][shares] = ahead[shares]
    owner, place = members_of(added)
    steps = (step - added + 1)[owner] + place
    return WindowRows(grid.value_rows[grid.rows(slot[owner], steps)], np.cumsum(added) - 1, width)


def _steps_of(closings: Closings, width: int) -> Ints:
    """(N, W) the steps of the windows that end at the closings."""
    steps: Ints = closings.step[:, None] - np.arange(width - 1, -1, -1)
    return steps


def _holed(windows: WindowRows) -> Bools:
    """(N,) which windows have a cell without a value."""
    holes = np.isnan(windows.rows).any(axis=1)
    if not holes.any():
        return np.zeros(len(windows), np.bool_)
    until = np.cumsum(np.append(0, holes))
    return np.asarray(until[windows.end + 1] > until[windows.end + 1 - windows.steps])


def _apply_rules(grid: Grid, closings: Closings, values: Floats) -> None:
    """Mask and fill windows (M, W, F) that hold what lies in the grid."""
    values[_steps_of(closings, values.shape[1]) < closings.run_start[:, None]] = np.nan
    holed: Bools = np.asarray(np.isnan(values).any(axis=1))
    if holed.any():
        _fill(grid, closings, values, holed)
    dead = grid.dead(closings.slot, closings.step, closings.run_start)
    which, sensor = np.nonzero(dead)
    values[which, :, sensor] = np.nan


def _fill(grid: Grid, closings: Closings, values: Floats, holed: Bools) -> None:
    """Rule 8, for the columns (window, sensor) that have a hole."""
    which, sensor = np.nonzero(holed)
    width, oldest = values.shape[1], grid.staleness_steps
    steps = closings.step[which, None] - np.arange(width - 1 + oldest, -1, -1)
    columns = grid.values[closings.slot[which, None], steps % grid.ring, sensor[:, None]]
    known = ~np.isnan(columns) & (steps >= closings.run_start[which, None])
    place = np.arange(columns.shape[1])
    source = np.maximum.accumulate(np.where(known, place, -1), axis=1)
    fresh = (source >= 0) & (place - source <= oldest)
    filled = np.where(fresh, np.take_along_axis(columns, np.maximum(source, 0), axis=1), np.nan)
    # A window masks what lies before its run, whatever the filling would say.
    filled[steps < closings.run_start[which, None]] = np.nan
    values[which, :, sensor] = filled[:, oldest:]


def scorable(window: WindowConfig, closings: Closings) -> Bools:
    """(N,) which closings end a window that is long enough and lies on the stride (rules 7 and 9)."""
    long_enough = closings.step - closings.run_start + 1 >= window.shortest
    result: Bools = (closings.kind == STEP) & long_enough
    if window.stride > 1:
        result &= (closings.step + 1) % window.stride == 0
    return result


def scorable_of(window: WindowConfig, stretches: Stretches) -> Closings:
    """The closings of stretches that end a window that is long enough and lies on the stride."""
    first = np.maximum(stretches.first, stretches.run_start + window.shortest - 1)
    return stretches.every(first + (-(first + 1)) % window.stride, window.stride)


def cut(
    times: ArrayLike,
    values: ArrayLike,
    events: ArrayLike,
    config: GridConfig,
    window: WindowConfig,
    operating: OperatingRule | None = None,
) -> Windows:
    """The windows of a table of one asset, by the rules of the stream.

    times: (N,) epoch seconds, ascending. values: (N, F) float64, NaN = missing. events: (E,) epoch seconds.
    The end of the table closes its last steps.
    """
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    grid = Grid(config, window, values.shape[1], operating=operating)
    found: list[tuple[Closings, Floats]] = []
    for closings in closings_of_table(grid, times, values, np.asarray(events, np.float64)):
        closings = select(closings, scorable(window, closings))
        if len(closings):
            found.append((closings, gather(grid, window, closings).values))
    ends = concatenate([closings for closings, _ in found])
    return Windows(
        steps=ends.step,
        times=np.asarray(ends.step * grid.steps.step_seconds, np.float64),
        rows=np.searchsorted(grid.steps.step_of(times), ends.step, side="right") - 1,
        values=np.concatenate([np.empty((0, window.steps, grid.sensors)), *(windows for _, windows in found)]),
        run_position=ends.step - ends.run_start,
    )


def not_running_steps(
    times: ArrayLike, values: ArrayLike, events: ArrayLike, config: GridConfig, operating: OperatingRule
) -> Ints:
    """The steps of a table in which the machine does not run (rule 10), ascending. Arguments as in `cut`."""
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    grid = Grid(config, WindowConfig(steps=1), values.shape[1], operating=operating)
    closed = list(closings_of_table(grid, times, values, np.asarray(events, np.float64)))
    closings = concatenate(closed)
    return closings.step[np.isin(closings.kind, (STOP, NOT_RUNNING))]
