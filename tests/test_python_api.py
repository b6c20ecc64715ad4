"""The examples of docs/python-api.md, run as they stand, and what `Detector` promises beyond them."""

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import stream_detector
from stream_detector import Detector
from stream_detector.detection.config import GridConfig, WindowConfig
from stream_detector.errors import DataError
from tests.support.bundles import STEPS, small_windows, write_small_bundle
from tests.support.paths import DOCS

PAGE = DOCS / "python-api.md"


def frame(rows: int = 12, seed: int = 1) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(rows, 3))
    index = pd.date_range("2026-05-01", periods=rows, freq="2min", tz="UTC")
    return pd.DataFrame(values, columns=["flow", "pressure", "speed"], index=index)


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    write_small_bundle(tmp_path / "bundle")
    return Detector.load(tmp_path / "bundle")


@pytest.mark.slow
def test_every_example_of_the_page_gives_what_it_says(fitted_plant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fitted_plant)
    options = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=options)
    assert (failed, tried > 10) == (0, True)


def test_every_row_with_a_full_window_is_scored_under_its_own_label(detector: Detector) -> None:
    table = frame()
    scores = detector.score(table)
    assert scores.index.equals(table.index[STEPS - 1 :])
    assert (scores["time"] == scores.index).all()
    assert (scores["alarm"] == (scores["score"] > scores["threshold"])).all()


def test_times_as_stamps_text_or_epoch_seconds_and_as_index_or_column_are_the_same(detector: Detector) -> None:
    table = frame()
    assert isinstance(table.index, pd.DatetimeIndex)
    expected = detector.score(table)["score"].to_numpy()
    seconds = table.index.astype("datetime64[s, UTC]").astype("int64")
    for times in (table.index.tz_localize(None), seconds, seconds * 1000, table.index.strftime("%Y-%m-%dT%H:%M:%SZ")):
        as_column = table.reset_index(drop=True).assign(when=times)
        assert np.array_equal(detector.score(as_column, time="when")["score"], expected)
        assert np.array_equal(detector.score(table.set_axis(times, axis=0))["score"], expected)


def test_a_gap_and_an_event_start_a_new_window(detector: Detector) -> None:
    table = frame(12)
    with_gap = table.drop(table.index[5])
    assert detector.score(with_gap).index.equals(table.index[[3, 4, 9, 10, 11]])
    with_event = detector.score(with_gap, events=[table.index[5]])
    assert with_event.index.equals(table.index[[3, 4, 9, 10, 11]])


def test_each_asset_of_a_frame_is_scored_as_if_it_were_alone(detector: Detector) -> None:
    first, second = frame(12, seed=1), frame(12, seed=2)
    table = pd.concat([first.assign(machine="pm-1"), second.assign(machine="pm-2")]).sort_index(kind="stable")
    event = {"pm-2": [first.index[6]]}
    scores = detector.score(table, asset="machine", events=event)
    assert (scores.index == scores["time"]).all()
    assert scores.index.is_monotonic_increasing
    alone = [detector.score(first), detector.score(second, events=event["pm-2"])]
    for name, expected in zip(("pm-1", "pm-2"), alone, strict=True):
        pd.testing.assert_frame_equal(scores[scores["asset"] == name].drop(columns="asset"), expected, check_freq=False)
    with pytest.raises(DataError, match="events of several assets are a mapping"):
        detector.score(table, asset="machine", events=event["pm-2"])


def test_samples_need_no_times(tmp_path: Path) -> None:
    grid, window = GridConfig(kind="table", step_seconds=1), WindowConfig(steps=1)
    windows = small_windows()[:, -1:]
    write_small_bundle(tmp_path / "bundle", windows=windows, grid=grid, window=window)
    scores = Detector.load(tmp_path / "bundle").score(frame().reset_index(drop=True))
    assert list(scores.columns[:3]) == ["score", "threshold", "alarm"]
    assert len(scores) == 12


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda table: table.drop(columns="speed"), "the first is 'speed'"),
        (lambda table: table.assign(flow="hot"), "column 'flow' holds something that is not a number"),
        (lambda table: table.iloc[::-1], "time runs backwards at row 1"),
        (lambda table: table.set_axis(["soon"] * len(table), axis=0), "neither timestamps nor epoch seconds"),
    ],
)
def test_a_mistake_in_a_frame_is_named(detector: Detector, spoil: Callable[..., Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        detector.score(spoil(frame()))
    with pytest.raises(DataError, match="no time column 'when'"):
        detector.score(frame(), time="when")


def test_the_package_offers_the_detector_and_nothing_that_is_not_there() -> None:
    assert stream_detector.__all__ == ["Detector"]
    with pytest.raises(AttributeError, match="no attribute 'Detectors'"):
        _ = stream_detector.Detectors
