"""Rows of planned downtime, which are left out of a file as if they were not there."""

from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from stream_detector.operations.downtime.calendar_file import read_calendar
from trainer.data.dataset import Dataset
from trainer.recipe import DataConfig, PlannedSpan


def without_planned(dataset: Dataset, spans: tuple[PlannedSpan, ...], asset: str | None = None) -> Dataset:
    """The dataset without the rows in these spans. asset: its name, where the dataset does not tell of any; without
    one every span counts."""
    left_out = np.zeros(len(dataset), dtype=bool)
    for name, rows in dataset.by_asset():
        own = name or asset
        times = dataset.times[rows]
        for span in spans:
            if own is None or fnmatchcase(own, span.assets):
                left_out[rows] |= (times >= span.begin) & (times < span.until)
    return dataset if not left_out.any() else dataset.take(~left_out)


def leave_out_planned(
    dataset: Dataset, config: DataConfig, calendar: Path | None, asset: str | None = None
) -> tuple[Dataset, DataConfig]:
    """The dataset without what its recipe and the calendar plan; the recipe's data section then names all of it.

    So that a bundle's own file is split as it was when it was fitted, whoever reads it later.

    Raises:
        UsageError: the calendar cannot be read.
    """
    spans = config.planned
    if calendar is not None and len(dataset):
        found = read_calendar(calendar).between(float(dataset.times.min()), float(dataset.times.max()) + 1e-6)
        new = [PlannedSpan(assets=window.assets, begin=window.begin, until=window.until) for window in found]
        spans = tuple(dict.fromkeys((*spans, *new)))
    return without_planned(dataset, spans, asset), config.model_copy(update={"planned": spans})


def rows_planned(before: Dataset, after: Dataset) -> list[str]:
    """How many rows were left out, as a note; nothing where none were."""
    count = len(before) - len(after)
    return [f"left out {count:,} of {len(before):,} rows, which lie in planned downtime"] if count else []
