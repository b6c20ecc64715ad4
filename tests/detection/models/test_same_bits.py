"""Every registered kind of model: a window's result is the same bits whatever is scored with it."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.fixed_batches import BATCH_WINDOWS
from stream_detector.detection.models.registry import build
from stream_detector.detection.scoring import ScoredWindows, Scorer
from tests.support.models import ALL_KINDS, some_scorer
from tests.support.properties import examples

MOST_WINDOWS = 700


def windows_of(count: int, steps: int, sensors: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count, steps, sensors), in half of the draws with a few cells missing."""
    windows = rng.normal(size=(count, steps, sensors))
    if rng.random() < 0.5:
        windows[rng.random(windows.shape) < 0.05] = np.nan
    return windows


def assert_same(found: ScoredWindows, wanted: ScoredWindows, rows: NDArray[np.int64]) -> None:
    for name in ("score", "attribution", "expected"):
        assert getattr(found, name).tobytes() == getattr(wanted, name)[rows].tobytes(), name


def in_parts(scorer: Scorer, windows: NDArray[np.float64], cuts: NDArray[np.int64]) -> ScoredWindows:
    parts = [scorer.score(part) for part in np.split(windows, np.unique(cuts))]
    return ScoredWindows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "attribution", "expected"))
    )


@pytest.mark.parametrize("kind", ALL_KINDS)
@settings(max_examples=examples(8))
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, MOST_WINDOWS),
    steps=st.sampled_from([1, 2, 3, 5, 8, 16]),
    sensors=st.sampled_from([1, 2, 3, 7, 20, 61]),
)
def test_a_window_scores_the_same_bits_in_any_batch_order_place_and_number_of_threads(
    kind: str, seed: int, count: int, steps: int, sensors: int
) -> None:
    rng = np.random.default_rng(seed)
    scorer = some_scorer(kind, steps, sensors, seed)
    assume(scorer is not None)
    assert scorer is not None
    windows = windows_of(count, steps, sensors, rng)
    together = scorer.score(windows)
    order = rng.permutation(count)
    assert_same(scorer.score(windows[order]), together, order)
    assert_same(
        in_parts(scorer, windows, rng.integers(0, count + 1, size=rng.integers(1, 9))), together, np.arange(count)
    )
    some = rng.permutation(count)[:3]
    for window in some:
        assert_same(scorer.score(windows[window : window + 1]), together, np.array([window]))
    for threads in (1, 2):
        with threadpool_limits(threads):
            assert_same(scorer.score(windows), together, np.arange(count))


def test_a_mean_over_steps_does_not_hang_on_the_place_of_its_window() -> None:
    model = build(ModelConfig(kind="conv-classifier", options={"filters": [2], "kernel": 4, "pool": 1}), 8, 8)
    rng = np.random.default_rng(0)
    for _ in range(100):
        windows = rng.normal(size=(BATCH_WINDOWS, 8, 8)).astype(np.float32)
        known, order = np.ones(windows.shape, np.bool_), rng.permutation(BATCH_WINDOWS)
        found, wanted = model.run(windows[order], known).score, model.run(windows, known).score
        assert found is not None
        assert wanted is not None
        assert found.tobytes() == wanted[order].tobytes()
