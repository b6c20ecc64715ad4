"""Stress files: the same file with other break rates, in another order, or with breaks that are told late.

Each protocol turns a file into another one that is judged like the first. Removing events thins a point process, which
keeps its character and scales its rate (Lewis and Shedler 1979). An event that never happened had no forewarning
either: the rows before it go with it. Where days that did not follow one another meet, the plant has not moved from one
to the other: a run ends there.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trainer.backtesting.folds import SECONDS_PER_DAY
from trainer.data.dataset import Dataset

THINNED_TO = 0.5
TOLD_LATE_SECONDS = 3_600.0
FOREWARNING_SECONDS = 3_600.0
"""So long before an event that is taken out the rows may tell of it."""


def rate_doubled(dataset: Dataset, start: float, seed: int, gap_seconds: float) -> Dataset:  # noqa: ARG001
    """Half of the events before `start` never happened: the rate doubles when judging begins."""
    return _thinned(dataset, dataset.times < start, seed)


def rate_halved(dataset: Dataset, start: float, seed: int, gap_seconds: float) -> Dataset:  # noqa: ARG001
    """Half of the events from `start` on never happened."""
    return _thinned(dataset, dataset.times >= start, seed)


def change_point(dataset: Dataset, start: float, seed: int, gap_seconds: float) -> Dataset:  # noqa: ARG001
    """The second half of the days comes first: the plant of a fortnight ago follows on that of today."""
    days = _days(dataset)
    present = np.unique(days)
    half = len(present) // 2
    return _reordered(dataset, [*present[half:].tolist(), *present[:half].tolist()], gap_seconds)


def days_reversed(dataset: Dataset, start: float, seed: int, gap_seconds: float) -> Dataset:  # noqa: ARG001
    """The last day comes first; within a day time runs as it did."""
    return _reordered(dataset, np.unique(_days(dataset))[::-1].tolist(), gap_seconds)


def told_late(dataset: Dataset, start: float, seed: int, gap_seconds: float) -> Dataset:  # noqa: ARG001
    """Every event is told an hour after it happened, as where people log them.

    The rate of a head and the fits hear of it then. Runs and clocks among the features are read in time: a machine
    that stands still after its event leaves a gap, which needs no telling.
    """
    return replace(dataset, name=f"{dataset.name}, events told an hour late", told_late_seconds=TOLD_LATE_SECONDS)


PROTOCOLS: dict[str, Callable[[Dataset, float, int, float], Dataset]] = {
    "rate doubled": rate_doubled,
    "rate halved": rate_halved,
    "change point": change_point,
    "days reversed": days_reversed,
    "told an hour late": told_late,
}
"""Name -> file, start of the judging (epoch seconds), seed and the seconds without a row that end a run -> the file as
it might have been."""


def _thinned(dataset: Dataset, where: NDArray[np.bool_], seed: int) -> Dataset:
    """Half of the events there, drawn at random, is taken out with the rows that foretold it, up to the event before.

    They leave a gap, so runs end where they did.
    """
    events = np.flatnonzero(dataset.events & where)
    removed = np.random.default_rng(seed).permutation(events)[: round(len(events) * (1 - THINNED_TO))]
    remaining = np.setdiff1d(np.flatnonzero(dataset.events), removed)
    kept = np.ones(len(dataset), dtype=bool)
    for event in removed.tolist():
        first = int(np.searchsorted(dataset.times, dataset.times[event] - FOREWARNING_SECONDS))
        before = remaining[remaining < event]
        kept[max(first, int(before[-1]) + 1 if len(before) else 0) : event + 1] = False
    return replace(dataset.take(kept), name=f"{dataset.name} with {len(removed)} events less")


def _reordered(dataset: Dataset, order: list[int], gap_seconds: float) -> Dataset:
    """The days in another order, on the same dates; each keeps its times of day.

    Where the next day is another than it was, the last `gap_seconds` of a day are left out but for its events.
    """
    days = _days(dataset)
    dates = np.unique(days)
    following = dict(pairwise(order))
    seam = np.array([following.get(int(day), int(day) + 1) != day + 1 for day in dates])[np.searchsorted(dates, days)]
    last = dataset.times >= (days + 1) * SECONDS_PER_DAY - gap_seconds
    kept = ~(seam & last) | dataset.events
    pieces = [dataset.take((days == day) & kept) for day in order]
    times = [
        piece.times + (date - day) * SECONDS_PER_DAY for piece, day, date in zip(pieces, order, dates, strict=True)
    ]
    labels = None if dataset.labels is None else np.concatenate([p.labels for p in pieces if p.labels is not None])
    return replace(
        dataset,
        name=f"{dataset.name}, days in another order",
        times=np.concatenate(times),
        values=np.concatenate([piece.values for piece in pieces]),
        labels=labels,
    )


def _days(dataset: Dataset) -> NDArray[np.int64]:
    return np.floor(dataset.times / SECONDS_PER_DAY).astype(np.int64)
