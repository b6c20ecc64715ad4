"""The simulated paper machine."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stream_detector.errors import UsageError
from trainer.__main__ import main
from trainer.data.simulate import SENSORS, Simulation, simulate, write

NAMES = [sensor.name for sensor in SENSORS]


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    return simulate(Simulation(days=20, seed=3))


def minutes_between_rows(history: pd.DataFrame) -> np.ndarray:
    return pd.to_datetime(history["time"]).diff().dt.total_seconds().to_numpy() / 60


def test_the_same_seed_gives_the_same_history_and_another_one_another_machine() -> None:
    one, same, other = (simulate(Simulation(days=2, seed=seed)) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


def test_rows_are_in_order_on_the_grid_and_breaks_come_a_few_times_a_day(history: pd.DataFrame) -> None:
    between = minutes_between_rows(history)[1:]
    assert (between > 0).all()
    assert (between % 2 == 0).all()
    assert 2 <= history["y"].sum() / 20 <= 6


def test_rows_are_absent_after_every_break_and_only_there(history: pd.DataFrame) -> None:
    gap_before = np.flatnonzero(minutes_between_rows(history) > 2)
    breaks = np.flatnonzero(history["y"] == 1)
    np.testing.assert_array_equal(gap_before, breaks[breaks + 1 < len(history)] + 1)


def test_levels_drift_while_differences_stay_as_they_were(history: pd.DataFrame) -> None:
    values = history[NAMES].to_numpy()
    early, late = values[: len(values) // 4], values[-len(values) // 4 :]

    def shift(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.nanmedian(np.abs(np.nanmedian(b, 0) - np.nanmedian(a, 0)) / np.nanstd(a, 0)))

    assert shift(early, late) > 0.5
    assert shift(np.diff(early, axis=0), np.diff(late, axis=0)) < 0.05


def test_most_breaks_announce_themselves_in_the_differences_and_some_do_not(history: pd.DataFrame) -> None:
    """What makes a threshold pay: the row before a break is livelier than 95 % of all rows, often but not always."""
    differences = history[NAMES].diff().to_numpy(copy=True)
    differences[minutes_between_rows(history) > 2] = np.nan
    spread = np.nanquantile(np.abs(differences), 0.68, axis=0)
    liveliness = np.mean(np.nan_to_num(np.minimum((differences[1:] / spread) ** 2, 64)), axis=1)
    before_breaks = liveliness[np.flatnonzero(history["y"] == 1) - 2]
    share = float(np.mean(before_breaks > np.quantile(liveliness, 0.95)))
    assert 0.4 < share < 0.95


def test_a_sensor_goes_dead_for_an_hour_and_values_jump_wildly(history: pd.DataFrame) -> None:
    missing = history[NAMES].isna().to_numpy()
    assert any(np.convolve(column, np.ones(25)).max() == 25 for column in missing.T)
    values = history[NAMES].to_numpy()
    jumps = np.abs(values - np.nanmedian(values, 0)) / np.array([sensor.spread for sensor in SENSORS])
    assert np.nanmax(jumps) > 15


@pytest.mark.parametrize("step_seconds", [2.5, 30.0])
def test_other_steps_keep_minutes_of_precursors_and_hours_of_uptime(step_seconds: float) -> None:
    history = simulate(Simulation(days=1, seed=1, step_seconds=step_seconds))
    steps = pd.to_datetime(history["time"], format="ISO8601").diff().dt.total_seconds()
    assert steps.median() == step_seconds
    assert 1 <= history["y"].sum() <= 12


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_every_format_reads_back_the_same(tmp_path: Path, name: str) -> None:
    history = simulate(Simulation(days=1, seed=1))
    path = tmp_path / "new" / name
    write(history, path)
    back = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
    pd.testing.assert_frame_equal(history, back, check_dtype=False)


def test_too_short_a_history_and_an_unknown_ending_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 100 rows"):
        Simulation(days=0.01)
    with pytest.raises(UsageError, match=r"\.csv, \.csv\.gz, \.parquet"):
        write(pd.DataFrame({"time": []}), tmp_path / "history.xlsx")


def test_the_command_writes_the_file_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plant.csv"
    assert main(["simulate", "--out", str(out), "--days", "3", "--seed", "2"]) == 0
    said = capsys.readouterr().out
    history = pd.read_csv(out)
    assert f"{len(history):,} rows" in said
    assert f"{history['y'].sum()} breaks" in said
    assert list(history.columns[:2]) == ["time", "y"]
    assert history["time"].iloc[0] == "2026-01-05T00:00:00Z"


def test_a_change_of_the_machine_leaves_all_before_it_as_it_was_and_replaces_sensors() -> None:
    same, changed = (simulate(Simulation(days=8, seed=3, change_day=day)) for day in (None, 5.0))
    day = pd.to_datetime(same["time"]) - pd.to_datetime(same["time"])[0]
    before, after = day < pd.Timedelta(days=5), day >= pd.Timedelta(days=5)
    pd.testing.assert_frame_equal(changed[before], same[before])
    pd.testing.assert_series_equal(changed["y"], same["y"])
    swings = changed[after][NAMES].diff().std() / same[after][NAMES].diff().std()
    dryer = [sensor.name for sensor in SENSORS if sensor.section == "dryer"]
    assert (swings[dryer] > 1.4).all()
    assert {120.0} < set(changed[after]["grade"])
    assert 120.0 not in set(same["grade"])
