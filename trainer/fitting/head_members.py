"""The members of the calibrated head's ensemble: fitted with scikit-learn, handed on as plain arrays."""

from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from stream_detector.detection.head.calibrated_head import BagConfig, BoostedConfig, ForestConfig
from stream_detector.detection.head.ensemble import INPUT_LIMIT, Averaged, Boosted, Linear, Member
from stream_detector.detection.head.forest import Forest

Bools = NDArray[np.bool_]
Inputs = NDArray[np.float32]
Numbers = NDArray[Any]


def no_linear(features: int) -> Linear:
    return Linear(np.zeros(features), np.ones(features), np.zeros(features), 0.0)


def fit_linear(strength: float, inputs: Inputs, target: Bools) -> Linear:
    from sklearn.linear_model import LogisticRegression

    center, scale = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64) + 1e-6
    standard = np.clip((inputs - center) / scale, -INPUT_LIMIT, INPUT_LIMIT)
    model = LogisticRegression(C=strength, max_iter=300).fit(standard, target)
    return Linear(center, scale, model.coef_[0].astype(np.float64), float(model.intercept_[0]))


def fit_forests(kind: ForestConfig, inputs: Inputs, target: Bools, seed: int) -> list[Member]:
    from sklearn.ensemble import ExtraTreesClassifier

    members: list[Member] = []
    for bag in range(kind.bags):
        kept = _bag(kind, target, seed, bag)
        model = ExtraTreesClassifier(
            kind.trees,
            criterion=kind.criterion,
            min_samples_leaf=kind.smallest_leaf,
            max_features=kind.tried_features,
            random_state=seed * 1000 + bag,
            n_jobs=1,
        ).fit(inputs[kept], target[kept])
        members.append(Averaged(forest_as_arrays(model.estimators_), kind.weight / kind.bags, float(np.log(kind.keep))))
    return members


def fit_boosted(kind: BoostedConfig, inputs: Inputs, target: Bools, movement: Bools, seed: int) -> Boosted:
    """The mean of the bags' logits is a sum over the trees of all bags: one member."""
    from threadpoolctl import threadpool_limits

    from trainer.fitting.boosting import boost

    forests, bases = [], []
    for bag in range(kind.bags):
        kept = _bag(kind, target, seed, bag)
        # Other fits run beside this one, in threads or processes of their own.
        with threadpool_limits(1):
            grown = boost(kind, inputs[kept], target[kept], movement & kind.rising, seed * 1000 + bag)
        forest = boosted_as_arrays(grown.trees)
        forests.append(replace(forest, value=forest.value / kind.bags))
        bases.append(grown.base)
    return Boosted(_joined(forests), kind.weight, float(np.mean(bases) + np.log(kind.keep)))


def _bag(kind: BagConfig, target: Bools, seed: int, bag: int) -> Bools:
    """(M,) which rows this bag learns from."""
    return target | (np.random.default_rng([seed, bag]).random(len(target)) < kind.keep)


def boosted_as_arrays(predictors: list[Any]) -> Forest:
    """Boosted trees of scikit-learn as plain arrays.

    scikit-learn keeps the values of leaves alone; a node above them gets the mean of its training rows.
    """
    trees = []
    for tree in predictors:
        nodes = tree.nodes
        leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        value, count = nodes["value"].astype(np.float64), nodes["count"].astype(np.float64)
        for node in own[~leaf][::-1]:  # children come after their parents
            below = [nodes["left"][node], nodes["right"][node]]
            value[node] = (value[below] * count[below]).sum() / count[below].sum()
        feature, threshold = np.where(leaf, 0, nodes["feature_idx"]), np.where(leaf, 0.0, nodes["num_threshold"])
        left, right = np.where(leaf, own, nodes["left"]), np.where(leaf, own, nodes["right"])
        trees.append(_tree(feature, threshold, left, right, value))
    return _joined(trees)


def forest_as_arrays(trees: list[Any]) -> Forest:
    """Fitted scikit-learn trees as plain arrays; a leaf leads to itself."""
    found = []
    for estimator in trees:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        own = np.arange(tree.node_count)
        counts = tree.value[:, 0, :]
        feature, threshold = np.where(leaf, 0, tree.feature), np.where(leaf, 0.0, tree.threshold)
        left, right = np.where(leaf, own, tree.children_left), np.where(leaf, own, tree.children_right)
        found.append(_tree(feature, threshold, left, right, counts[:, 1] / counts.sum(axis=1)))
    return _joined(found)


def _tree(feature: Numbers, threshold: Numbers, left: Numbers, right: Numbers, value: Numbers) -> Forest:
    """A forest of one tree, its root at 0; a leaf leads to itself."""
    return Forest(
        feature.astype(np.int32),
        threshold.astype(np.float64),
        left.astype(np.int32),
        right.astype(np.int32),
        value.astype(np.float64),
        np.zeros(1, np.int32),
    )


def _joined(forests: list[Forest]) -> Forest:
    """All their trees in one."""
    starts = np.cumsum([0, *(len(forest.feature) for forest in forests[:-1])]).astype(np.int32)
    return Forest(
        np.concatenate([forest.feature for forest in forests]),
        np.concatenate([forest.threshold for forest in forests]),
        np.concatenate([forest.left + start for forest, start in zip(forests, starts, strict=True)]),
        np.concatenate([forest.right + start for forest, start in zip(forests, starts, strict=True)]),
        np.concatenate([forest.value for forest in forests]),
        np.concatenate([forest.roots + start for forest, start in zip(forests, starts, strict=True)]),
    )
