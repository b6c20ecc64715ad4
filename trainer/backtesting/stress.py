"""Stress files: the same file with other break rates, in another order, or with breaks that are told late.

Each protocol turns a file into another one that is judged like the first. Removing events thins a point process, which
keeps its character and scales its rate (Lewis and Shedler 1979).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainer.backtesting.folds import SECONDS_PER_DAY
from trainer.data.dataset import Dataset

THINNED_TO = 0.5
TOLD_LATE_SECONDS = 3_600.0


def rate_doubled(dataset: Dataset, start: float, seed: int) -> Dataset:
    """Half of the events before `start` never happened: the rate doubles when judging begins."""
    return _thinned(dataset, dataset.times < start, seed)


def rate_halved(dataset: Dataset, start: float, seed: int) -> Dataset:
    """Half of the events from `start` on never happened."""
    return _thinned(dataset, dataset.times >= start, seed)


def change_point(dataset: Dataset, start: float, seed: int) -> Dataset:  # noqa: ARG001
    """The second half of the days comes first: the plant of a fortnight ago follows on that of today."""
    days = _days(dataset)
    present = np.unique(days)
    half = len(present) // 2
    return _reordered(dataset, [*present[half:].tolist(), *present[:half].tolist()])


def days_reversed(dataset: Dataset, start: float, seed: int) -> Dataset:  # noqa: ARG001
    """The last day comes first; within a day time runs as it did."""
    return _reordered(dataset, np.unique(_days(dataset))[::-1].tolist())


def told_late(dataset: Dataset, start: float, seed: int) -> Dataset:  # noqa: ARG001
    """Every event is told an hour after it happened, as where people log them.

    The rate of a head and the fits hear of it then. Runs and clocks among the features are read in time: a machine
    that stands still after its event leaves a gap, which needs no telling.
    """
    return replace(dataset, name=f"{dataset.name}, events told an hour late", told_late_seconds=TOLD_LATE_SECONDS)


PROTOCOLS: dict[str, Callable[[Dataset, float, int], Dataset]] = {
    "rate doubled": rate_doubled,
    "rate halved": rate_halved,
    "change point": change_point,
    "days reversed": days_reversed,
    "told an hour late": told_late,
}
"""Name -> file, start of the judging (epoch seconds) and seed -> the file as it might have been."""


def _thinned(dataset: Dataset, where: NDArray[np.bool_], seed: int) -> Dataset:
    """Half of the events there, drawn at random, is taken out; the row leaves a gap, so runs stay as they are."""
    events = np.flatnonzero(dataset.events & where)
    removed = np.random.default_rng(seed).permutation(events)[: round(len(events) * (1 - THINNED_TO))]
    kept = np.ones(len(dataset), dtype=bool)
    kept[removed] = False
    return replace(dataset.take(kept), name=f"{dataset.name} with {len(removed)} events less")


def _reordered(dataset: Dataset, order: list[int]) -> Dataset:
    """The days in another order, on the same dates; each keeps its times of day."""
    days = _days(dataset)
    dates = np.unique(days)
    pieces = [dataset.take(days == day) for day in order]
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
