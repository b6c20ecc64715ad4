"""Rules of a plant for what raises nothing: sensors that may speak for an alarm only in one direction, from a least
deviation on, or never by themselves."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Rule(Struct, frozen=True):
    """What the sensors of a glob must show to speak; with neither `direction` nor `least_deviation` they never do."""

    sensors: str
    direction: Literal["up", "down"] | None = None
    least_deviation: float | None = None


class SuppressionRules(Struct, frozen=True, eq=False):
    """The rules for F sensors.

    Attributes:
        least_share: of the evidence that sensors which may speak must hold, for a step to raise an alarm.
        never: (F,) sensors that never speak by themselves.
        up, down: (F,) sensors that speak only above, or only below, what the model expects.
        least: (F,) least absolute deviation from it, in sensor units; 0 where there is none.
    """

    least_share: float
    never: Bools
    up: Bools
    down: Bools
    least: Floats

    @classmethod
    def of(cls, rules: Sequence[Rule], least_share: float, sensors: Sequence[str]) -> "SuppressionRules":
        """For a detector of these sensors; ValueError where a rule is about none of them."""
        never, up, down = (np.zeros(len(sensors), np.bool_) for _ in range(3))
        least = np.zeros(len(sensors))
        for rule in rules:
            own = np.array([fnmatchcase(name, rule.sensors) for name in sensors])
            if not own.any():
                raise ValueError(
                    f"suppression names sensors {rule.sensors!r}, and none of the {len(sensors)} is called so"
                )
            never |= own & (rule.direction is None and rule.least_deviation is None)
            up |= own & (rule.direction == "up")
            down |= own & (rule.direction == "down")
            least[own] = np.maximum(least[own], rule.least_deviation or 0.0)
        return cls(least_share, never, up, down, least)

    def suppressed(self, attribution: Floats, newest: Floats, expected: Floats) -> Bools:
        """(N,) steps whose evidence lies with sensors that may not speak.

        attribution: (N, F); newest, expected: (N, F) in sensor units, NaN = none. Where nothing is expected, or the
        value is missing, direction and deviation cannot be told, and the sensor speaks.
        """
        deviation = newest - expected
        silent = self.never | (self.up & (deviation < 0)) | (self.down & (deviation > 0))
        silent = silent | (np.abs(deviation) < self.least)
        evidence = np.maximum(np.nan_to_num(attribution, nan=0.0), 0.0)
        # Divided by the largest first: a sum of numbers near the end of float64 overflows.
        evidence = evidence / np.maximum(evidence.max(axis=1, keepdims=True, initial=0.0), 1e-300)
        spoken = np.where(silent, 0.0, evidence).sum(axis=1)
        below: Bools = spoken < self.least_share * evidence.sum(axis=1)
        return below
