"""Boosted trees of our own growing beside those of scikit-learn."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from stream_detector.detection.head.calibrated_head import BoostedConfig
from tests.support.properties import fast_first
from trainer.fitting.boosting import MOST_BINS, boost, find_bins


def table(rows: int = 500, features: int = 40, seed: int = 7) -> NDArray[np.float32]:
    """Features of every kind: with many values, few, one, and one value that most rows have."""
    inputs = np.random.default_rng(seed).normal(size=(rows, features)).astype(np.float32)
    inputs[:, 3] = inputs[:, 3].round()
    inputs[:, 4] = 1.5
    inputs[: rows // 2, 5] = 0.25
    return inputs


@pytest.mark.parametrize("tried", [0.1, 1.0])
@pytest.mark.parametrize("depth", fast_first([3, 6], 1))
def test_the_trees_are_those_of_scikit_learn_to_the_bit(tried: float, depth: int) -> None:
    inputs = table()
    rng = np.random.default_rng(8)
    target = inputs[:, 0] - inputs[:, 1] + inputs[:, 3] + rng.normal(size=len(inputs)) > 1.5
    rising = np.arange(inputs.shape[1]) % 2 == 0
    kind = BoostedConfig(trees=12, learning_rate=0.1, depth=depth, smallest_leaf=5, shrinkage=3, tried_features=tried)
    model: Any = HistGradientBoostingClassifier(
        max_iter=kind.trees,
        learning_rate=kind.learning_rate,
        max_depth=kind.depth,
        min_samples_leaf=kind.smallest_leaf,
        l2_regularization=kind.shrinkage,
        max_features=kind.tried_features,
        max_bins=MOST_BINS,
        monotonic_cst=rising.astype(np.int8),
        early_stopping=False,
        random_state=11,
    ).fit(inputs, target)
    grown = boost(kind, inputs, target, rising, 11)
    assert grown.base == model._baseline_prediction.item()
    assert any(len(tree.nodes) > 3 for tree in grown.trees)
    for own, (theirs,) in zip(grown.trees, model._predictors, strict=True):
        assert own.nodes.tobytes() == theirs.nodes.tobytes()


def test_a_value_lies_in_the_bin_whose_upper_end_is_the_first_that_it_does_not_exceed() -> None:
    inputs = table()
    bins = find_bins(inputs)
    assert bins.counts[4] == 1
    assert bins.counts.max() == MOST_BINS
    for feature, ends in enumerate(bins.thresholds):
        expected = [int(np.searchsorted(ends, value)) for value in inputs[:, feature].astype(np.float64)]
        assert bins.places[:, feature].tolist() == expected
