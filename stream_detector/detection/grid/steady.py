"""The short ways into the grid: whole rows, scans and blocks of samples that go on where their assets' runs stand.

Each step that such a record brings is reported completely, right after the one before it, and closes with that record
(rule 6). So nothing is late, twice or waited for, and nothing is asked of the single readings. Whatever is otherwise
goes the general way (`intake`), with the same outcome.
"""

import numpy as np

from stream_detector.detection.grid.closed_steps import STEP, Closings, Stretches
from stream_detector.detection.grid.contents import EVENT_SENSOR, Blocks, Bools, Floats, Ints, WholeRows
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.groups import first_of_groups, group_ends
from stream_detector.detection.grid.sorted_readings import Readings, Records, order_by_slot

LEAST_READINGS = 64
"""A shorter stretch of readings is not worth an answer of its own."""


def takes_rows(grid: Grid) -> bool:
    """Whether rows can go a short way into this grid: a step closes when it is complete, and is always judged."""
    return grid.complete and not grid.judges_operation


def has_short_way(grid: Grid, records: Records) -> bool:
    """Whether records of this kind can go a short way into this grid."""
    of_one_sensor = isinstance(records.contents, Blocks) and grid.sensors == 1
    return takes_rows(grid) and (of_one_sensor or isinstance(records.contents, WholeRows))


def parts_within_slack(grid: Grid, records: Records) -> list[Bools]:
    """Records in parts (R,), each asset's in their order, in none of which an asset goes on by more than the slack."""
    blocks = isinstance(records.contents, Blocks)
    if len(records) <= grid.slack and not blocks:
        return [np.ones(len(records), np.bool_)]
    steps = records.contents.count if isinstance(records.contents, Blocks) else np.ones_like(records.slot)
    order = order_by_slot(grid, records.slot)
    slot, passed = records.slot[order], np.cumsum(steps[order])
    first = first_of_groups(slot)
    own = passed - (passed - steps[order])[first][np.cumsum(first) - 1]
    # A block may begin in the part before, so that half of the slack is left for it.
    number = np.empty_like(order)
    number[order] = (own - 1) // (max(grid.slack // 2, 1) if blocks else grid.slack)
    # Without `np.unique`, which imports numpy's masked arrays: 15 ms in the first batch of a start.
    return [number == part for part in sorted(set(number.tolist()))]


def take_records(grid: Grid, records: Records, offsets: Ints) -> tuple[Closings | Stretches, Bools]:
    """Takes what goes on steadily of records that `has_short_way`; the others have to go the general way afterwards.

    offsets: of the records of the batch. Returns what closes, and which records (R,) were taken.
    """
    contents = records.contents
    if isinstance(contents, Blocks):
        return _take_blocks(grid, records, contents, offsets)
    assert isinstance(contents, WholeRows)
    return _take_rows(grid, records, contents, offsets)


def _take_rows(grid: Grid, records: Records, rows: WholeRows, offsets: Ints) -> tuple[Closings, Bools]:
    order = order_by_slot(grid, records.slot)
    step = grid.steps.step_of(rows.times)
    # No step waits for a dead sensor: a reading before the scan's last one would close it.
    fine = None if records.begin is None else _all_live(grid, records.slot[order], step[order])
    taken = np.empty(len(order), np.bool_)
    taken[order] = steady = _steady(grid, records.slot[order], step[order], step[order] + 1, fine)
    if not steady.all():
        order = order[steady]
        records, rows, step = records.select(taken), rows.select(taken), step[taken]
        number = np.cumsum(taken) - 1
        order = number[order]
    slot, place = records.slot, grid.rows(records.slot, step)
    grid.value_rows[place] = rows.values
    grid.reported_rows[place] = True
    grid.event_rows[place] = False
    grid.note_offsets(slot, step, offsets[records.place if records.begin is None else records.begin])
    slot, step, record = slot[order], step[order], records.place[order]
    final = group_ends(np.flatnonzero(first_of_groups(slot)), len(slot))
    _move_on(grid, slot[final], step[final], rows.times[order][final])
    kind = np.full(len(slot), STEP, np.int8)
    return Closings(kind, slot, step, grid.positions.run_start[slot], record), taken


def _take_blocks(grid: Grid, records: Records, blocks: Blocks, offsets: Ints) -> tuple[Stretches, Bools]:
    order = order_by_slot(grid, records.slot)
    first, even = grid.steps.first_of_even(blocks.first, blocks.step_seconds, blocks.count)
    even &= blocks.count <= grid.slack // 2
    begin, end = first[order], (first + blocks.count)[order]
    taken = np.zeros(len(order), np.bool_)
    taken[order] = steady = _steady(grid, records.slot[order], begin, end, even[order])
    order = order[steady]
    for block in order.tolist():
        at = int(blocks.begin[block])
        _write(
            grid,
            int(records.slot[block]),
            int(first[block]),
            blocks.value[at : at + int(blocks.count[block])],
            int(offsets[records.place[block]]),
        )
    slot, first, count = records.slot[order], first[order], blocks.count[order]
    final = group_ends(np.flatnonzero(first_of_groups(slot)), len(slot))
    _move_on(grid, slot[final], (first + count - 1)[final], blocks.last_time[order][final])
    return Stretches(slot, first, count, grid.positions.run_start[slot], records.place[order]), taken


def _steady(grid: Grid, slot: Ints, begin: Ints, end: Ints, fine: Bools | None = None) -> Bools:
    """(N,) whether the run of the slot goes on, with steps [begin, end) and all that is before it in the slot.

    slot: sorted. fine: (N,) those that may be steady at all.
    """
    first = first_of_groups(slot)
    follows = np.ones(len(slot), np.bool_)
    follows[1:] = begin[1:] == end[:-1]
    starts = np.flatnonzero(first)
    follows[starts] = goes_on(grid, slot[starts], begin[starts])
    if fine is not None:
        follows &= fine
    if follows.all():
        return follows
    # One that is not spoils what comes after it in its slot.
    broken = np.cumsum(~follows)
    asset = np.cumsum(first) - 1
    before: Ints = (broken - ~follows)[starts]
    return np.asarray(broken == before[asset])


def goes_on(grid: Grid, slots: Ints, steps: Ints) -> Bools:
    """(K,) whether the runs of these slots go on with these steps, the next after the newest, and none before open."""
    positions = grid.positions
    # A step that is the last of its run has closed.
    fine = (positions.newest[slots] == steps - 1) & (positions.last[slots] == steps - 1)
    for back in range(1, grid.steps.lateness_steps):
        closed = steps - back < positions.horizon[slots]
        fine &= closed | grid.reported_rows[grid.rows(slots, steps - back)].all(axis=1)
    return np.asarray(fine)


def all_reported(grid: Grid, slots: Ints, steps: Ints) -> Bools:
    """(K,) whether all sensors reported the L steps before: none is dead (rule 5), and no reading is waited for."""
    live = np.ones(len(slots), np.bool_)
    for back in range(1, grid.steps.lateness_steps + 1):
        live &= grid.reported_rows[grid.rows(slots, steps - back)].all(axis=1)
    return live


def _all_live(grid: Grid, slot: Ints, step: Ints) -> Bools:
    """(N,) whether no sensor is dead (rule 5) where the run of the slot goes on with whole rows at these steps.

    slot: sorted. It is enough that all sensors reported the L steps before the first row.
    """
    starts = np.flatnonzero(first_of_groups(slot))
    live = np.ones(len(slot), np.bool_)
    live[starts] = all_reported(grid, slot[starts], step[starts])
    return live


def _move_on(grid: Grid, slots: Ints, newest: Ints, until: Floats) -> None:
    """These (different) slots have closed all steps up to `newest`, which ends with a reading at `until`."""
    positions = grid.positions
    positions.newest[slots] = positions.opened[slots] = positions.last[slots] = newest
    positions.next_step[slots] = newest + 1
    positions.watermark[slots] = np.maximum(positions.watermark[slots], until)
    positions.horizon[slots] = np.maximum(positions.horizon[slots], grid.steps.horizon_of(until, newest))


def _write(grid: Grid, slot: int, first: int, values: Floats, offset: int) -> None:
    """Samples of consecutive steps of a grid of one sensor, from a record at `offset`."""
    for begin, end, at in _spans(first, len(values), grid.ring):
        grid.values[slot, begin:end, 0] = values[at : at + end - begin]
        grid.reported[slot, begin:end] = True
        grid.event[slot, begin:end] = False
    for begin, end, _ in _spans(first, len(values), grid.offset_memory):
        grid.opened_offset[slot, begin:end] = offset


def _spans(first: int, count: int, ring: int) -> list[tuple[int, int, int]]:
    """Where `count` consecutive steps, fewer than the ring has rows, lie in it: [begin, end), and at which of them."""
    begin = first % ring
    end = begin + count
    if end <= ring:
        return [(begin, end, 0)]
    return [(begin, ring, 0), (0, end - ring, ring - begin)]


def take_steady(grid: Grid, readings: Readings, begin: int, offsets: Ints) -> Closings | None:
    """Takes a steady stretch of single readings at `begin`, of one asset of one sensor; None where there is none of
    some length.

    offsets: of the records of the batch.
    """
    if grid.sensors != 1 or not grid.complete or grid.judges_operation:
        return None
    stretch = _same_asset(grid, readings, begin)
    if stretch is None:
        return None
    slot, steps = readings.slot[begin : begin + 1], grid.steps.step_of(readings.time[stretch])
    breaks = np.flatnonzero(np.diff(steps) != 1)
    if len(breaks):
        steps = steps[: breaks[0] + 1]
        stretch = slice(begin, begin + len(steps))
    if len(steps) < LEAST_READINGS or not goes_on(grid, slot, steps[:1])[0]:
        return None
    taken = readings.take(stretch)
    places = grid.rows(taken.slot, steps)
    grid.flat_values[places] = taken.value
    grid.flat_reported[places] = True
    grid.event_rows[places] = False
    grid.note_offsets(taken.slot, steps, offsets[taken.record])
    _move_on(grid, slot, steps[-1:], taken.time[-1:])
    kind = np.full(len(steps), STEP, np.int8)
    return Closings(kind, taken.slot, steps, grid.positions.run_start[taken.slot], taken.record)


def _same_asset(grid: Grid, readings: Readings, begin: int) -> slice | None:
    """The readings from `begin` on that are of one asset, at most as many as its ring has room for; no events."""
    slots = readings.slot[begin : begin + grid.slack]
    if len(slots) < LEAST_READINGS or slots[LEAST_READINGS - 1] != slots[0]:
        return None
    changes = (slots != slots[0]) | (readings.sensor[begin : begin + len(slots)] == EVENT_SENSOR)
    count = int(changes.argmax()) if changes.any() else len(slots)
    return slice(begin, begin + count) if count >= LEAST_READINGS else None
