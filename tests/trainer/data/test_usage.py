"""What of a file a fit can use, and when it stops."""

from pathlib import Path

import numpy as np
import pytest

from stream_detector.errors import DataError, RecipeError
from trainer.data.dataset import read_dataset
from trainer.data.usage import usable, usage_in_words
from trainer.recipe import Recipe


def recipe(**data: object) -> Recipe:
    return Recipe.model_validate(
        {"name": "plant", "title": "a plant", "data": data, "grid": {"step_seconds": 60}, "window": {"steps": 2}}
    )


def write(folder: Path, rows: list[str]) -> Path:
    path = folder / "plant.csv"
    path.write_text("time,a,b\n" + "\n".join(rows) + "\n")
    return path


def test_a_sensor_that_is_constant_where_the_model_learns_is_left_out_and_named(tmp_path: Path) -> None:
    rows = [f"{minute * 60},{minute % 7},{5 if minute < 90 else 6}" for minute in range(100)]
    given = recipe()
    dataset, notes = usable(given, read_dataset(write(tmp_path, rows), given.data))
    assert dataset.sensors == ("a",)
    assert dataset.values.shape == (100, 1)
    assert "constant or empty in the training part: b" in notes[0]


def test_a_sensor_that_says_when_the_machine_runs_is_kept_though_it_never_moved(tmp_path: Path) -> None:
    rows = [f"{minute * 60},{minute % 7},1" for minute in range(100)]
    given = Recipe.model_validate({**recipe().model_dump(), "operating": {"when": "b == 1"}})
    dataset, _ = usable(given, read_dataset(write(tmp_path, rows), given.data))
    assert dataset.sensors == ("a", "b")
    wrong = Recipe.model_validate({**recipe().model_dump(), "operating": {"when": "c == 1"}})
    with pytest.raises(
        RecipeError, match=r"names the sensor 'c', which is none of the 2 sensors.* columns that are read"
    ):
        usable(wrong, dataset)


def test_the_sensor_that_says_what_is_made_is_kept_though_one_product_was_made_so_far(tmp_path: Path) -> None:
    rows = [f"{minute * 60},{minute % 7},{7 if minute < 95 else 8}" for minute in range(100)]
    head = {"kind": "calibrated", "options": {"features": {"grade": "b"}}}
    sections = {**recipe().model_dump(exclude_unset=True), "threshold": {"policy": "probability"}, "head": head}
    given = Recipe.model_validate(sections)
    dataset, _ = usable(given, read_dataset(write(tmp_path, rows), given.data))
    assert dataset.sensors == ("a", "b")


def test_a_sensor_that_hardly_moved_and_then_does_is_noted(tmp_path: Path) -> None:
    rows = [f"{minute * 60},{minute % 7},{0.001 * (minute % 3) if minute < 90 else -14}" for minute in range(100)]
    given = recipe()
    dataset, notes = usable(given, read_dataset(write(tmp_path, rows), given.data))
    assert dataset.sensors == ("a", "b")
    assert "1 sensors go more than 100 training spreads out of their range" in notes[0]


def test_a_file_of_which_few_rows_count_stops_the_fit_and_says_why(tmp_path: Path) -> None:
    long_form = [f"{minute * 60},{tag},{minute}" for minute in range(20) for tag in range(5)]
    given = recipe()
    with pytest.raises(DataError, match="only 20 of 100 rows can be used: 80 rows have the time of an earlier row"):
        usable(given, read_dataset(write(tmp_path, long_form), given.data))
    seconds = [f"{second},{second % 7},{second % 5}" for second in range(600)]
    with pytest.raises(DataError, match=r"rows are 1 s apart and grid.step_seconds is 60"):
        usable(given, read_dataset(write(tmp_path, seconds), given.data))
    all_the_same = recipe(least_rows_used=0.01)
    dataset, _ = usable(all_the_same, read_dataset(write(tmp_path, seconds), all_the_same.data))
    assert len(dataset) == 600
    assert np.isfinite(dataset.values).all()


def test_rows_that_count_are_told_beside_the_steps_of_the_grid(tmp_path: Path) -> None:
    seconds = [f"{30 * row},{row % 7},{row % 5}" for row in range(600)]
    given = recipe()
    dataset = read_dataset(write(tmp_path, seconds), given.data)
    assert usage_in_words(given, 610, dataset) == "300 of 610 rows, in steps of 60 s"
    grid = {"kind": "table", "step_seconds": 1}
    sections = {"name": "plant", "title": "samples", "data": {"time_column": ""}, "grid": grid, "window": {"steps": 1}}
    untimed = Recipe.model_validate(sections)
    assert usage_in_words(untimed, 610, dataset) == "600 of 610 rows"
