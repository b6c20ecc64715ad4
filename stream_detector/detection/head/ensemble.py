"""A logistic model, forests and boosted trees whose logits are averaged, all as plain arrays."""

from collections.abc import Mapping
from itertools import count
from typing import Any, ClassVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.head.forest import Forest, logit

Floats = NDArray[np.float64]
Inputs = NDArray[np.float32]

INPUT_LIMIT = 5.0
"""Standardised inputs of the logistic model are clipped to +-this: one broken sensor cannot decide alone."""


class Linear(Struct, frozen=True):
    """Logistic model on standardised inputs. center, scale, weights: (D,)."""

    center: Floats
    scale: Floats
    weights: Floats
    intercept: float

    def parts(self, inputs: Inputs) -> Floats:
        """(..., D) -> (..., D) each feature's part in the logit, 0 at the training mean."""
        standard = (inputs.astype(np.float64) - self.center) / self.scale
        parts: Floats = np.clip(standard, -INPUT_LIMIT, INPUT_LIMIT) * self.weights
        return parts


class Averaged(Struct, frozen=True):
    """Trees that say the share of positives; the member's logit is that of their mean.

    `weight`: in the mean of the members. `shift`: what the logit is short of (the member may have learnt from a part of
    the normal rows only: then log of that part).
    """

    NAME: ClassVar = "forest"

    forest: Forest
    weight: float
    shift: float

    def logits(self, inputs: Inputs) -> Floats:
        """(B, D) -> (B,)."""
        return logit(self.forest.leaves(inputs).mean(axis=1)) + self.shift

    def explain(self, inputs: Inputs) -> tuple[float, Floats]:
        """One row (D,): its logit, and each feature's part (D,) in it.

        The trees hand out shares of probability; they are stretched so that they add up to the logit above that of the
        mean of the roots.
        """
        leaves, parts = self.forest.explain(inputs)
        mean, gained = leaves.mean(), float(parts.sum()) / len(leaves)
        own = float(logit(mean))
        stretch = 0.0 if abs(gained) <= 1e-12 else (own - float(logit(mean - gained))) / (gained * len(leaves))
        return own + self.shift, stretch * parts


class Boosted(Struct, frozen=True):
    """Trees each of which adds to the logit. `weight`, `shift`: as above, the shift with what boosting began from."""

    NAME: ClassVar = "boosted"

    forest: Forest
    weight: float
    shift: float

    def logits(self, inputs: Inputs) -> Floats:
        """(B, D) -> (B,)."""
        return np.asarray(self.forest.leaves(inputs).sum(axis=1) + self.shift)

    def explain(self, inputs: Inputs) -> tuple[float, Floats]:
        """One row (D,): its logit, and each feature's part (D,) in it; they add up to it, but for the roots' values."""
        leaves, parts = self.forest.explain(inputs)
        return float(leaves.sum()) + self.shift, parts


Member = Averaged | Boosted
KINDS: tuple[type[Averaged] | type[Boosted], ...] = (Averaged, Boosted)


class Ensemble(Struct, frozen=True):
    """Weighted mean of the members' logits; an unknown input (NaN) stands at its training mean.

    neutral: (D,) float32 training means.
    """

    neutral: Inputs
    linear: Linear
    linear_weight: float
    members: tuple[Member, ...]

    def logits(self, features: Inputs) -> Floats:
        """(B, D) -> (B,)."""
        inputs = self.filled(features)
        total = np.zeros(len(inputs))
        if self.linear_weight > 0:
            total += self.linear_weight * (self.linear.parts(inputs).sum(axis=1) + self.linear.intercept)
        for member in self.members:
            total += member.weight * member.logits(inputs)
        return np.asarray(total / self._total_weight)

    def explain(self, features: Inputs) -> tuple[float, Floats]:
        """One row (D,): its logit, and every feature's part (D,) in it, in units of the logit."""
        inputs = self.filled(features)
        linear = self.linear.parts(inputs)
        total = self.linear_weight * (float(linear.sum()) + self.linear.intercept)
        parts = self.linear_weight * linear
        for member in self.members:
            own, shares = member.explain(inputs)
            total += member.weight * own
            parts += member.weight * shares
        return total / self._total_weight, parts / self._total_weight

    def filled(self, features: Inputs) -> Inputs:
        """The features with the training mean wherever one is unknown."""
        return np.where(np.isnan(features), self.neutral, features)

    @property
    def _total_weight(self) -> float:
        return self.linear_weight + sum(member.weight for member in self.members)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `restore` reads."""
        result: dict[str, NDArray[Any]] = {
            "neutral": self.neutral,
            "linear.center": self.linear.center,
            "linear.scale": self.linear.scale,
            "linear.weights": self.linear.weights,
            "linear.intercept": np.array([self.linear.intercept, self.linear_weight]),
        }
        for kind in KINDS:
            for number, member in enumerate(member for member in self.members if isinstance(member, kind)):
                prefix = f"{kind.NAME}.{number}."
                result |= {prefix + name: array for name, array in member.forest.arrays().items()}
                result[prefix + "weight"] = np.array([member.weight, member.shift])
        return result

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], features: int) -> "Ensemble":
        """From named arrays; ValueError where they do not fit so many features."""
        try:
            wide = {name: arrays[name] for name in ("neutral", "linear.center", "linear.scale", "linear.weights")}
            intercept, linear_weight = _two_numbers("linear.intercept", arrays["linear.intercept"])
        except KeyError as error:
            raise ValueError(f"the head lacks its array {error}") from error
        for name, array in wide.items():
            if array.shape != (features,):
                raise ValueError(f"{name} has shape {array.shape}, the head reads {features} features")
        members: list[Member] = []
        for kind in KINDS:
            for number in count():
                prefix = f"{kind.NAME}.{number}."
                if prefix + "weight" not in arrays:
                    break
                weight, shift = _two_numbers(prefix + "weight", arrays[prefix + "weight"])
                own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
                members.append(kind(Forest.restore(own, features), weight, shift))
        linear = Linear(
            wide["linear.center"].astype(np.float64),
            wide["linear.scale"].astype(np.float64),
            wide["linear.weights"].astype(np.float64),
            intercept,
        )
        ensemble = cls(wide["neutral"].astype(np.float32), linear, linear_weight, tuple(members))
        weights = [linear_weight, *(member.weight for member in members)]
        if not all(weight >= 0 for weight in weights) or not 0 < sum(weights) < np.inf:
            raise ValueError(
                f"the weights of the head's members are {weights}: none may be negative, one must not be 0"
            )
        return ensemble


def _two_numbers(name: str, array: NDArray[Any]) -> tuple[float, float]:
    """ValueError where it is something else, or not finite."""
    if array.shape != (2,) or not np.isfinite(array).all():
        raise ValueError(f"{name} is {array.tolist()}, not two numbers")
    return float(array[0]), float(array[1])
