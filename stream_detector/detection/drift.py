"""Drift: compares the scores with those on data that the bundle had not learnt from.

The measure is the population stability index (Siddiqi 2006, "Credit risk scorecards", ch. 10): the sum over classes of
`(now - then) * ln(now / then)`, with classes that held a tenth of the scores each. 0 = the same; above 0.25 a shift
that is worth a look. It rests on ranks alone, so it means the same for every kind of score.

That limit is for scores that do not depend on one another. Neighbouring ones do, some over hours, and then a stretch
differs from all scores by chance alone. So the reference tells how far stretches of itself lie from it, by a block
bootstrap (Kuensch 1989, "The jackknife and the bootstrap for general stationary observations"): what one in twenty
exceeds is where the level stands at 0.25.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

CLASSES = 10
MEMORY_STEPS = 500
MIN_STEPS = 200
SMALLEST_SHARE = 1e-3
"""Stands in for empty classes, whose logarithm is not finite."""

LIMIT = 0.25
"""Above this level the scores have drifted."""

STRETCH_STEPS = 2 * MEMORY_STEPS
"""So many equally weighted steps vary as much as a memory that fades over half of them."""

LEAST_STRETCHES = 4
DRAWS = 1_000
Level = Literal["score", "probability"]

USUAL = 0.95
"""Share of the drawn stretches whose index lies below the limit."""


class ScoreReference(Struct, frozen=True):
    """`edges`: upper ends of all classes but the last; `shares`: (len(edges) + 1,) of the scores in each, sums to 1.

    `limit`: the index that a stretch without drift rarely exceeds, at least `LIMIT`.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    limit: float = LIMIT

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> Self | None:
        """From scores (N,) in order of time; None where there are too few to tell anything."""
        known = scores[np.isfinite(scores)]
        if len(known) < MIN_STEPS:
            return None
        # Equal scores fall into one class, which then holds more than a tenth.
        edges = np.unique(np.quantile(known, np.arange(1, CLASSES) / CLASSES))
        classes = np.searchsorted(edges, known, side="left")
        counts = np.bincount(classes, minlength=len(edges) + 1)
        limit = max(LIMIT, _usual_index(classes, len(counts)))
        return cls(tuple(edges.tolist()), tuple((counts / len(known)).tolist()), limit)

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any]) -> tuple[Self, Level] | None:
        """The reference that a bundle's metrics hold, and of what; None where there is none.

        A head decides by its probability, and what it said of days that it had not learnt from is kept of every fit.
        """
        levels: tuple[tuple[str, Level], ...] = (("probabilities", "probability"), ("scores", "score"))
        for key, level in levels:
            found = cls.from_json(metrics.get(key))
            if found is not None:
                return found, level
        return None

    @classmethod
    def from_json(cls, found: object) -> Self | None:
        """From what `to_json` wrote into a manifest; None where there is none."""
        if not isinstance(found, Mapping) or not {"edges", "shares"} <= set(found):
            return None
        limit = float(found.get("limit", LIMIT))
        return cls(tuple(map(float, found["edges"])), tuple(map(float, found["shares"])), limit)

    def to_json(self) -> dict[str, Any]:
        return {"edges": list(self.edges), "shares": list(self.shares), "limit": self.limit}


def _usual_index(classes: NDArray[np.int64], count: int) -> float:
    """What the index of a stretch seldom exceeds, where the scores only ever do what they did. classes: (N,)."""
    length = min(STRETCH_STEPS, len(classes) // LEAST_STRETCHES)
    in_class = classes[:, None] == np.arange(count)
    # Blocks may begin anywhere, so the end is followed by the beginning.
    passed = np.concatenate([np.zeros((1, count)), np.cumsum(np.concatenate([in_class, in_class[:length]]), axis=0)])
    draws = np.random.default_rng(0)
    starts = draws.integers(len(classes), size=(DRAWS, len(classes) // length + 1))
    shares = (passed[starts + length] - passed[starts]) / length
    now, then = shares[:, 0], shares[:, 1:].mean(axis=1)
    return float(np.quantile(stability_index(now, then), USUAL))


def stability_index(now: NDArray[np.float64], then: NDArray[np.float64]) -> NDArray[np.float64]:
    """The index of shares (..., classes) against others."""
    now, then = np.maximum(now, SMALLEST_SHARE), np.maximum(then, SMALLEST_SHARE)
    found: NDArray[np.float64] = ((now - then) * np.log(now / then)).sum(axis=-1)
    return found


class DriftMeter:
    """Follows the scores of one asset; older ones fade over `memory_steps`."""

    def __init__(self, reference: ScoreReference, memory_steps: int = MEMORY_STEPS) -> None:
        self._edges = np.asarray(reference.edges)
        self._then = np.asarray(reference.shares)
        self._unit = LIMIT / reference.limit
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
        """The population stability index, in units in which the reference's limit is 0.25; None in the first steps."""
        if self._steps < MIN_STEPS:
            return None
        return self._unit * float(stability_index(self._now / self._now.sum(), self._then))
