"""Runs to failure as the benchmark judges them: simulated ones, and the public ones where they are there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection.bearing_life import Outcome, bearings_of, outcome, run, smoothed
from stream_detector.errors import DataError
from tests.support.public_data import data_set

TEST_3 = datetime(2004, 3, 4, 9, 27, 46, tzinfo=UTC)
DAYS = 8
FAILS_AFTER = 5.5
"""Days until bearing 3 begins to wear."""


def written(folder: Path, begun: datetime, wear: float = 0.2) -> Path:
    """Four bearings every ten minutes, as the public files hold them: a load that rises for good after two days, a stop
    of three days without records and one of an hour with records, and one bearing that wears."""
    rng = np.random.default_rng(4)
    days = np.arange(DAYS * 144) / 144
    level = np.array([0.06, 0.075, 0.08, 0.045]) * np.where(days < 2, 1.0, 1.2)[:, None]
    level[:, 2] += wear * 0.065 * np.maximum(days - FAILS_AFTER, 0)
    level *= 1 + 0.01 * rng.standard_normal(level.shape)
    level[500:506] = 0.001
    level[-2:] = 0.001
    pause = np.where(days < 3, 0.0, 3.0)
    lines = [",Datetime,Bearing 1,Bearing 2,Bearing 3,Bearing 4"]
    for row, (day, values) in enumerate(zip(days + pause, level, strict=True)):
        time = (begun + timedelta(days=float(day))).strftime("%Y.%m.%d.%H.%M.%S")
        lines.append(f"{row},{time}," + ",".join(f"{value:.6f}" for value in values))
    folder.mkdir(exist_ok=True)
    path = folder / "run.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_a_wearing_bearing_is_named_days_ahead_and_its_neighbours_never(tmp_path: Path) -> None:
    written(tmp_path / "runs", TEST_3)
    document = run(tmp_path / "runs", 1, tmp_path / "scratch").document
    assert list(document["failed"]) == ["test 3 bearing 3"]
    assert document["failed"]["test 3 bearing 3"] > 36
    assert document["false_alarms"] == {f"test 3 bearing {number}": 0 for number in (1, 2, 4)}
    assert document["baselines"]["never alarm"]["failed"] == {"test 3 bearing 3": None}
    assert document["baselines"]["always alarm"]["false_alarms"]["test 3 bearing 1"] == 1


@pytest.mark.slow
def test_a_bearing_that_does_not_wear_is_not_named(tmp_path: Path) -> None:
    written(tmp_path / "runs", TEST_3, wear=0.0)
    document = run(tmp_path / "runs", 1, tmp_path / "scratch").document
    assert document["failed"] == {"test 3 bearing 3": None}
    assert document["alarms_of_failed_that_did_not_last"] == {"test 3 bearing 3": 0}


def test_a_file_of_no_known_test_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "runs", datetime(2011, 3, 4, tzinfo=UTC))
    with pytest.raises(DataError, match="begins in 2011-03, and none of the tests does"):
        run(tmp_path / "runs", 1, tmp_path / "scratch")


def test_two_channels_are_of_one_bearing() -> None:
    assert bearings_of(("Bearing 1-A", "Bearing 1-B", "Bearing 2-A")) == {1: [0, 1], 2: [2]}
    with pytest.raises(DataError, match="names no bearing"):
        bearings_of(("Temperature",))


@pytest.mark.parametrize(
    ("alarm", "expected"),
    [
        ([0, 0, 0, 0, 0, 0], Outcome(None, 0)),
        ([0, 1, 0, 0, 1, 1], Outcome(10.0, 1)),
        ([1, 0, 1, 0, 1, 0], Outcome(None, 2)),
        ([1, 1, 1, 1, 1, 1], Outcome(50.0, 0)),
    ],
)
def test_only_the_alarm_that_lasts_to_the_end_counts_as_ahead(alarm: list[int], expected: Outcome) -> None:
    hours_left = np.arange(50.0, -10.0, -10.0)
    assert outcome(np.array(alarm, bool), hours_left) == expected


def test_smoothing_takes_the_rows_of_the_running_machine_up_to_each_row() -> None:
    values = np.array([1.0, 2.0, 90.0, 3.0, 4.0])
    running = np.array([True, True, False, True, True])
    assert smoothed(values, running, 2).tolist() == [1.0, 1.5, 1.5, 2.5, 3.5]


@pytest.mark.slow
def test_the_public_runs_are_named_a_day_ahead_without_a_false_alarm(shared_data: Path, tmp_path: Path) -> None:
    folder = data_set(shared_data, "bearings_ims")
    document = run(folder, 1, tmp_path).document
    assert all(ahead is not None and ahead >= 24 for ahead in document["failed"].values())
    assert set(document["false_alarms"].values()) == {0}
