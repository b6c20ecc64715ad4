"""A fold of a backtest says what a bundle says that is fitted at its begin and takes over there, in mid-run."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from stream_detector.bundle.bundle import Bundle
from stream_detector.detection.config import HeadConfig, ModelConfig
from stream_detector.engine.engine import Engine
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import RecordBatch
from trainer.backtesting.backtest import run_backtest
from trainer.backtesting.folds import Fold, plan_folds
from trainer.backtesting.methods import method_of
from trainer.data.dataset import Dataset
from trainer.data.usage import usable
from trainer.fitting.fit import fit_recipe
from trainer.recipe import Recipe, load_recipe

STEP, ROWS_A_DAY, DAYS = 120.0, 120, 7
SENSORS = ("s0", "s1", "s2", "late")
READ_AGAIN = 40
"""Rows before a switch: more than the features look back."""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    head = HeadConfig(
        kind="calibrated",
        options={
            "features": {"lags": [1, 3], "volatility_steps": [5], "scale_half_life_steps": 50, "clock": False},
            "forests": [{"trees": 5, "keep": 0.5, "bags": 2, "tried_features": 0.5}],
            "first_day": 1,
        },
    )
    loaded = load_recipe("paper-mill-calibrated")
    return loaded.model_copy(update={"head": head, "model": ModelConfig(kind="mahalanobis")})


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Four hours of each day, the last ones, then the first ones of the next day: a run goes through every midnight.

    The first sensor jumps in the row before an event; the last one first moves two days before the end.
    """
    rng = np.random.default_rng(3)
    rows = ROWS_A_DAY * DAYS
    values = rng.normal(scale=0.1, size=(rows, len(SENSORS))).cumsum(axis=0)
    values[: rows - ROWS_A_DAY - 90, 3] = 7.0
    labels = np.zeros(rows, bool)
    labels[20::29] = True
    values[19::29, 0] += 9
    day, row = np.divmod(np.arange(rows), ROWS_A_DAY)
    times = (10_000 + day) * 86_400.0 + (row - ROWS_A_DAY // 2) * STEP
    return Dataset("made.csv", "0" * 64, SENSORS, times, values, labels, labels_mark_events=True)


def test_a_bundle_that_takes_over_at_midnight_says_what_the_backtest_says(
    recipe: Recipe, dataset: Dataset, tmp_path: Path
) -> None:
    folds = plan_folds(dataset, None, "1d")
    (judged,) = run_backtest([method_of(recipe)], dataset, folds, check=False)
    said = dict(zip(judged.steps.tolist(), judged.scored.level.tolist(), strict=True))
    kept = []
    for fold in folds[-3:]:
        past, _ = usable(recipe, dataset.take(dataset.times < fold.begin))
        kept.append(len(past.sensors))
        bundle = fit_recipe(recipe, past, tmp_path / str(fold.begin)).bundle
        steps, probability = decided(bundle, dataset, fold)
        assert len(steps) > ROWS_A_DAY // 3
        np.testing.assert_allclose(probability, [said[step] for step in steps.tolist()], rtol=1e-12)
    assert kept == [3, 4, 4]


def decided(bundle: Bundle, dataset: Dataset, fold: Fold) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Steps of the fold and their probabilities, by a worker that has read again what lies shortly before it."""
    first, begin, end = np.searchsorted(dataset.times, [fold.begin, fold.begin, fold.end]).tolist()
    engine = Engine(bundle, Limits(), keep_steps=True)
    engine.restore(0, {}, 2 * begin, 1)
    engine.process(batch(dataset, first - READ_AGAIN, begin))
    found = engine.process(batch(dataset, begin, end)).steps
    return np.concatenate([part.step for part in found]), np.concatenate([part.probability for part in found])


def batch(dataset: Dataset, begin: int, end: int) -> RecordBatch:
    """Rows of a file as records, an event before its row; row r has the offsets 2 r and 2 r + 1."""
    offsets, values, stamps = [], [], []
    for row in range(begin, end):
        time = float(dataset.times[row])
        if dataset.events[row]:
            offsets.append(2 * row)
            values.append(orjson.dumps({"time": time, "event": "break"}))
            stamps.append(round(time * 1000))
        cells = dict(zip(dataset.sensors, dataset.values[row].tolist(), strict=True))
        offsets.append(2 * row + 1)
        values.append(orjson.dumps({"time": time, "values": cells}))
        stamps.append(round(time * 1000))
    return RecordBatch("readings", 0, offsets, [b"pm-1"] * len(offsets), values, stamps)
