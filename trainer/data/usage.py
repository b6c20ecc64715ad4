"""Finds the part of a file that a fit can use: rows that count, and sensors that move where the model learns."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig
from stream_detector.detection.grid.steps import Steps
from stream_detector.errors import DataError
from trainer.data.dataset import Dataset
from trainer.data.split import split_rows
from trainer.head_options import head_options
from trainer.recipe import Recipe

FAR_OUT = 100.0
"""A value this many training spreads off the training mean is worth a note."""

NAMED = 8


def usable(recipe: Recipe, dataset: Dataset) -> tuple[Dataset, list[str]]:
    """The dataset without sensors that are constant or empty where the model learns, and notes for people.

    A sensor that never moved in the training part has no scale: its first movement afterwards would outweigh every
    other sensor, though nobody knows what it means. Those that say when the machine runs, or what it makes, are kept
    all the same.

    Raises:
        DataError: less than `data.least_rows_used` of the rows count, or no sensor is left.
    """
    _demand_rows(recipe, dataset)
    train = split_rows(recipe.split, len(dataset), recipe.train.seed, dataset.parts).train
    idle = idle_sensors(recipe, dataset, train)
    notes = []
    if idle.all():
        raise DataError(f"{dataset.name}: every sensor is constant or empty in the part that is learnt from")
    if idle.any():
        names = [name for name, off in zip(dataset.sensors, idle, strict=True) if off]
        notes.append(f"left out {len(names)} sensors that are constant or empty in the training part: {_some(names)}")
        kept = tuple(name for name, off in zip(dataset.sensors, idle, strict=True) if not off)
        dataset = replace(dataset, sensors=kept, values=dataset.values[:, ~idle])
    return dataset, notes + ([] if recipe.scaler.clip is not None else _strangers(dataset, train))


def idle_sensors(recipe: Recipe, dataset: Dataset, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(F,) the sensors that are constant or empty in these rows (N,), but for those that the recipe names.

    Those say when the machine runs, or what it makes.
    """
    idle = _idle(dataset.values[rows])
    rule = recipe.operating_rule(dataset.sensors)
    if rule is not None:
        idle[rule.columns] = False
    grade = None if recipe.head is None else head_options(recipe).features.grade
    if grade in dataset.sensors:
        idle[dataset.sensors.index(grade)] = False
    return idle


def rows_used(times: NDArray[np.float64], grid: GridConfig) -> int:
    """How many rows the grid can use: one a step where it closes `complete`, one a time elsewhere."""
    if grid.kind == "time" and grid.close == "complete":
        return len(np.unique(Steps(grid).step_of(times)))
    return len(np.unique(times))


def usage_in_words(recipe: Recipe, read: int, dataset: Dataset) -> str:
    """How many of the rows that were read count, beside the steps that they are put into."""
    used = len(dataset)
    if not _on_a_grid_of_time(recipe):
        return f"{used:,} of {read:,} rows"
    return f"{_rows_that_count(recipe, dataset):,} of {read:,} rows, in steps of {recipe.grid.step_seconds:g} s"


def _on_a_grid_of_time(recipe: Recipe) -> bool:
    return recipe.data.time_column is not None and recipe.grid.kind == "time"


def _rows_that_count(recipe: Recipe, dataset: Dataset) -> int:
    return sum(rows_used(dataset.times[rows], recipe.grid) for _, rows in dataset.by_asset())


def _demand_rows(recipe: Recipe, dataset: Dataset) -> None:
    if not _on_a_grid_of_time(recipe):
        return
    used = _rows_that_count(recipe, dataset)
    least = recipe.data.least_rows_used
    if used >= least * len(dataset):
        return
    equal = len(dataset) - sum(len(np.unique(dataset.times[rows])) for _, rows in dataset.by_asset())
    step = dataset.report.median_step_seconds
    why = (
        f"{equal:,} rows have the time of an earlier row; several machines (asset_column), long form "
        '(form = "long"), or dates without a clock?'
        if 2 * equal > len(dataset) - used
        else f"rows are {step:g} s apart and grid.step_seconds is {recipe.grid.step_seconds:g}; a grid that closes "
        '"watermark" takes the last of them'
    )
    raise DataError(
        f"{dataset.name}: only {used:,} of {len(dataset):,} rows can be used: {why}. Mend the recipe, or set "
        f"data.least_rows_used below {used / len(dataset):.2g} to fit all the same"
    )


def _idle(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    missing = np.isnan(values)
    low = np.where(missing, np.inf, values).min(axis=0)
    high = np.where(missing, -np.inf, values).max(axis=0)
    return np.asarray(low >= high)


def _strangers(dataset: Dataset, train: NDArray[np.bool_]) -> list[str]:
    """Sensors that hardly moved in the training part and go far out of its range later."""
    known, rest = dataset.values[train], dataset.values[~train]
    if not len(rest):
        return []
    with np.errstate(all="ignore"):
        center, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        far = np.nanmax(np.abs(rest - center), axis=0, initial=0.0, where=np.isfinite(rest)) > FAR_OUT * spread
    names = [name for name, out in zip(dataset.sensors, far, strict=True) if out]
    if not names:
        return []
    note = (
        f"{len(names)} sensors go more than {FAR_OUT:g} training spreads out of their range after the training part, "
        f"and will outweigh the others: {_some(names)}; give a longer file, set scaler.clip, or drop them"
    )
    return [note]


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f", ... ({len(names)} in all)" if len(names) > NAMED else "")
