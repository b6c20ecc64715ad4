"""The whole content of one slot of a grid. Put into another grid, it closes the same steps from then on."""

import numpy as np
from msgspec import Struct

from stream_detector.detection.grid.grid import Bools, Floats, Grid
from stream_detector.detection.grid.positions import NO_STEP

NO_OFFSET = -1
"""Stands for the offset of a record that was not read by this grid."""


class SlotState(Struct, frozen=True):
    """One slot. Rows are the R steps from `first_step` to the newest; rows before them are looked at no more.

    `values`: (R, F) NaN = missing. `reported`: (R, F). `cell_time`: (R, F), of cells that are reported, where the grid
    closes by watermark; else (0, F). `event`: (R,). `watermark`: epoch seconds. The others are as in
    `Positions`; a state from before there was a rule 10 has no `stood`.
    """

    first_step: int
    values: Floats
    reported: Bools
    cell_time: Floats
    event: Bools
    watermark: float
    next_step: int
    newest: int
    horizon: int
    run_start: int
    last: int
    stood: int = NO_STEP
    stands: bool = False
    not_running: bool = False


def read_slot(grid: Grid, slot: int) -> SlotState:
    """A copy of the slot, between two batches."""
    first, newest = int(grid.positions.horizon[slot]) - grid.history, int(grid.positions.newest[slot])
    steps = np.arange(first, newest + 1)
    rows = steps % grid.ring
    reported = grid.reported[slot, rows]
    times = np.where(reported, grid.cell_time[slot, rows], 0.0) if not grid.complete else np.empty((0, grid.sensors))
    return SlotState(
        first_step=first,
        values=grid.values[slot, rows],
        reported=reported,
        cell_time=times,
        event=grid.event[slot, rows],
        watermark=float(grid.positions.watermark[slot]),
        next_step=int(grid.positions.next_step[slot]),
        newest=newest,
        horizon=int(grid.positions.horizon[slot]),
        run_start=int(grid.positions.run_start[slot]),
        last=int(grid.positions.last[slot]),
        stood=int(grid.positions.stood[slot]),
        stands=bool(grid.positions.stands[slot]),
        not_running=bool(grid.positions.not_running[slot]),
    )


def write_slot(grid: Grid, slot: int, state: SlotState) -> None:
    """Fill a slot that was just admitted. Its records were not read here: `Grid.low` gives NO_OFFSET for it."""
    rows = np.arange(state.first_step, state.newest + 1) % grid.ring
    grid.values[slot, rows] = state.values
    grid.reported[slot, rows] = state.reported
    grid.event[slot, rows] = state.event
    if not grid.complete:
        grid.cell_time[slot, rows] = state.cell_time
    grid.opened_offset[slot] = NO_OFFSET
    grid.positions.watermark[slot] = state.watermark
    grid.positions.next_step[slot], grid.positions.horizon[slot] = state.next_step, state.horizon
    grid.positions.newest[slot] = grid.positions.opened[slot] = state.newest
    grid.positions.run_start[slot], grid.positions.last[slot] = state.run_start, state.last
    grid.positions.stood[slot], grid.positions.stands[slot] = state.stood, state.stands
    grid.positions.not_running[slot] = state.not_running
