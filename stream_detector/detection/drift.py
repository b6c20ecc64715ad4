"""Drift: compares the scores with those on data that the bundle had not learnt from.

The measure is the population stability index (Siddiqi 2006, "Credit risk scorecards", ch. 10): the sum over classes of
`(now - then) * ln(now / then)`, with classes that held a tenth of the scores each. 0 = the same; above 0.25 a shift
that is worth a look. It rests on ranks alone, so it means the same for every kind of score.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
MEMORY_STEPS = 500
MIN_STEPS = 200
SMALLEST_SHARE = 1e-3
"""Stands in for empty classes, whose logarithm is not finite."""


@dataclass(frozen=True)
class ScoreReference:
    """`edges`: upper ends of all classes but the last; `shares`: (len(edges) + 1,) of the scores in each, sums to 1."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> Self | None:
        """From scores (N,); None where there are too few to tell anything."""
        known = scores[np.isfinite(scores)]
        if len(known) < MIN_STEPS:
            return None
        # Equal scores fall into one class, which then holds more than a tenth.
        edges = np.unique(np.quantile(known, np.arange(1, CLASSES) / CLASSES))
        counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
        return cls(tuple(edges.tolist()), tuple((counts / len(known)).tolist()))

    @classmethod
    def from_json(cls, found: object) -> Self | None:
        """From what `to_json` wrote into a manifest; None where there is none."""
        if not isinstance(found, Mapping) or not {"edges", "shares"} <= set(found):
            return None
        return cls(tuple(map(float, found["edges"])), tuple(map(float, found["shares"])))

    def to_json(self) -> dict[str, Any]:
        return {"edges": list(self.edges), "shares": list(self.shares)}


class DriftMeter:
    """Follows the scores of one asset; older ones fade over `memory_steps`."""

    def __init__(self, reference: ScoreReference, memory_steps: int = MEMORY_STEPS) -> None:
        self._edges = np.asarray(reference.edges)
        self._then = np.maximum(reference.shares, SMALLEST_SHARE)
        self._now = np.zeros(len(self._then))
        self._fade = 1.0 - 1.0 / memory_steps
        self._steps = 0

    def add(self, score: float) -> None:
        """The score of one more step."""
        if not math.isfinite(score):
            return
        self._now *= self._fade
        self._now[np.searchsorted(self._edges, score, side="left")] += 1.0
        self._steps += 1

    @property
    def level(self) -> float | None:
        """The population stability index; None during the first steps."""
        if self._steps < MIN_STEPS:
            return None
        now = np.maximum(self._now / self._now.sum(), SMALLEST_SHARE)
        return float(((now - self._then) * np.log(now / self._then)).sum())
