"""A file as the calibrated head reads it at some moment of it: with the sensors that a fit there can use, no others.

A sensor that has not moved yet is none that a fit learns from (`trainer.data.usage`). Whoever asks what a fit of an
earlier day would have said asks for the sensors of that day.
"""

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.head.features import Features
from trainer.data.dataset import Dataset
from trainer.data.usage import idle_sensors
from trainer.fitting.head_rows import HeadRows, read_rows
from trainer.head_options import recipe_features
from trainer.recipe import Recipe

MOST_KEPT = 3
"""Readings of one file that are kept: sensors begin to move, and do not cease to have moved."""


@dataclass(frozen=True)
class ReadRows:
    """`rows` with the features of the sensors `columns` (K,) of the file; `features` made them."""

    rows: HeadRows
    columns: NDArray[np.int64]
    features: Features


@dataclass
class UsableRows:
    """`whole`: with all sensors of the file."""

    recipe: Recipe
    dataset: Dataset
    whole: ReadRows
    _kept: "OrderedDict[bytes, ReadRows]" = field(default_factory=OrderedDict)

    @classmethod
    def of(cls, recipe: Recipe, dataset: Dataset) -> "UsableRows":
        """Reads the whole file once.

        Raises:
            RecipeError: a sensor of the recipe is not there.
        """
        return cls(recipe, dataset, _read(recipe, dataset, np.arange(len(dataset.sensors))))

    def at(self, time: float) -> ReadRows:
        """As a fit reads it that knows the rows before `time` (epoch seconds)."""
        idle = idle_sensors(self.recipe, self.dataset, self.dataset.times < time)
        if not idle.any() or idle.all():
            return self.whole
        key = idle.tobytes()
        if key not in self._kept:
            self._kept[key] = _read(self.recipe, self.dataset, np.flatnonzero(~idle))
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]


def _read(recipe: Recipe, dataset: Dataset, columns: NDArray[np.int64]) -> ReadRows:
    sensors = tuple(dataset.sensors[column] for column in columns)
    features = recipe_features(recipe, sensors)
    part = (
        dataset
        if len(columns) == len(dataset.sensors)
        else replace(dataset, sensors=sensors, values=dataset.values[:, columns])
    )
    operating = recipe.operating_rule(sensors)
    return ReadRows(read_rows(part, recipe.grid, recipe.window, recipe.lead, features, operating), columns, features)
