"""The process unit as the benchmark judges it: a simulated one, and the real one where it is there."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.detection.process import FILE, Verdict, judge, moment, moving_with, rows_of, run, scored
from stream_detector.errors import DataError
from tests.support.public_data import data_set
from trainer.data.dataset import Dataset, read_dataset
from trainer.recipe import DataConfig, load_recipe

TAGS = ("tag0", "tag1", "tag97", "tag100", "tag102", "tag104", "tag105")


def written(folder: Path, fault: bool = True) -> Path:
    """Eleven days of seven tags in five minutes: one stands still, one does until the last day and then moves far, and
    five move together but for the fault."""
    rng = np.random.default_rng(2)
    times = pd.date_range("2017-12-24", "2018-01-04", freq="5min")
    drive = np.convolve(rng.standard_normal(len(times) + 11), np.ones(12) / 12, "valid")
    table = pd.DataFrame({tag: drive + 0.05 * rng.standard_normal(len(times)) for tag in TAGS}, index=times)
    table["tag0"] = 0.0
    table["tag1"] = np.where(times >= "2018-01-03", 1e6, 3.0)
    if fault:
        table.loc["2018-01-02 06:00":"2018-01-02 09:00", "tag100"] += 3.0
    cells = table.round(4).astype(object)
    cells.iloc[5:8, 2] = "Bad"
    folder.mkdir()
    cells.to_csv(folder / FILE)
    return folder


def verdict(folder: Path, scratch: Path) -> tuple[Verdict, Dataset]:
    recipe = load_recipe("process")
    dataset = read_dataset(folder / FILE, recipe.data)
    return judge(*scored(recipe, dataset, scratch), rows_of(dataset.times)), dataset


def test_a_fault_is_found_although_a_tag_that_stood_still_moves(tmp_path: Path) -> None:
    found, dataset = verdict(written(tmp_path / "unit"), tmp_path)
    assert found.detection_rate >= 0.9
    assert found.false_alarm_rate <= 0.01
    assert dataset.report.missing_words == {"tag97": {"Bad": 3}}


def test_where_nothing_happens_nothing_is_found(tmp_path: Path) -> None:
    found, _ = verdict(written(tmp_path / "unit", fault=False), tmp_path)
    assert found.detection_rate <= 0.05


def test_the_tags_that_move_with_the_target_are_found_in_the_rows_learnt_from(tmp_path: Path) -> None:
    everything = read_dataset(written(tmp_path / "unit") / FILE, DataConfig(time_column="column 1"))
    found = moving_with("tag100", everything, rows_of(everything.times).learnt)
    assert set(found) == {"tag97", "tag102", "tag104", "tag105"}
    assert min(found.values()) > 0.8


def test_a_file_of_other_days_is_refused() -> None:
    with pytest.raises(DataError, match="does not hold the days before and after 2018-01-01"):
        rows_of(np.arange(moment("2019-01-01"), moment("2019-01-05"), 300.0))


@pytest.mark.slow
def test_the_real_unit_keeps_to_its_goal(shared_data: Path, tmp_path: Path) -> None:
    folder = data_set(shared_data, "process_bibmon")
    document = run(folder, 1, tmp_path).document
    assert document["detection_rate"] >= 0.85
    assert document["false_alarm_rate"] <= 0.005
    assert document["missing_word_cells"] == 498
