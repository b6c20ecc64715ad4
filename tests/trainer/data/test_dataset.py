"""Reading a plant's file: what is accepted, and what a user is told of what is not."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stream_detector.errors import DataError
from trainer.data.dataset import read_dataset
from trainer.recipe import DataConfig

ROWS = """time,y,a,b
2026-05-01T00:00:00Z,0,1.5,10
2026-05-01T00:02:00Z,0,,20
2026-05-01T00:04:00Z,1,-200,30
"""
CONFIG = DataConfig(label_column="y", labels_mark="events", missing_codes=(-200,))


def write(folder: Path, text: str, name: str = "plant.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_is_read_with_missing_values_codes_labels_and_events(tmp_path: Path) -> None:
    data = read_dataset(write(tmp_path, ROWS), CONFIG)
    assert data.sensors == ("a", "b")
    np.testing.assert_array_equal(data.values, [[1.5, 10], [np.nan, 20], [np.nan, 30]])
    assert np.diff(data.times).tolist() == [120, 120]
    assert data.labels.tolist() == data.events.tolist() == [False, False, True]


def test_csv_gz_and_parquet_hold_the_same(tmp_path: Path) -> None:
    plain = read_dataset(write(tmp_path, ROWS), CONFIG)
    zipped = tmp_path / "plant.csv.gz"
    zipped.write_bytes(gzip.compress(ROWS.encode()))
    columnar = tmp_path / "plant.parquet"
    pd.read_csv(tmp_path / "plant.csv").to_parquet(columnar)
    for other in (read_dataset(zipped, CONFIG), read_dataset(columnar, CONFIG)):
        np.testing.assert_array_equal(other.values, plain.values)
        np.testing.assert_array_equal(other.times, plain.times)
        np.testing.assert_array_equal(other.labels, plain.labels)


def test_a_label_that_marks_the_normal_rows_runs_the_other_way(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    normal = read_dataset(path, CONFIG.model_copy(update={"labels_are": "normal", "labels_mark": "states"}))
    assert normal.labels.tolist() == [True, True, False]
    assert not normal.events.any()


def test_a_label_may_be_a_word(tmp_path: Path) -> None:
    path = write(tmp_path, "time,state,a\n0,ok,1\n120,broken,2\n")
    config = DataConfig(label_column="state", label_values=("broken",))
    assert read_dataset(path, config).labels.tolist() == [False, True]


def test_samples_need_no_time_and_no_header(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2,1\n3,4,0\n")
    config = DataConfig(time_column=None, header=False, label_column="c3", labels_are="normal")
    data = read_dataset(path, config)
    assert data.sensors == ("c1", "c2")
    assert data.times.tolist() == [0, 1]
    assert data.labels.tolist() == [False, True]


def test_new_data_for_a_bundle_need_no_label_and_may_have_more_columns_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, "extra,b,time,a\n9,10,0,1\n9,20,120,2\n")
    data = read_dataset(path, CONFIG, sensors=("a", "b"))
    np.testing.assert_array_equal(data.values, [[1, 10], [2, 20]])
    assert data.labels is None
    with pytest.raises(DataError, match="no label column 'y'"):
        read_dataset(path, CONFIG)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("time,y,a\n", "no rows"),
        ("when,y,a\n0,0,1\n", "no time column 'time'; it has when, y, a: name one with --time-column"),
        ("time,y\n0,0\n", "no sensor column"),
        ("time,y,a\n0,0,1\n120,0,hot\n", "column 'a' holds 'hot' in data row 2, not a number"),
        ("time,y,a\n240,0,1\n120,0,2\n", "time runs backwards at data row 2: 1970-01-01 00:02:00 comes after 1970"),
        ("time,y,a\n2026-05-01,0,1\nyesterday,0,2\n", "'yesterday' in column 'time', data row 2"),
        ("time,y,a\n2026-05-01,0,1\n,0,2\n", "no time in data row 2"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_row_and_value(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=r"plant\.csv") as raised:
        read_dataset(write(tmp_path, text), CONFIG)
    assert said in str(raised.value)


def test_whose_clock_was_set_back_is_not_told_to_sort(tmp_path: Path) -> None:
    text = "time,y,a\n2025-10-26 02:58,0,1\n2025-10-26 02:59,0,2\n2025-10-26 02:00,0,3\n"
    with pytest.raises(DataError, match=r"was the clock changed there\? Name its zone .* and do not sort"):
        read_dataset(write(tmp_path, text), CONFIG)


def test_a_sensor_that_a_bundle_needs_is_named_where_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks 1 of 3 sensors: c"):
        read_dataset(write(tmp_path, ROWS), CONFIG, sensors=("a", "b", "c"))


@pytest.mark.parametrize("name", ["absent.csv", "folder"])
def test_a_file_that_is_not_there_is_said_to_be_absent(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"not there|folder without a data file"):
        read_dataset(tmp_path / name, CONFIG)


def test_the_usual_names_of_a_time_column_need_not_be_told(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,y,a\n2026-05-01,0,1\n2026-05-02,0,2\n")
    assert read_dataset(path, DataConfig(label_column="y")).times[1] == 1_777_680_000
