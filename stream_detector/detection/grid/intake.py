"""Readings into the grid: which are late, duplicate or windowed, and when steps close (rules 2, 3 and 6 of the grid).

Four short ways are tried before the general one; each takes what goes on steadily, and leaves the rest to the next:

| what | where | its rest goes |
|---|---|---|
| whole rows; blocks, where there is one sensor | `steady.take_records` | reading by reading, the general way |
| scans among single readings | `scans`, `steady.take_records` | to the two below |
| pieces of scans, of each asset one | `cut_scans`: all or nothing | the general way |
| single readings, where there is one sensor | `steady.take_steady` | the general way |

What is taken of an asset is always what comes first of it, so that each asset's readings are taken in their order.

Readings are taken in pieces (no asset may outrun its ring), and each piece in rounds. In a round all readings are
written first, and steps are closed afterwards. This equals one reading at a time, because no reading written in a round
can change a step that closes earlier in it: a step closes either by lateness (a later reading for it would be late, and
is not written) or by completeness (a later reading for it is a duplicate, or belongs to a sensor that is dead and
masked). The two exceptions, a late reading that fills a hole and an event, begin a new round.
"""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from stream_detector.detection.grid.closed_steps import LATE_EVENT, Closings, Stretches, concatenate, select
from stream_detector.detection.grid.cut_scans import take_cut_scans
from stream_detector.detection.grid.grid import Bools, Grid, Ints
from stream_detector.detection.grid.groups import first_of_groups, group_ends, members_of
from stream_detector.detection.grid.scans import Scans, scans_of
from stream_detector.detection.grid.sorted_readings import (
    Readings,
    Records,
    SortedReadings,
    first_past,
    first_reaching,
    instants_of,
    order_by_slot,
    running_maximum,
    sort_piece,
)
from stream_detector.detection.grid.steady import (
    has_short_way,
    parts_within_slack,
    take_records,
    take_steady,
    takes_rows,
)

LOOK_AHEAD = 16_384
"""Readings a piece: enough for the array operations to pay, and the temporary arrays stay in the cache."""

LEAST_AHEAD = 512

UNUSABLE = -(2**62)
"""Stands for the place of a cell that the ring does not hold."""


class Tally(Struct):
    """The records of the readings that were late or duplicate, one entry a reading; all others are windowed."""

    late: list[Ints] = field(default_factory=list)
    duplicate: list[Ints] = field(default_factory=list)


class Intake:
    """Drives a grid. `offsets` of a batch give the Kafka offset of each of its records."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.tally = Tally()
        self._mark = np.empty(0, np.int16)

    def take(self, readings: Records | Readings, offsets: Ints) -> Iterator[Closings | Stretches]:
        """Takes readings of admitted assets, records the short way where there is one; yields as `take_readings`."""
        if isinstance(readings, Readings):
            yield from self.take_readings(readings, offsets)
            return
        if has_short_way(self._grid, readings):
            yield from self._take_whole(readings, offsets)
            return
        apart = readings.apart()
        scans = scans_of(self._grid, apart) if takes_rows(self._grid) else None
        yield from self._take_pieces(apart, offsets) if scans is None else self._take_scans(apart, scans, offsets)

    def _take_whole(self, records: Records, offsets: Ints) -> Iterator[Closings | Stretches]:
        for chosen in parts_within_slack(self._grid, records):
            part = records.select(chosen)
            closings, taken = take_records(self._grid, part, offsets)
            if len(closings):
                yield closings
            if not taken.all():
                yield from self.take_readings(part.select(~taken).apart(), offsets)

    def _take_scans(self, readings: Readings, scans: Scans, offsets: Ints) -> Iterator[Closings | Stretches]:
        """Of each asset what comes before its scans, then scans that go on steadily, then its rest."""
        if scans.before.any():
            yield from self._take_pieces(readings.take(np.flatnonzero(scans.before)), offsets)
        rest, sensors = ~scans.before, np.arange(self._grid.sensors)
        for chosen in parts_within_slack(self._grid, scans.rows) if len(scans) else ():
            closings, taken = take_records(self._grid, scans.rows.select(chosen), offsets)
            if len(closings):
                yield closings
            heads = scans.head[np.flatnonzero(chosen)[taken]]
            rest[heads[:, None] + sensors] = False
            if not taken.all():
                break
        if rest.any():
            yield from self._take_pieces(readings.take(np.flatnonzero(rest)), offsets)

    def _take_pieces(self, readings: Readings, offsets: Ints) -> Iterator[Closings]:
        """Pieces of scans the short way, or anything else."""
        closings = take_cut_scans(self._grid, readings, offsets) if takes_rows(self._grid) else None
        if closings is None:
            yield from self.take_readings(readings, offsets)
        elif len(closings):
            yield closings

    def take_readings(self, readings: Readings, offsets: Ints) -> Iterator[Closings]:
        """Takes readings of admitted assets; yields what closes, round by round, while the grid is in that state."""
        begin, ahead = 0, LOOK_AHEAD
        while begin < len(readings):
            steady = take_steady(self._grid, readings, begin, offsets)
            if steady is not None:
                begin += len(steady)
                yield steady
                continue
            piece, taken = self._cut(readings.take(slice(begin, begin + ahead)))
            begin += taken
            # Sorting far more than can be taken would cost more than taking it.
            ahead = min(LOOK_AHEAD, max(2 * taken, LEAST_AHEAD))
            yield from self._take_piece(piece, offsets)

    def _cut(self, ahead: Readings) -> tuple[SortedReadings, int]:
        """The longest piece in which no asset goes on by more than the slack after its first reading."""
        grid = self._grid
        instants = instants_of(grid, ahead)
        slot = instants.slot
        order = order_by_slot(grid, slot)
        piece = sort_piece(grid, instants, order)
        beyond = piece.newest_step > (piece.base_step + grid.slack)[piece.asset_index]
        if not beyond.any():
            return piece, len(ahead)
        taken = int(order[beyond].min())
        return sort_piece(grid, instants, order[order < taken]), int(instants.heads[taken])

    def _take_piece(self, piece: SortedReadings, offsets: Ints) -> Iterator[Closings]:
        grid = self._grid
        final = group_ends(piece.starts, len(piece.step))
        jumps = piece.step[piece.starts] > grid.positions.newest[piece.slots] + grid.slack
        if jumps.any():
            yield self._jump(piece, jumps)
        self._note_offsets(piece, final, offsets)
        grid.open_rows(piece.slots, piece.newest_step[final])

        late = piece.step < piece.horizon_before
        usable = (piece.step >= piece.horizon_before - grid.history) & ~piece.is_event
        base = np.where(usable, grid.rows(piece.slot, piece.step) * grid.sensors, UNUSABLE)
        cell = base[piece.instant] + piece.sensor
        writes = self._tell_apart(piece, late, cell)
        fills = np.zeros(len(late), np.bool_)
        if late.any():
            fills[piece.instant[writes & late[piece.instant]]] = True
        if not (piece.is_event.any() or fills.any()):
            yield self._round(piece, np.arange(len(late)), np.flatnonzero(writes), cell, writes)
            return
        boundary = piece.is_event.copy()
        boundary[1:] |= fills[1:] & ~fills[:-1]
        boundary[piece.starts] = False
        passed = np.cumsum(boundary)
        turn: Ints = passed - passed[piece.starts][piece.asset_index]
        rounds = _split(turn)
        written = np.flatnonzero(writes)
        by_turn = dict.fromkeys(range(len(rounds)), written[:0])
        for chosen in _split(turn[piece.instant[written]]):
            by_turn[int(turn[piece.instant[written[chosen[0]]]])] = written[chosen]
        for number, members in enumerate(rounds):
            yield self._round(piece, members, by_turn[number], cell, writes)

    def _tell_apart(self, piece: SortedReadings, late: Bools, cell: Ints) -> Bools:
        """Count the readings by rules 2 and 3; (N,) which of them are written."""
        usable = np.flatnonzero(cell >= 0)
        late = late[piece.instant]
        again, write = self._repeats(piece, usable, cell[usable], late[usable])
        duplicate, writes = np.zeros(len(cell), np.bool_), np.zeros(len(cell), np.bool_)
        duplicate[usable], writes[usable] = again, write
        if again.any():
            self.tally.duplicate.append(piece.record[usable[again]])
        if late.any():
            self.tally.late.append(piece.record[late & ~duplicate & ~piece.is_event[piece.instant]])
        return writes

    def _jump(self, piece: SortedReadings, jumps: Bools) -> Closings:
        """Close what the first reading of these assets leaves behind, before its row is cleared for new steps."""
        grid, slots = self._grid, piece.slots[jumps]
        grid.positions.horizon[slots] = piece.horizon[piece.starts[jumps]]
        closings = grid.close_by_watermark(slots)
        first = np.empty(grid.capacity, np.int64)
        first[slots] = piece.first_record(piece.starts[jumps])
        return replace(closings, record=first[closings.slot])

    def _note_offsets(self, piece: SortedReadings, final: Ints, offsets: Ints) -> None:
        grid = self._grid
        begin = np.maximum(grid.positions.newest[piece.slots] + 1, piece.newest_step[final] + 1 - grid.offset_memory)
        count = np.maximum(piece.newest_step[final] + 1 - begin, 0)
        owner, place = members_of(count)
        if not len(owner):
            return
        steps = place + begin[owner]
        where = first_reaching(piece, owner, steps)
        grid.note_offsets(piece.slots[owner], steps, offsets[piece.first_record(where)])

    def _repeats(self, piece: SortedReadings, usable: Ints, cell: Ints, late: Bools) -> tuple[Bools, Bools]:
        """Rule 3, for the readings `usable` in their `cell`: which are duplicates, and which are written."""
        grid = self._grid
        filled = grid.flat_reported[cell]
        if grid.complete:
            if len(self._mark) < len(grid.flat_reported):
                self._mark = np.zeros(len(grid.flat_reported), np.int16)
            # Of several assignments to one cell the last one stays, hence from the back: the first reading's place.
            self._mark[cell[::-1]] = usable[::-1]
            duplicate = filled | (self._mark[cell] != usable)
            return duplicate, ~duplicate
        order = np.argsort(cell, kind="stable")
        cell, late, filled = cell[order], late[order], filled[order]
        first = first_of_groups(cell)
        rank = np.cumsum(first) - 1
        instant = piece.instant[usable[order]]
        width = 4.0 * grid.steps.step_seconds
        start = piece.step[instant] * grid.steps.step_seconds
        time = piece.time[instant] - start
        # Rings are not cleared: what an empty cell holds is no number to reckon with.
        known = np.where(filled, grid.flat_time[cell], start)
        before_piece = np.where(filled, known - start, -grid.steps.step_seconds)
        # All times of a cell lie within one step, so a cell's rank keeps them apart in one running maximum.
        running = np.maximum.accumulate(np.maximum(time, before_piece) + rank * width)
        before = np.empty_like(running)
        before[1:] = running[:-1]
        before[first] = (before_piece + rank * width)[first]
        taken = filled | ~first
        own = time + rank * width
        again = np.where(late, taken, taken & (own == before))
        write = ~again & ~(taken & (own < before))
        duplicate, written = np.empty_like(again), np.empty_like(write)
        duplicate[order], written[order] = again, write
        return duplicate, written

    def _round(self, piece: SortedReadings, members: Ints, chosen: Ints, cell: Ints, writes: Bools) -> Closings:
        """Write the readings `chosen` of the instants `members` (ascending, so sorted by slot), then close."""
        grid = self._grid
        cells = cell[chosen]
        grid.flat_values[cells] = piece.value[chosen]
        grid.flat_reported[cells] = True
        if not grid.complete:
            grid.flat_time[cells] = piece.time[piece.instant[chosen]]
        rank = piece.asset_index[members]
        starts = np.flatnonzero(first_of_groups(rank))
        final = members[group_ends(starts, len(members))]
        slots = piece.slots[piece.asset_index[final]]
        parts = self._events(piece, members[piece.is_event[members]])
        grid.positions.horizon[slots] = piece.horizon[final]
        grid.positions.newest[slots] = piece.newest_step[final]
        latest = np.maximum.reduceat(piece.time[members], starts)
        grid.positions.watermark[slots] = np.maximum(grid.positions.watermark[slots], latest)

        parts.append(self._close(piece, slots, cell, writes, members[starts]))
        return concatenate(parts)

    def _close(self, piece: SortedReadings, slots: Ints, cell: Ints, writes: Bools, begins: Ints) -> Closings:
        """Close what these slots can close. `begins`: (N,) instant with which this round begins for each."""
        grid = self._grid
        begin, rank = np.empty(grid.capacity, np.int64), np.empty(grid.capacity, np.int64)
        begin[slots], rank[slots] = piece.sorted_position[begins], piece.asset_index[begins]
        first_step = np.empty(grid.capacity, np.int64)
        first_step[slots] = grid.positions.next_step[slots]
        closings = grid.close_by_watermark(slots)
        if grid.complete:
            parts = [closings]
            while len(slots):
                slots, part = grid.close_one_complete(slots)
                parts.append(part)
            closings = concatenate(parts)
        if not len(closings):
            return closings
        closings = select(closings, np.lexsort((closings.step, closings.slot)))
        ranks = rank[closings.slot]
        place = self._settled(piece, closings, ranks, cell, writes)
        follows = np.zeros(len(closings), np.bool_)
        follows[1:] = (closings.slot[1:] == closings.slot[:-1]) & (closings.step[1:] == closings.step[:-1] + 1)
        after_empty = ~follows & (closings.step > first_step[closings.slot])
        if after_empty.any():
            empty = _positions(piece, first_past(piece, ranks[after_empty], closings.step[after_empty] - 1))
            place[after_empty] = np.maximum(place[after_empty], empty)
        # Steps close in order: none before the one before it.
        place = running_maximum(place, begin[piece.slots], ranks)
        return replace(closings, record=piece.record_at(place))

    def _settled(self, piece: SortedReadings, closings: Closings, ranks: Ints, cell: Ints, writes: Bools) -> Ints:
        """(N,) position of the reading with which all steps up to this one are past their lateness or reported."""
        grid = self._grid
        place = _positions(piece, first_past(piece, ranks, closings.step))
        if not grid.complete:
            return place
        dead = grid.dead(closings.slot, closings.step, closings.run_start)
        sensors = np.arange(grid.sensors)
        settled = np.zeros_like(place)
        for back in range(grid.steps.lateness_steps):
            rows = grid.rows(closings.slot, closings.step - back)
            reported = grid.reported_rows[rows]
            wanted = rows[:, None] * grid.sensors + sensors
            brought = np.minimum(self._mark[wanted], len(cell) - 1)
            ours = (cell[brought] == wanted) & writes[brought]
            position = piece.position(brought)
            complete = np.where(ours & ~dead, position, 0).max(axis=1)
            if back == 0:
                # Though all sensors be dead, somebody must have reported the step.
                somebody = np.where(reported, np.where(ours, position, 0), len(cell)).min(axis=1)
                complete = np.maximum(complete, somebody)
            complete = np.where((reported | dead).all(axis=1), complete, len(cell))
            passed = place if back == 0 else _positions(piece, first_past(piece, ranks, closings.step - back))
            settled = np.maximum(settled, np.minimum(passed, complete))
        return settled

    def _events(self, piece: SortedReadings, members: Ints) -> list[Closings]:
        """Mark the steps of events; the run ends at once where the step has closed already."""
        if not len(members):
            return []
        grid, slots, steps = self._grid, piece.slot[members], piece.step[members]
        closed = steps < grid.positions.next_step[slots]
        grid.event_rows[grid.rows(slots[~closed], steps[~closed])] = True
        if not closed.any():
            return []
        grid.end_runs(slots[closed])
        kind = np.full(int(closed.sum()), LATE_EVENT, np.int8)
        return [
            Closings(
                kind,
                slots[closed],
                steps[closed],
                grid.positions.next_step[slots[closed]],
                piece.first_record(members[closed]),
            )
        ]


def _positions(piece: SortedReadings, places: Ints) -> Ints:
    """Where the first readings of these instants lie among the readings sorted by slot; behind all: their number."""
    return np.append(piece.sorted_position, len(piece.instant))[places]


def _split(turn: Ints) -> list[Ints]:
    """The places of each turn, turns and places ascending."""
    order = np.argsort(turn, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(turn[order])) + 1) if len(order) else []
