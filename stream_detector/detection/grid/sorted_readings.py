"""Readings in the order of the log, and pieces of them sorted by asset, with how far each asset had come by then."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import astuple, replace

from stream_detector.detection.grid.contents import EVENT_SENSOR, Contents, joined
from stream_detector.detection.grid.grid import Bools, Floats, Grid, Ints
from stream_detector.detection.grid.groups import first_of_groups, group_ends

_RANK_BITS = 40
"""Keys are (rank of the slot << 40) + steps: one running maximum serves all slots of a piece."""


class Readings(Struct, frozen=True):
    """N readings (or events) in the order of the log.

    `slot`, `sensor` (EVENT_SENSOR: an event), `record`: (N,) ints; `record` is the index of the record in its batch.
    `time`: (N,) epoch seconds. `value`: (N,), NaN = missing.
    """

    slot: Ints
    sensor: Ints
    time: Floats
    value: Floats
    record: Ints

    def __len__(self) -> int:
        return len(self.slot)

    def take(self, index: Ints | slice) -> "Readings":
        return Readings(*(array[index] for array in astuple(self)))

    def renumbered(self, begin: int) -> "Readings":
        """The same, where records count from `begin` on."""
        return replace(self, record=self.record + begin) if begin else self

    @staticmethod
    def join(parts: "Sequence[Readings]") -> "Readings":
        return Readings(*map(np.concatenate, zip(*map(astuple, parts), strict=True)))


class Records(Struct, frozen=True):
    """R decoded records in the order of the log. `slot`, `place`: (R,); `place` is the index of each in its batch.

    `begin`: of records that were put together of several, the place of the first one; `place` is that of the last.
    """

    slot: Ints
    place: Ints
    contents: Contents
    begin: Ints | None = None

    def __len__(self) -> int:
        return len(self.slot)

    def select(self, keep: Bools) -> "Records":
        """Those of the records (R,) that are kept."""
        if keep.all():
            return self
        begin = None if self.begin is None else self.begin[keep]
        return Records(self.slot[keep], self.place[keep], self.contents.select(keep), begin)

    def renumbered(self, begin: int) -> "Records":
        """The same, where places count from `begin` on."""
        return replace(self, place=self.place + begin) if begin else self

    @staticmethod
    def join(parts: "Sequence[Records]") -> "Records":
        """All of them, as they were decoded; their contents are of one kind."""
        return Records(
            np.concatenate([part.slot for part in parts]),
            np.concatenate([part.place for part in parts]),
            joined([part.contents for part in parts], [len(part) for part in parts]),
        )

    def apart(self) -> Readings:
        """Their readings one by one."""
        cells = self.contents.apart()
        slot, place = self.slot, self.place
        if len(cells) > len(self):  # else every record is one reading
            slot, place = slot[cells.record], place[cells.record]
        return Readings(slot, cells.sensor, cells.time, cells.value, place)


def order_by_slot(grid: Grid, slot: Ints) -> Ints:
    """(N,) places that sort slots and keep the order of each."""
    if (slot == slot[0]).all():
        return np.arange(len(slot))
    # numpy has a radix sort for the short integers.
    return np.argsort(slot.astype(np.uint16 if grid.capacity <= 65_536 else np.int64), kind="stable")


class Instants(Struct, frozen=True):
    """The M instants of N readings: neighbours of the same asset and time, such as a row, are one; an event is its own.

    `heads`: (M,) first reading of each. Lateness, and all that time moves on, is the same for every reading of an
    instant, and comes with its first.
    """

    readings: Readings
    heads: Ints
    slot: Ints
    time: Floats
    step: Ints


def instants_of(grid: Grid, readings: Readings) -> Instants:
    """Group neighbouring readings of one asset and time, so that each question is asked once an instant."""
    slot, time = readings.slot, readings.time
    changes = (slot[1:] != slot[:-1]) | (time[1:] != time[:-1])
    event = readings.sensor == EVENT_SENSOR
    if event.any():
        changes |= event[1:] | event[:-1]
    heads = np.append(0, np.flatnonzero(changes) + 1)
    if len(heads) < len(readings):
        slot, time = slot[heads], time[heads]
    return Instants(readings, heads, slot, time, grid.steps.step_of(time))


class SortedReadings(Struct, frozen=True):
    """A piece of the log: its instants sorted by slot, which keeps each asset's in the order of the log.

    Attributes:
        slot, time, step, is_event: (M,) of each instant.
        asset_index: (M,) place of its asset among `slots`.
        newest_step: (M,) newest step of the asset with this instant, not below `base_step`.
        horizon: (M,) first step that is not past its lateness with this instant, not below `base_horizon`.
        horizon_before: (M,) the same before this instant.
        first_reading: (M,) of the instant, in the order of the log.
        sorted_position: (M,) of that reading, among the readings sorted by slot.
        slots, starts, base_step, base_horizon: (K,) of each asset; `starts` is its first instant.
        instant, record, sensor, value: (N,) of each reading, in the order of the log.
    """

    slot: Ints
    time: Floats
    step: Ints
    is_event: Bools
    asset_index: Ints
    newest_step: Ints
    horizon: Ints
    horizon_before: Ints
    first_reading: Ints
    sorted_position: Ints
    slots: Ints
    starts: Ints
    base_step: Ints
    base_horizon: Ints
    instant: Ints
    record: Ints
    sensor: Ints
    value: Floats

    def first_record(self, places: Ints) -> Ints:
        """Record of the first reading of these instants."""
        return self.record[self.first_reading[places]]

    def position(self, readings: Ints) -> Ints:
        """Positions of these readings among the readings sorted by slot."""
        places = self.instant[readings]
        return self.sorted_position[places] + readings - self.first_reading[places]

    def record_at(self, positions: Ints) -> Ints:
        """The record of the readings at these positions among the sorted ones."""
        places = np.searchsorted(self.sorted_position, positions, side="right") - 1
        records: Ints = self.record[self.first_reading[places] + positions - self.sorted_position[places]]
        return records


def sort_piece(grid: Grid, ahead: Instants, order: Ints) -> SortedReadings:
    """The first len(order) instants; `order` sorts them by slot and is stable."""
    slot, step, time = ahead.slot[order], ahead.step[order], ahead.time[order]
    first = first_of_groups(slot)
    starts = np.flatnonzero(first)
    rank = np.cumsum(first) - 1
    slots = slot[starts]
    horizon = grid.steps.horizon_of(time, step)
    horizon_base = np.maximum(grid.positions.horizon[slots], horizon[starts])
    running = running_maximum(horizon, horizon_base, rank)
    before = np.empty_like(running)
    before[1:] = running[:-1]
    before[starts] = grid.positions.horizon[slots]
    # Only a jump closes what lies behind before anything is written; else the slack counts from the newest step.
    newest, began = grid.positions.newest[slots], step[starts]
    reached_base = np.where(began > newest + grid.slack, began, newest)
    reached = running_maximum(step, reached_base, rank)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    readings, heads = ahead.readings, ahead.heads
    count = int(heads[len(order)]) if len(order) < len(heads) else len(readings)
    head = heads[order]
    if len(order) == count:
        at, begin = place, np.arange(count)
    else:
        length = group_ends(heads[: len(order)], count) - heads[: len(order)] + 1
        at, length = np.repeat(place, length), length[order]
        begin = np.cumsum(length) - length
    return SortedReadings(
        slot=slot,
        time=time,
        step=step,
        is_event=readings.sensor[head] == EVENT_SENSOR,
        asset_index=rank,
        starts=starts,
        slots=slots,
        newest_step=reached,
        base_step=reached_base,
        horizon=running,
        base_horizon=horizon_base,
        horizon_before=before,
        first_reading=head,
        sorted_position=begin,
        instant=at,
        record=readings.record[:count],
        sensor=readings.sensor[:count],
        value=readings.value[:count],
    )


def running_maximum(values: Ints, base: Ints, rank: Ints) -> Ints:
    """Running maximum within each rank, at least `base` of it and at most 2**39 more, which is beyond any slack."""
    # Not `np.clip`, which takes several times as long over the few values of a small batch.
    above = np.minimum(np.maximum(values - base[rank], 0), 2**39)
    running = np.maximum.accumulate((rank << _RANK_BITS) + above)
    result: Ints = running - (rank << _RANK_BITS) + base[rank]
    return result


def first_past(piece: SortedReadings, ranks: Ints, steps: Ints) -> Ints:
    """Places in the piece with which each step, of the slot of this rank, is past its lateness."""
    return _first_at_least(piece, piece.horizon, piece.base_horizon, ranks, steps + 1)


def first_reaching(piece: SortedReadings, ranks: Ints, steps: Ints) -> Ints:
    """Places in the piece that first reach each step, of the slot of this rank."""
    return _first_at_least(piece, piece.newest_step, piece.base_step, ranks, steps)


def _first_at_least(piece: SortedReadings, running: Ints, base: Ints, ranks: Ints, wanted: Ints) -> Ints:
    keys = (piece.asset_index << _RANK_BITS) + np.maximum(running - base[piece.asset_index], 0)
    places: Ints = np.searchsorted(keys, (ranks << _RANK_BITS) + np.maximum(wanted - base[ranks], 0))
    return places
