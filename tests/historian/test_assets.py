"""Several assets in a file, in a folder each, in files of their own."""

from pathlib import Path

import numpy as np
import pytest

from stream_detector.errors import DataError, UsageError
from stream_detector.historian import History, Layout, read_history

TWO_MIXED = """time,asset,a,y
2026-01-01T00:00:00Z,pm-1,1,0
2026-01-01T00:00:00Z,pm-2,10,0
2026-01-01T00:01:00Z,pm-1,2,1
2026-01-01T00:01:00Z,pm-2,20,0
"""


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows_of(history: History, asset: str) -> list[float]:
    return [float(value) for value in history.of_asset(asset).values[:, 0]]


def test_a_column_names_the_asset_of_each_row(tmp_path: Path) -> None:
    history = read_history(written(tmp_path / "log.csv", TWO_MIXED), Layout(asset_column="asset"))
    assert history.assets == ("pm-1", "pm-2")
    assert history.sensors == ("a",)
    assert rows_of(history, "pm-2") == [10, 20]
    assert history.of_asset("pm-1").labels.tolist() == [False, True]


def test_times_are_counted_within_each_asset(tmp_path: Path) -> None:
    report = read_history(written(tmp_path / "log.csv", TWO_MIXED), Layout(asset_column="asset")).report
    assert (report.equal_times, report.steps_back, report.median_step_seconds) == (0, 0, 60)
    assert "2 assets: pm-1 (2 rows), pm-2 (2 rows)" in report.lines()


def test_folders_within_a_folder_are_assets(tmp_path: Path) -> None:
    for name, value in (("pm-1", 1), ("pm-2", 2)):
        written(tmp_path / "plant" / name / "may.csv", f"time,a\n2026-05-01T00:00:00Z,{value}\n")
        written(tmp_path / "plant" / name / "june.csv", f"time,a\n2026-06-01T00:00:00Z,{value + 10}\n")
    history = read_history(tmp_path / "plant")
    assert rows_of(history, "pm-1") == [1, 11]
    assert rows_of(history, "pm-2") == [2, 12]


@pytest.mark.parametrize(
    "folders", [("2026-05-01", "2026-05-02"), ("date=2026-05-01", "date=2026-05-02"), ("05", "06")]
)
def test_folders_of_days_are_no_assets(tmp_path: Path, folders: tuple[str, str]) -> None:
    for day, name in enumerate(folders, start=1):
        written(tmp_path / "lake" / name / "part.csv", f"time,a\n2026-05-0{day}T00:00:00Z,{day}\n")
    history = read_history(tmp_path / "lake")
    assert history.assets == ()
    assert history.values[:, 0].tolist() == [1, 2]


def test_a_partition_of_a_lake_names_the_asset(tmp_path: Path) -> None:
    for day, name in enumerate(("pm-1", "pm-2"), start=1):
        place = tmp_path / "lake" / f"year=2026/asset={name}/part.csv"
        written(place, f"time,a\n2026-05-0{day}T00:00:00Z,{day}\n")
    assert read_history(tmp_path / "lake").assets == ("pm-1", "pm-2")


def test_a_pattern_finds_the_asset_in_the_names_of_files(tmp_path: Path) -> None:
    for name in ("0_WELL-1_20170201", "0_WELL-2_20170201", "1_WELL-1_20170202"):
        written(tmp_path / f"{name}.csv", f"time,a\n{name[-8:-4]}-{name[-4:-2]}-{name[-2:]}T00:00:00Z,{name[0]}\n")
    history = read_history(tmp_path, Layout(asset_pattern=r"WELL-\d+"))
    assert rows_of(history, "WELL-1") == [0, 1]
    assert rows_of(history, "WELL-2") == [0]


def test_a_file_that_does_not_fit_the_pattern_is_named(tmp_path: Path) -> None:
    for name in ("WELL-1", "notes"):
        written(tmp_path / f"{name}.csv", "time,a\n2026-05-01T00:00:00Z,1\n")
    with pytest.raises(DataError, match=r"notes\.csv: its name does not fit asset_pattern = 'WELL"):
        read_history(tmp_path, Layout(asset_pattern=r"WELL-\d+"))


def test_a_row_without_an_asset_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "log.csv", TWO_MIXED.replace("00:01:00Z,pm-1", "00:01:00Z,"))
    with pytest.raises(DataError, match="column 'asset' names no asset in data row 3"):
        read_history(file, Layout(asset_column="asset"))


def test_an_asset_column_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no asset column 'machine'; it has time, asset, a, y: name one"):
        read_history(written(tmp_path / "log.csv", TWO_MIXED), Layout(asset_column="machine"))


def test_an_asset_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    history = read_history(written(tmp_path / "log.csv", TWO_MIXED), Layout(asset_column="asset"))
    with pytest.raises(UsageError, match="has no asset 'pm-3'; it has pm-1, pm-2"):
        history.of_asset("pm-3")


def test_the_long_form_keeps_the_tags_of_assets_apart(tmp_path: Path) -> None:
    text = "time,device,tag,value\n" + "".join(
        f"2026-01-01T00:0{minute}:00Z,{device},{tag},{value}\n"
        for minute in (0, 1)
        for device, tag, value in (("pm-1", "a", 1), ("pm-1", "b", 2), ("pm-2", "a", 10))
    )
    history = read_history(written(tmp_path / "log.csv", text), Layout(form="long", asset_column="device"))
    assert len(history) == 4
    assert rows_of(history, "pm-2") == [10, 10]
    assert np.isnan(history.of_asset("pm-2").values[:, 1]).all()
    assert not [line for line in history.report.lines() if "came again" in line]


def test_the_long_form_may_be_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    moments = pandas.to_datetime(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"])
    frame = pandas.DataFrame({"time": moments, "tag": ["a", "b", "a"], "value": [1.5, None, 2.5]})
    frame.to_parquet(tmp_path / "log.parquet", index=False)
    history = read_history(tmp_path / "log.parquet", Layout(form="long"))
    assert history.sensors == ("a", "b")
    assert history.values[:, 0].tolist() == [1.5, 2.5]
    assert np.isnan(history.values[:, 1]).all()


def test_runs_are_those_of_an_asset(tmp_path: Path) -> None:
    rows = "".join(f"2026-01-01T00:0{minute}:00Z,{asset},{minute // 2},1\n" for minute in range(4) for asset in "pq")
    file = written(tmp_path / "log.csv", "time,asset,batch,a\n" + rows)
    history = read_history(file, Layout(asset_column="asset", run_columns=("batch",)))
    assert history.of_asset("q").runs.tolist() == [0, 0, 1, 1]


def test_a_tag_of_influx_may_name_the_asset(tmp_path: Path) -> None:
    text = ",result,table,_time,_value,_field,_measurement,host\n" + "".join(
        f",,0,2026-01-01T00:0{minute}:00Z,{minute},temp,plant,{host}\n" for host in ("h1", "h2") for minute in (0, 1)
    )
    history = read_history(written(tmp_path / "log.csv", text), Layout(form="influx", asset_column="host"))
    assert history.sensors == ("temp",)
    assert rows_of(history, "h2") == [0, 1]
