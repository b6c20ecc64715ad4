"""Decision trees as plain arrays: what a forest learnt, without the library that learnt it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Inputs = NDArray[np.float32]

MOST_LEVELS = 500
"""Deeper trees are a mistake: every level costs time at every step."""

LARGEST_VALUE = 1e6

CLIP = 1e-4
"""Probabilities are held this far from 0 and 1 before a logit is taken."""


class Forest(Struct, frozen=True):
    """N nodes of T trees. A node sends x left if x[feature] <= threshold; a leaf sends everything to itself.

    feature, left, right: (N,) int32; threshold, value: (N,); roots: (T,) int32. What the values mean is for the member
    of the ensemble to say: the share of positives among a node's training rows, or a part of a logit.
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    roots: Ints

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], features: int) -> "Forest":
        """From named arrays; ValueError where they are no forest over so many features."""
        for name, array in arrays.items():
            if array.ndim != 1:
                raise ValueError(f"a forest's {name} has {array.ndim} dimensions, not one")
        try:
            forest = cls(
                arrays["feature"].astype(np.int32),
                arrays["threshold"].astype(np.float64),
                arrays["left"].astype(np.int32),
                arrays["right"].astype(np.int32),
                arrays["value"].astype(np.float64),
                arrays["roots"].astype(np.int32),
            )
        except KeyError as error:
            raise ValueError(f"a forest lacks its array {error}") from error
        nodes = len(forest.feature)
        if any(len(a) != nodes for a in (forest.threshold, forest.left, forest.right, forest.value)) or not nodes:
            raise ValueError("the arrays of a forest differ in length")
        index = np.arange(nodes)
        leaf = forest.left == index
        if not (leaf == (forest.right == index)).all() or (forest.left < index).any() or (forest.right < index).any():
            raise ValueError("a forest's nodes do not lead downwards")  # so that every descent ends
        if max(forest.left.max(), forest.right.max(), forest.roots.max(initial=0)) >= nodes or forest.roots.min() < 0:
            raise ValueError("a forest's nodes point outside of it")
        if forest.feature.min() < 0 or forest.feature.max() >= features:
            raise ValueError(f"a forest reads a feature beyond the {features} that there are")
        if not (np.abs(forest.value) <= LARGEST_VALUE).all():
            raise ValueError(f"a forest has values beyond +-{LARGEST_VALUE:g}")
        if forest._levels() > MOST_LEVELS:
            raise ValueError(f"a forest has more than {MOST_LEVELS} levels")
        return forest

    def _levels(self) -> int:
        """Steps of the longest descent through a tree; counting stops where there are too many."""
        nodes = np.unique(self.roots)
        for level in range(MOST_LEVELS + 1):
            nodes = nodes[self.left[nodes] != nodes]
            if not len(nodes):
                return level
            nodes = np.unique(np.concatenate([self.left[nodes], self.right[nodes]]))
        return MOST_LEVELS + 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `restore` reads."""
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "value": self.value,
            "roots": self.roots,
        }

    def leaves(self, inputs: Inputs) -> Floats:
        """(B, D) -> (B, T) value of the leaf that each tree leads to."""
        nodes = np.broadcast_to(self.roots, (len(inputs), len(self.roots)))
        rows = np.arange(len(inputs))[:, None]
        while True:
            goes_left = inputs[rows, self.feature[nodes]] <= self.threshold[nodes]
            below = np.where(goes_left, self.left[nodes], self.right[nodes])
            if np.array_equal(below, nodes):
                return np.ascontiguousarray(self.value[nodes])
            nodes = below

    def explain(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """One row (D,): the values of its leaves (T,), and each feature's part (D,) in what sets their sum apart from
        that of the roots.

        Along its path every split hands the change of the value to its feature (Saabas 2014, "Interpreting random
        forests"); the parts and the roots' values add up to those of the leaves.
        """
        nodes = self.roots
        parts = np.zeros(len(inputs))
        while True:
            feature = self.feature[nodes]
            below = np.where(inputs[feature] <= self.threshold[nodes], self.left[nodes], self.right[nodes])
            if np.array_equal(below, nodes):
                return self.value[nodes], parts
            np.add.at(parts, feature, self.value[below] - self.value[nodes])
            nodes = below


def logit(probability: Floats) -> Floats:
    """log(p / (1 - p)) of clipped probabilities."""
    clipped = np.clip(probability, CLIP, 1.0 - CLIP)
    result: Floats = np.log(clipped / (1.0 - clipped))
    return result
