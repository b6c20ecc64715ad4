"""Reading a historian's wide files."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.errors import DataError
from stream_detector.historian import Layout, read_history
from tests.support.properties import examples

FIRST_OF_MAY = datetime(2026, 5, 1, tzinfo=UTC).timestamp()


def written(folder: Path, text: str, name: str = "plant.csv") -> Path:
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["plant.csv", "plant.csv.gz"])
def test_a_csv_is_read_with_its_time_label_and_sensors(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "time,y,a,b\n2026-05-01T00:00:00Z,0,1.5,2\n2026-05-01T00:02:00Z,1,,-3e2\n", name)
    history = read_history(path)
    assert history.sensors == ("a", "b")
    np.testing.assert_array_equal(history.times, [FIRST_OF_MAY, FIRST_OF_MAY + 120])
    np.testing.assert_array_equal(history.values, [[1.5, 2.0], [np.nan, -300.0]])
    assert history.labels is not None
    np.testing.assert_array_equal(history.labels, [False, True])


def test_a_parquet_file_with_real_times_is_read_the_same(tmp_path: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"Timestamp": pd.to_datetime([FIRST_OF_MAY, FIRST_OF_MAY + 0.5], unit="s"), "a": [1, 2]})
    table.to_parquet(tmp_path / "plant.parquet")
    history = read_history(tmp_path / "plant.parquet")
    np.testing.assert_array_equal(history.times, [FIRST_OF_MAY, FIRST_OF_MAY + 0.5])
    assert history.labels is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2026-05-01 00:00:00", "2026-05-01 00:02:00"),
        ("2026-05-01T09:00:00+09:00", "2026-05-01T09:02:00+09:00"),
        (str(int(FIRST_OF_MAY)), str(int(FIRST_OF_MAY) + 120)),
        (str(int(FIRST_OF_MAY * 1000)), str(int(FIRST_OF_MAY * 1000) + 120_000)),
        ("01.05.2026 00:00", "01.05.2026 00:02"),
    ],
)
def test_usual_time_formats_are_recognised(tmp_path: Path, first: str, second: str) -> None:
    history = read_history(written(tmp_path, f"time,a\n{first},1\n{second},2\n"))
    np.testing.assert_array_equal(history.times, [FIRST_OF_MAY, FIRST_OF_MAY + 120])


def test_a_day_above_twelve_tells_month_and_day_apart(tmp_path: Path) -> None:
    history = read_history(written(tmp_path, "time,a\n4/30/26 23:58,1\n5/1/26 0:00,2\n5/13/26 0:00,2\n"))
    assert history.times[1] == FIRST_OF_MAY


def test_the_order_of_the_rows_tells_month_and_day_apart(tmp_path: Path) -> None:
    history = read_history(written(tmp_path, "time,a\n01/05/26 00,1\n02/05/26 00,2\n01/06/26 00,2\n"))
    assert history.times[0] == FIRST_OF_MAY


def test_an_ambiguous_time_asks_for_the_format_and_takes_it(tmp_path: Path) -> None:
    path = written(tmp_path, "time,a\n5/1/26 0:00,1\n5/1/26 0:02,2\n")
    with pytest.raises(DataError, match="say which with --time-format"):
        read_history(path)
    assert read_history(path, Layout(time_format="%m/%d/%y %H:%M")).times[0] == FIRST_OF_MAY


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found_by_the_header(tmp_path: Path, separator: str) -> None:
    text = "Time,EVENT,a,b\n2026-05-01,False,1,2\n2026-05-02,True,3,4\n".replace(",", separator)
    history = read_history(written(tmp_path, text))
    assert history.sensors == ("a", "b")
    assert history.labels is not None
    np.testing.assert_array_equal(history.labels, [False, True])


def test_named_sensors_are_taken_in_their_order_and_ignored_ones_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "time,y,a,b,operator\n2026-05-01,0,1,2,Kim\n")
    assert read_history(path, Layout(sensors=("b", "a"))).values.tolist() == [[2.0, 1.0]]
    assert read_history(path, Layout(ignore=("operator", "a"))).sensors == ("b",)


def test_label_values_and_missing_codes_are_the_plants_own(tmp_path: Path) -> None:
    path = written(tmp_path, "time,state,a\n2026-05-01,ok,1\n2026-05-02,tear,-200\n")
    history = read_history(path, Layout(label_column="state", label_values=("tear",), missing_codes=(-200.0,)))
    assert history.labels is not None
    assert history.labels.tolist() == [False, True]
    np.testing.assert_array_equal(history.values, [[1.0], [np.nan]])


@pytest.mark.parametrize(
    ("text", "layout", "message"),
    [
        ("", Layout(), "is empty"),
        ("time,a\n", Layout(), "no rows"),
        ("when,a\n2026-05-01,1\n", Layout(), "no time column .* it has when, a"),
        ("time,a\n2026-05-01,1\n", Layout(time_column="t"), "no time column 't'"),
        ("time,a\n2026-05-01,1\n", Layout(label_column="y"), "no label column 'y'"),
        ("time,a\n2026-05-01,1\n", Layout(sensors=("a", "b")), "lacks 1 of 2 sensors: b"),
        ("time,a\n2026-05-01,1\n2026-05-02,off\n", Layout(), "'a' holds 'off' in data row 2"),
        ("time,a\n2026-05-01,1\n,2\n", Layout(), "no time in data row 2"),
        ("time,a\n2026-05-01,1\nsoon,2\n", Layout(), "'soon' in column 'time', data row 2"),
        ("time,a\nsoon,1\nlater,2\n", Layout(), "neither ISO 8601 nor"),
        ("time,a\n2026-05-01,1\n", Layout(time_format="%d.%m.%Y"), "'2026-05-01' in data row 1"),
        ("time,y,a\n2026-05-01,maybe,1\n", Layout(), "label column 'y' holds 'maybe'"),
        ("time,y\n2026-05-01,0\n", Layout(), "no sensor column"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path: Path, text: str, layout: Layout, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_history(written(tmp_path, text), layout)


def test_a_missing_file_a_folder_and_a_false_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not there"):
        read_history(tmp_path / "none.csv")
    with pytest.raises(DataError, match="a folder without a data file"):
        read_history(tmp_path)
    for name in ("plant.parquet", "plant.csv.gz"):
        path = tmp_path / name
        path.write_text("time,a\n2026-05-01,1\n")
        with pytest.raises(DataError, match="cannot be read as"):
            read_history(path)


@settings(max_examples=examples(30))
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=5))
def test_values_are_read_back_to_the_last_digit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    rows = "".join(f"{i},{value!r}\n" for i, value in enumerate(values))
    history = read_history(written(tmp_path_factory.mktemp("exact"), f"time,a\n{rows}"))
    expected = [value if np.isfinite(value) else np.nan for value in values]
    np.testing.assert_array_equal(history.values[:, 0], expected)


@pytest.mark.slow
def test_a_real_paper_machines_file_needs_no_options(shared_data: Path) -> None:
    history = read_history(shared_data / "papermill" / "process_data_dev.csv.gz")
    assert history.values.shape == (14_718, 61)
    assert history.labels is not None
    assert history.labels.sum() == 90
    assert history.times[0] == datetime(1999, 5, 1, tzinfo=UTC).timestamp()
    assert (np.diff(history.times) > 0).all()
