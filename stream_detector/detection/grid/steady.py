"""The short way into the grid for samples: a stretch of one sensor's readings, one a step, with nothing missing.

Each of them closes its own step (rule 6), so that nothing is late, twice or waited for, and nothing is sorted. Whatever
is otherwise goes the general way (`intake`), with the same outcome.
"""

import numpy as np

from stream_detector.detection.grid.closed_steps import STEP, Closings
from stream_detector.detection.grid.grid import Grid, Ints
from stream_detector.detection.grid.sorted_readings import EVENT_SENSOR, Readings

LEAST_READINGS = 64
"""A shorter stretch is not worth an answer of its own."""


def take_steady(grid: Grid, readings: Readings, begin: int, offsets: Ints) -> Closings | None:
    """Takes the steady stretch at `begin` and closes its steps, one a reading; None where there is none of some length.

    offsets: of the records of the batch.
    """
    if grid.sensors != 1 or not grid.complete or grid.judges_operation:
        return None
    stretch = _same_asset(grid, readings, begin)
    if stretch is None:
        return None
    slot, steps = int(readings.slot[begin]), grid.steps.step_of(readings.time[stretch])
    first = int(steps[0])
    breaks = np.flatnonzero(np.diff(steps) != 1)
    if len(breaks):
        steps = steps[: breaks[0] + 1]
        stretch = slice(begin, begin + len(steps))
    if len(steps) < LEAST_READINGS or not _goes_on(grid, slot, first):
        return None
    return _write(grid, slot, steps, readings.take(stretch), offsets)


def _same_asset(grid: Grid, readings: Readings, begin: int) -> slice | None:
    """The readings from `begin` on that are of one asset, at most as many as its ring has room for; no events."""
    slots = readings.slot[begin : begin + grid.slack]
    if len(slots) < LEAST_READINGS or slots[LEAST_READINGS - 1] != slots[0]:
        return None
    changes = (slots != slots[0]) | (readings.sensor[begin : begin + len(slots)] == EVENT_SENSOR)
    count = int(changes.argmax()) if changes.any() else len(slots)
    return slice(begin, begin + count) if count >= LEAST_READINGS else None


def _goes_on(grid: Grid, slot: int, step: int) -> bool:
    """Whether the run of the slot goes on with `step`, right after the newest one, and nothing before it is open."""
    positions = grid.positions
    # A step that is the last of its run has closed.
    if not positions.newest[slot] == positions.last[slot] == step - 1:
        return False
    open_from = max(int(positions.horizon[slot]), step - grid.steps.lateness_steps + 1)
    return bool(grid.reported[slot, np.arange(open_from, step) % grid.ring].all())


def _write(grid: Grid, slot: int, steps: Ints, stretch: Readings, offsets: Ints) -> Closings:
    positions, places = grid.positions, _places(steps, grid.ring)
    grid.values[slot, places, 0] = stretch.value
    grid.reported[slot, places] = True
    grid.event[slot, places] = False
    grid.opened_offset[slot, _places(steps, grid.offset_memory)] = offsets[stretch.record]
    newest, until = int(steps[-1]), stretch.time[-1:]
    positions.newest[slot] = positions.opened[slot] = positions.last[slot] = newest
    positions.next_step[slot] = newest + 1
    positions.watermark[slot] = max(positions.watermark[slot], until[0])
    positions.horizon[slot] = max(positions.horizon[slot], grid.steps.horizon_of(until, steps[-1:])[0])
    run_start = np.full(len(steps), positions.run_start[slot])
    return Closings(np.full(len(steps), STEP, np.int8), stretch.slot, steps, run_start, stretch.record)


def _places(steps: Ints, ring: int) -> Ints:
    """`steps % ring` of steps that follow each other, fewer than the ring has rows."""
    places: Ints = steps - (int(steps[0]) // ring) * ring
    places[places >= ring] -= ring
    return places
