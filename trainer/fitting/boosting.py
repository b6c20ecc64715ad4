"""Boosted trees equal to scikit-learn's to the bit, grown in less time where each split tries a part of the features.

scikit-learn computes at every node the histograms of all features (Ke et al. 2017, "LightGBM: a highly efficient
gradient boosting decision tree"), and then looks at the tried ones. Here a histogram is computed when it is looked at:
the same sums in the same order, and the same draws of features, so the same trees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn._loss import HalfBinomialLoss
from sklearn.ensemble._hist_gradient_boosting._gradient_boosting import _update_raw_predictions
from sklearn.ensemble._hist_gradient_boosting.common import HISTOGRAM_DTYPE
from sklearn.ensemble._hist_gradient_boosting.grower import TreeGrower
from sklearn.ensemble._hist_gradient_boosting.histogram import HistogramBuilder

from stream_detector.detection.head.calibrated_head import BoostedConfig

MOST_BINS = 64
MOST_LEAVES = 31
SHARES = np.linspace(0, 100, MOST_BINS + 1)[1:-1]
FEATURES_AT_ONCE = 64
"""Sorted together: a large table is never held several times over."""

Bools = NDArray[np.bool_]
Inputs = NDArray[np.float32]
Floats = NDArray[np.float64]
Places = NDArray[np.uint32]


@dataclass(frozen=True)
class Grown:
    """`trees`: scikit-learn's predictors, one a round. `base`: the logit that they add to."""

    trees: list[Any]
    base: float


def boost(kind: BoostedConfig, inputs: Inputs, target: Bools, rising: Bools, seed: int) -> Grown:
    """What `HistGradientBoostingClassifier(random_state=seed, ...)` learns from these rows, on one thread.

    inputs: (M, D), none of them NaN; target: (M,), of both kinds; rising: (D,) features that never lower the logit.
    """
    seeds = np.random.RandomState(seed)
    _, of_features = (seeds.randint(np.iinfo(np.uint32).max, dtype="u8") for _ in range(2))
    draws = np.random.default_rng(of_features)
    bins = find_bins(inputs)
    loss, truth = HalfBinomialLoss(), target.astype(np.float64)
    base = float(np.asarray(loss.fit_intercept_only(y_true=truth)).item())
    logits = np.full(len(truth), base)
    gradient, hessian = np.empty((2, len(truth)), np.float32)
    trees = []
    for _ in range(kind.trees):
        loss.gradient_hessian(
            y_true=truth, raw_prediction=logits, gradient_out=gradient, hessian_out=hessian, n_threads=1
        )
        tree = _Tree(
            bins.places,
            gradient,
            hessian,
            max_leaf_nodes=MOST_LEAVES,
            max_depth=kind.depth,
            min_samples_leaf=kind.smallest_leaf,
            n_bins=MOST_BINS + 1,
            n_bins_non_missing=bins.counts,
            monotonic_cst=rising.astype(np.int8),
            l2_regularization=kind.shrinkage,
            feature_fraction_per_split=kind.tried_features,
            rng=draws,
            shrinkage=kind.learning_rate,
            n_threads=1,
        )
        tree.grow()
        trees.append(tree.make_predictor(binning_thresholds=bins.thresholds))
        _update_raw_predictions(logits, tree, 1)
    return Grown(trees, base)


@dataclass(frozen=True)
class Bins:
    """`thresholds`: for each of D features the upper ends of its bins but the last; `counts`: (D,) how many bins.

    `places`: (M, D) the bin of each value, column by column.
    """

    thresholds: list[Floats]
    counts: NDArray[np.uint32]
    places: NDArray[np.uint8]


def find_bins(inputs: Inputs) -> Bins:
    """At most `MOST_BINS` of each feature (M, D): one for each of its values, or of about as many values each."""
    thresholds: list[Floats] = []
    places = np.empty(inputs.shape, np.uint8, order="F")
    for first in range(0, inputs.shape[1], FEATURES_AT_ONCE):
        columns = np.ascontiguousarray(inputs[:, first : first + FEATURES_AT_ONCE].T)
        order = np.argsort(columns, axis=1)
        ordered = np.take_along_axis(columns, order, axis=1).astype(np.float64)
        quantiles = np.percentile(ordered, SHARES, axis=1, method="averaged_inverted_cdf").T
        for own_order, own, limits in zip(order, ordered, quantiles, strict=True):
            distinct = own[np.append(True, own[1:] != own[:-1])]
            # A value that is as frequent as several bins' worth ends one bin alone.
            ends = (distinct[:-1] + distinct[1:]) / 2 if len(distinct) <= MOST_BINS else np.unique(limits)
            places[own_order, len(thresholds)] = np.searchsorted(ends, own)
            thresholds.append(ends)
    return Bins(thresholds, np.array([len(ends) + 1 for ends in thresholds], np.uint32), places)


class _Tree(TreeGrower):  # type: ignore[misc]
    """Draws the features of a split before it looks at histograms, and has those of the drawn ones computed."""

    histogram_builder: Any

    def _initialize_root(self) -> None:
        self._tried, self._draws = self.splitter.feature_fraction_per_split, self.splitter.rng
        self.splitter.feature_fraction_per_split = 1.0
        self.histogram_builder = _LaterBuilder(self.histogram_builder)
        super()._initialize_root()

    def _compute_best_split_and_push(self, node: Any) -> None:
        tried = np.ones(self.n_features, dtype=bool)
        if self._tried < 1:
            tried[max(1, ceil(self._tried * self.n_features)) :] = False
            self._draws.shuffle(tried)
        histograms = node.histograms
        node.allowed_features = np.flatnonzero(tried).astype(np.uint32)
        node.histograms = histograms.of(node.allowed_features)
        super()._compute_best_split_and_push(node)
        node.histograms = histograms


class _Histograms:
    """The histograms (D, bins) of one node, each feature's computed when it is first asked for."""

    def __init__(self, features: int, compute: Callable[[Places], NDArray[Any]]) -> None:
        self._compute = compute
        self._known = np.zeros(features, dtype=bool)
        self._found: NDArray[Any] | None = None

    def of(self, features: Places) -> NDArray[Any]:
        """(D, bins) in which the rows of these features are true."""
        unknown = features[~self._known[features]]
        if self._found is None:
            self._found = self._compute(features)
        elif len(unknown):
            _copy(self._compute(unknown), self._found, unknown)
        self._known[unknown] = True
        return self._found

    def __getitem__(self, feature: int) -> Any:
        return self.of(np.array([feature], np.uint32))[feature]


class _LaterBuilder:
    """Stands in for scikit-learn's builder, and computes nothing before it is asked for a feature."""

    hessians_are_constant = False

    def __init__(self, builder: Any) -> None:
        self._parts = builder
        # The other one keeps the sums of the root's rows apart: a builder reorders the gradients for every node.
        self._whole = HistogramBuilder(
            builder.X_binned, builder.n_bins, builder.gradients, builder.hessians, False, builder.n_threads
        )

    def compute_histograms_brute(self, sample_indices: Any, allowed_features: None) -> _Histograms:  # noqa: ARG002
        rows = np.array(sample_indices)  # the tree goes on reordering its own
        builder = self._whole if len(rows) == len(self._parts.gradients) else self._parts

        def compute(features: Places) -> NDArray[Any]:
            found = np.frombuffer(builder.compute_histograms_brute(rows, features), HISTOGRAM_DTYPE)
            return found.reshape(builder.n_features, builder.n_bins)

        return _Histograms(builder.n_features, compute)

    def compute_histograms_subtraction(
        self,
        parent: _Histograms,
        sibling: _Histograms,
        allowed_features: None,  # noqa: ARG002
    ) -> _Histograms:
        def compute(features: Places) -> NDArray[Any]:
            whole = parent.of(features)
            found = np.empty_like(whole)
            _copy(whole, found, features)
            self._parts.compute_histograms_subtraction(found, sibling.of(features), features)
            return found

        return _Histograms(self._parts.n_features, compute)


def _copy(source: NDArray[Any], target: NDArray[Any], features: Places) -> None:
    """The rows of these features: as bytes, for records are copied field by field."""
    target.view(np.uint8)[features] = source.view(np.uint8)[features]
