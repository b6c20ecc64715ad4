"""The baselines that every detector is set beside."""

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.detection.baselines import BASELINES, MOVING_ROWS, moving_z_score


def plant(rows: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 2)) @ np.array([[1.0, 0.9, 0.1], [0.0, 0.3, 1.0]]) + [5.0, -3.0, 1000.0]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BASELINES if name not in ("always", "never")])
def test_a_baseline_scores_a_jump_of_a_sensor_above_normal_rows(name: str) -> None:
    train, rows = plant(600, 1), plant(300, 2)
    rows[250:] += [12.0, -12.0, 12.0]
    scores = BASELINES[name](train, rows, 3)
    assert scores.shape == (300,)
    assert np.isfinite(scores).all()
    assert scores[250] > np.quantile(scores[:250], 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BASELINES))
def test_a_baseline_never_looks_ahead(name: str) -> None:
    train, rows = plant(400, 1), plant(80, 2)
    changed = rows.copy()
    changed[50:] += 30.0
    assert np.array_equal(BASELINES[name](train, rows, 3)[:50], BASELINES[name](train, changed, 3)[:50])


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_baseline_takes_missing_cells(name: str) -> None:
    train, rows = plant(400, 1), plant(30, 2)
    train[5, 1] = np.nan
    rows[7, 0] = np.nan
    rows[9] = np.nan
    assert not np.isnan(BASELINES[name](train, rows, 3)).any()


def test_the_moving_z_score_is_that_of_its_plain_loop() -> None:
    train, rows = plant(200, 4), plant(150, 5)
    history = np.vstack([train[-MOVING_ROWS:], rows])
    expected = []
    for row in range(MOVING_ROWS, len(history)):
        before = history[row - MOVING_ROWS : row]
        spread = np.maximum(before.std(axis=0), 0.1 * train.std(axis=0) + 1e-9)
        expected.append(float((np.abs(history[row] - before.mean(axis=0)) / spread).max()))
    assert moving_z_score(train, rows, 0) == pytest.approx(np.array(expected))
