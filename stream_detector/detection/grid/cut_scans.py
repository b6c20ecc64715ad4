"""The short way for pieces of scans: what a fetch has cut at either end, or all that a small one brings.

A piece goes on with the step of its asset that is open, or begins the next one. Nothing in it is late or twice, and no
step waits for it but its own, which closes with the reading that completes it (rule 6). Whatever is otherwise goes the
general way (`intake`), with the same outcome.
"""

import numpy as np

from stream_detector.detection.grid.closed_steps import STEP, Closings
from stream_detector.detection.grid.contents import Bools, Ints
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.groups import heads_of_neighbours
from stream_detector.detection.grid.sorted_readings import Readings
from stream_detector.detection.grid.steady import all_reported

MOST_PIECES = 256
"""Many small pieces are no scans, and are not asked about."""


def take_cut_scans(grid: Grid, readings: Readings, offsets: Ints) -> Closings | None:
    """Takes pieces of scans, of each asset one; None, and nothing is taken, where the readings are anything else.

    The grid `takes_rows`. offsets: of the records of the batch.
    """
    slot, time, sensor = readings.slot, readings.time, readings.sensor
    if not len(slot):
        return None
    heads = heads_of_neighbours(slot, time)
    slots = slot[heads]
    if len(heads) > MOST_PIECES or len(set(slots.tolist())) < len(slots) or sensor.min() < 0:
        return None
    times = time[heads]
    steps = grid.steps.step_of(times)
    open_now = _is_open(grid, slots, steps)
    if open_now is None:
        return None
    rows, length = grid.rows(slots, steps), np.diff(heads, append=len(readings))
    cells = np.repeat(rows * grid.sensors, length) + sensor
    in_order = np.sort(cells)
    if (in_order[1:] == in_order[:-1]).any():
        return None
    if open_now.any() and (grid.flat_reported[cells] & np.repeat(open_now, length)).any():
        return None
    begun = np.flatnonzero(~open_now)
    if len(begun):
        grid.open_rows(slots[begun], steps[begun])
        grid.note_offsets(slots[begun], steps[begun], offsets[readings.record[heads[begun]]])
    grid.flat_values[cells] = readings.value
    grid.flat_reported[cells] = True
    positions = grid.positions
    positions.newest[slots] = steps
    positions.watermark[slots] = np.maximum(positions.watermark[slots], times)
    positions.horizon[slots] = np.maximum(positions.horizon[slots], grid.steps.horizon_of(times, steps))
    done = np.flatnonzero(grid.reported_rows[rows].all(axis=1))
    done = done[np.argsort(slots[done])]
    slots, steps = slots[done], steps[done]
    positions.last[slots], positions.next_step[slots] = steps, steps + 1
    kind = np.full(len(done), STEP, np.int8)
    return Closings(kind, slots, steps, positions.run_start[slots], readings.record[(heads + length - 1)[done]])


def _is_open(grid: Grid, slots: Ints, steps: Ints) -> Bools | None:
    """(P,) which steps are open, while the others are the next after the newest; None where one is neither, or where
    another step or a dead sensor has a say in when it closes."""
    positions = grid.positions
    newest = positions.newest[slots]
    open_now: Bools = newest == steps
    goes_on = (open_now | (newest == steps - 1)) & (positions.last[slots] == steps - 1)
    if not goes_on.all() or grid.event_rows[grid.rows(slots, steps)][open_now].any():
        return None
    return open_now if all_reported(grid, slots, steps).all() else None
