"""Readings in the order of the log, and pieces of them sorted by asset, with how far each asset had come by then."""

from dataclasses import dataclass, fields

import numpy as np

from stream_detector.detection.grid import Floats, Grid, Ints

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
class Piece:
    """A piece sorted by slot; `rank` numbers its slots, `starts` is where each begins, `slots` are these slots."""

    readings: Readings
    step: Ints
    rank: Ints
    starts: Ints
    slots: Ints
    reached: Ints
    """(N,) newest step of the asset with this reading; not below `reached_base` of the slot."""
    reached_base: Ints
    horizon: Ints
    """(N,) first step not past its lateness with this reading; not below `horizon_base` of the slot."""
    horizon_base: Ints
    horizon_before: Ints


def sort_piece(grid: Grid, ahead: Readings, step: Ints, order: Ints) -> Piece:
    """The readings `order` of those `ahead`, which lie in `step`; the order sorts them by slot and is stable."""
    readings, step = ahead.take(order), step[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = readings.slot[1:] != readings.slot[:-1]
    starts = np.flatnonzero(first)
    rank = np.cumsum(first) - 1
    slots = readings.slot[starts]
    horizon = grid.steps.horizon_of(readings.time, step)
    horizon_base = np.maximum(grid.horizon[slots], horizon[starts])
    running = running_maximum(horizon, horizon_base, rank)
    before = np.empty_like(running)
    before[1:] = running[:-1]
    before[starts] = grid.horizon[slots]
    # Only a jump closes what lies behind before anything is written; else the slack counts from the newest step.
    newest, began = grid.newest[slots], step[starts]
    reached_base = np.where(began > newest + grid.slack, began, newest)
    reached = running_maximum(step, reached_base, rank)
    return Piece(readings, step, rank, starts, slots, reached, reached_base, running, horizon_base, before)


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
