"""The leaderboard's measure: by hand, by what the package TSB-AD 1.5 says, and by the package where it is installed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.detection.volume_under_surface import period, vus_pr


def drawn(seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Scores, events (some of them side by side) and a window."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(300, 1500))
    positive = np.zeros(rows, bool)
    for _ in range(rng.integers(1, 8)):
        start = rng.integers(0, rows - 12)
        positive[start : start + rng.integers(1, 12)] = True
    scores = rng.normal(size=rows) + 2 * positive * (rng.random(rows) < 0.6)
    return (np.round(scores, 1) if seed % 2 else scores), positive, int(rng.integers(0, 60))


PACKAGE = {0: 0.211643, 1: 0.343302, 2: 0.132016, 3: 0.022474, 4: 0.369176, 5: 0.193760}
"""Seed -> `RangeAUC_volume_opt` of TSB-AD 1.5."""


@pytest.mark.parametrize("seed", list(PACKAGE))
def test_the_measure_is_that_of_the_package(seed: int) -> None:
    assert vus_pr(*drawn(seed)) == pytest.approx(PACKAGE[seed], abs=1e-6)


def test_the_measure_is_that_of_the_package_where_it_is_installed() -> None:
    package = pytest.importorskip("TSB_AD.evaluation.basic_metrics", reason="uv pip install --no-deps TSB-AD")
    for seed in range(6, 12):
        scores, positive, window = drawn(seed)
        found = package.basic_metricor().RangeAUC_volume_opt(positive.astype(int), scores, window, 250)[-1]
        assert vus_pr(scores, positive, window) == pytest.approx(found, abs=1e-9)


def test_without_a_margin_and_with_every_row_a_threshold_it_is_precision_summed_over_steps_of_recall() -> None:
    # One event of two rows among four. Highest first: right, wrong, right, wrong: 1/2 * 1 + 1/2 * 2/3.
    positive = np.array([False, True, True, False])
    assert vus_pr(np.array([3.0, 4.0, 2.0, 1.0]), positive, 0) == pytest.approx(1 / 2 + 1 / 3)
    assert vus_pr(np.array([1.0, 4.0, 3.0, 2.0]), positive, 0) == pytest.approx(1.0)


def test_an_alarm_just_before_an_event_counts_in_part() -> None:
    positive = np.zeros(400, bool)
    positive[200:210] = True
    near, far = np.arange(400) / 1e4, np.arange(400) / 1e4
    near[199] = far[150] = 1.0
    assert vus_pr(near, positive, 20) > vus_pr(far, positive, 20)


def test_the_window_is_the_period_of_the_first_sensor() -> None:
    rng = np.random.default_rng(1)
    wave = np.sin(2 * np.pi * np.arange(4000) / 48) + 0.1 * rng.standard_normal(4000)
    assert period(wave) == pytest.approx(48, abs=1)
    assert period(np.cumsum(np.ones(500))) == 125
