"""The calibrated recipe on the public paper-mill file: what it reads, and that its features cannot know the future."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.data.dataset import Dataset, read_dataset
from trainer.fitting.head_rows import read_rows
from trainer.head_options import recipe_features
from trainer.recipe import Recipe, load_recipe


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("paper-mill-calibrated")


@pytest.fixture(scope="module")
def mill(shared_data: Path, recipe: Recipe) -> Dataset:
    """The first two days."""
    data = read_dataset(shared_data / "papermill" / "process_data_dev.csv.gz", recipe.data)
    return data.take(np.arange(len(data)) < 1400)


@pytest.mark.slow
def test_the_sensor_that_tells_the_break_is_no_input(mill: Dataset, recipe: Recipe) -> None:
    assert "x61" not in mill.sensors
    assert not any("x61" in name for name in recipe_features(recipe, mill.sensors).names)


@pytest.mark.slow
def test_taking_later_rows_away_changes_no_feature(mill: Dataset, recipe: Recipe) -> None:
    def features(data: Dataset) -> NDArray[np.float32]:
        return read_rows(data, recipe.grid, recipe.window, recipe.lead, recipe_features(recipe, data.sensors)).features

    whole = features(mill)
    for rows in (500, 901, 1250):
        np.testing.assert_array_equal(features(mill.take(np.arange(len(mill)) < rows)), whole[:rows])


@pytest.mark.slow
def test_every_row_that_is_no_break_is_scored(mill: Dataset, recipe: Recipe) -> None:
    rows = read_rows(mill, recipe.grid, recipe.window, recipe.lead, recipe_features(recipe, mill.sensors))
    assert rows.scorable.sum() == (~mill.events).sum()
    assert rows.event.sum() == mill.events.sum()
    assert rows.positive.sum() <= 2 * mill.events.sum()
