"""Readings in the order of the log, and pieces of them sorted by asset, with how far each asset had come by then."""

from dataclasses import dataclass, fields

import numpy as np

from stream_detector.detection.grid.grid import Bools, Floats, Grid, Ints

EVENT_SENSOR = -1
"""Stands in `sensor` for an event."""

_RANK_BITS = 40
"""Keys are (rank of the slot << 40) + steps: one running maximum serves all slots of a piece."""


@dataclass(frozen=True, slots=True)
class Readings:
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
        return Readings(*(getattr(self, field.name)[index] for field in fields(self)))

    @staticmethod
    def join(parts: "list[Readings]") -> "Readings":
        return Readings(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Readings)))


@dataclass(frozen=True, slots=True)
class Instants:
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
    """What is asked of an instant need not be asked of each of its readings."""
    slot, time = readings.slot, readings.time
    changes = (slot[1:] != slot[:-1]) | (time[1:] != time[:-1])
    event = readings.sensor == EVENT_SENSOR
    if event.any():
        changes |= event[1:] | event[:-1]
    heads = np.append(0, np.flatnonzero(changes) + 1)
    if len(heads) < len(readings):
        slot, time = slot[heads], time[heads]
    return Instants(readings, heads, slot, time, grid.steps.step_of(time))


@dataclass(frozen=True, slots=True)
class Piece:
    """Instants (M,) sorted by slot, and their readings (N,) in the order of the log.

    `slot`, `time`, `step`, `event`: (M,). `rank`: (M,) number of the slot among `slots`; `starts`: where each
    begins. `reached`: (M,) newest step of the asset with this instant, not below `reached_base` of the slot. `horizon`:
    (M,) first step not past its lateness with it, not below `horizon_base` of the slot. `head`, `begin`: (M,) the
    instant's first reading in the log, and its position among the readings sorted by slot. `at`: (N,) place of each
    reading's instant. `record`: (N,).
    """

    slot: Ints
    time: Floats
    step: Ints
    event: Bools
    rank: Ints
    starts: Ints
    slots: Ints
    reached: Ints
    reached_base: Ints
    horizon: Ints
    horizon_base: Ints
    horizon_before: Ints
    head: Ints
    begin: Ints
    at: Ints
    record: Ints
    sensor: Ints
    value: Floats

    def first_record(self, places: Ints) -> Ints:
        """Record of the first reading of these instants."""
        return self.record[self.head[places]]

    def position(self, readings: Ints) -> Ints:
        """Where these readings lie among the readings sorted by slot."""
        places = self.at[readings]
        return self.begin[places] + readings - self.head[places]

    def record_at(self, positions: Ints) -> Ints:
        """The opposite: record of the readings at these positions."""
        places = np.searchsorted(self.begin, positions, side="right") - 1
        records: Ints = self.record[self.head[places] + positions - self.begin[places]]
        return records


def sort_piece(grid: Grid, ahead: Instants, order: Ints) -> Piece:
    """The first len(order) instants; `order` sorts them by slot and is stable."""
    slot, step, time = ahead.slot[order], ahead.step[order], ahead.time[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = slot[1:] != slot[:-1]
    starts = np.flatnonzero(first)
    rank = np.cumsum(first) - 1
    slots = slot[starts]
    horizon = grid.steps.horizon_of(time, step)
    horizon_base = np.maximum(grid.horizon[slots], horizon[starts])
    running = running_maximum(horizon, horizon_base, rank)
    before = np.empty_like(running)
    before[1:] = running[:-1]
    before[starts] = grid.horizon[slots]
    # Only a jump closes what lies behind before anything is written; else the slack counts from the newest step.
    newest, began = grid.newest[slots], step[starts]
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
        length = np.diff(heads[: len(order)], append=count)
        at, length = np.repeat(place, length), length[order]
        begin = np.cumsum(length) - length
    return Piece(
        slot=slot,
        time=time,
        step=step,
        event=readings.sensor[head] == EVENT_SENSOR,
        rank=rank,
        starts=starts,
        slots=slots,
        reached=reached,
        reached_base=reached_base,
        horizon=running,
        horizon_base=horizon_base,
        horizon_before=before,
        head=head,
        begin=begin,
        at=at,
        record=readings.record[:count],
        sensor=readings.sensor[:count],
        value=readings.value[:count],
    )


def running_maximum(values: Ints, base: Ints, rank: Ints) -> Ints:
    """Running maximum within each rank, at least `base` of it and at most 2**39 more, which is beyond any slack."""
    above = np.clip(values - base[rank], 0, 2**39)
    running = np.maximum.accumulate((rank << _RANK_BITS) + above)
    result: Ints = running - (rank << _RANK_BITS) + base[rank]
    return result


def first_past(piece: Piece, ranks: Ints, steps: Ints) -> Ints:
    """Places in the piece with which each step, of the slot of this rank, is past its lateness."""
    return _first_at_least(piece, piece.horizon, piece.horizon_base, ranks, steps + 1)


def first_reaching(piece: Piece, ranks: Ints, steps: Ints) -> Ints:
    """Places in the piece that first reach each step, of the slot of this rank."""
    return _first_at_least(piece, piece.reached, piece.reached_base, ranks, steps)


def _first_at_least(piece: Piece, running: Ints, base: Ints, ranks: Ints, wanted: Ints) -> Ints:
    keys = (piece.rank << _RANK_BITS) + np.maximum(running - base[piece.rank], 0)
    places: Ints = np.searchsorted(keys, (ranks << _RANK_BITS) + np.maximum(wanted - base[ranks], 0))
    return places
