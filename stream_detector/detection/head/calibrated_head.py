"""Head kind "calibrated": movements and the event clock, an ensemble of plain arrays, a rate that follows the plant.

Its running state (scales, clock, rate) starts where the training data ended, so that a plant need not teach it anew.
Where the bundle takes over from another one, it reads on from there: what it has not seen of the log, as far as that is
read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from stream_detector.detection.config import Config, HeadConfig, LeadConfig
from stream_detector.detection.head.calibration import CalibrationConfig, RateTracker, sigmoid
from stream_detector.detection.head.ensemble import Ensemble
from stream_detector.detection.head.event_clock import ClockState
from stream_detector.detection.head.features import FeatureConfig, Features
from stream_detector.detection.head.head import HeadReach, HeadResult, StepInput
from stream_detector.detection.head.state import CalibratedState, from_bytes, prime, primed, to_bytes


class BagConfig(Config):
    """`keep`: each of `bags` ensembles of trees learns from this part of the normal rows and from all positives.
    `weight`: of all bags together, in the mean of the logits."""

    bags: int = Field(default=1, ge=1)
    keep: float = Field(default=1.0, gt=0, le=1)
    weight: float = Field(default=1.0, gt=0)


class ForestConfig(BagConfig):
    """One kind of extra-trees (Geurts, Ernst and Wehenkel 2006)."""

    criterion: str = Field(default="gini", pattern="^(gini|entropy)$")
    trees: int = Field(default=100, ge=1)
    smallest_leaf: int = Field(default=8, ge=1)
    tried_features: float = Field(default=0.05, gt=0, le=1)


class BoostedConfig(BagConfig):
    """One kind of gradient-boosted trees (Friedman 2001, "Greedy function approximation").

    `rising`: a sensor that moves more never lowers the probability. With few events to learn from, what one knows
    about a plant is worth more than what a tree makes of chance.
    """

    trees: int = Field(default=80, ge=1)
    learning_rate: float = Field(default=0.03, gt=0, le=1)
    depth: int = Field(default=3, ge=1)
    smallest_leaf: int = Field(default=10, ge=1)
    shrinkage: float = Field(default=10.0, ge=0, description="L2 of the leaves")
    tried_features: float = Field(default=0.1, gt=0, le=1)
    rising: bool = True


class CalibratedOptions(Config):
    """Options of this head; what is learnt travels as arrays. `strength`: of the logistic model, C of scikit-learn."""

    features: FeatureConfig = FeatureConfig()
    forests: tuple[ForestConfig, ...] = ()
    boosted: tuple[BoostedConfig, ...] = ()
    strength: float = Field(default=3e-4, gt=0)
    linear_weight: float = Field(default=1.0, ge=0)
    calibration: CalibrationConfig = CalibrationConfig()
    first_day: int = Field(default=3, ge=1, description="days learnt from before the first prediction for calibration")

    @model_validator(mode="after")
    def _something(self) -> "CalibratedOptions":
        if self.linear_weight == 0 and not self.forests and not self.boosted:
            raise ValueError("linear_weight = 0 without forests or boosted trees leaves nothing that could learn")
        return self


def read_options(config: HeadConfig) -> CalibratedOptions:
    """The options of a recipe's head section; ValueError where they are wrong."""
    try:
        return CalibratedOptions.model_validate(config.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("head.options", *map(str, first["loc"])))
        raise ValueError(f"{where}: {first['msg']}") from error


@dataclass(frozen=True)
class CalibratedHead:
    """The head of one fitted bundle. `offset`: added to every logit. `beginning`: the state of a new asset."""

    features: Features
    ensemble: Ensemble
    offset: float
    tracker: RateTracker
    beginning: CalibratedState = field(repr=False)

    @property
    def reach(self) -> HeadReach:
        begin = self.beginning
        if begin.primed_until is None or begin.primed_position is None:
            return HeadReach()
        return HeadReach(self.features.memory_steps, begin.primed_until)

    def fresh(self) -> CalibratedState:
        return from_bytes(to_bytes(self.beginning), self.beginning)

    def follow(self, state: CalibratedState, step: StepInput) -> None:
        """Training has shown the steps up to the last one of its data. Where that one is read again, the state goes on
        from there as if this head had decided since. Elsewhere a gap lies between: only what looks back a few steps
        moves on.
        """
        until, position = state.primed_until, state.primed_position
        if until is None:
            self.advance(state, step)
        elif position is None:
            return
        elif step.time > until:
            self.features.follow(state.features, step.values, step.run_position, step.event)
        elif step.time == until and step.event == (position < 0):
            state.features.position = position
            state.primed_until = state.primed_position = None

    def advance(self, state: CalibratedState, step: StepInput) -> HeadResult:
        if state.primed_until is not None:
            if self._just_shown(state, step):
                return self._answer_known(state, step)
            if step.time <= state.primed_until:
                # Older data than the training's end: its clock and rate are not ours to know.
                state.features.clock = ClockState()
                state.rate = self.tracker.fresh()
            state.primed_until = state.primed_position = None
        row = self.features.advance(state.features, step.time, step.values, step.run_position, step.event)
        self.tracker.advance(state.rate, step.step, step.time, step.event)
        if step.event or not step.scorable:
            return HeadResult(None, np.zeros(len(step.values)))
        logit, parts = self.ensemble.explain(row)
        before = float(sigmoid(np.array(logit + self.offset)))
        probability = float(sigmoid(np.array(logit + self.offset + self.tracker.correction(state.rate))))
        self.tracker.expect(state.rate, step.step, before)
        return HeadResult(probability, self.features.by_sensor(parts))

    def _just_shown(self, state: CalibratedState, step: StepInput) -> bool:
        """Whether the step is one of the newest of the training: they may be open where a bundle takes over."""
        until = state.primed_until
        if until is None or state.primed_position is None or step.step <= 0:
            return False
        return 0.0 <= until - step.time < self.features.memory_steps * step.time / step.step

    def _answer_known(self, state: CalibratedState, step: StepInput) -> HeadResult:
        """By what the step itself shows and the rate at the training's end, which has counted it already."""
        known, alone = state.features, self.features.fresh()
        alone.size, alone.weight = known.size.copy(), known.weight.copy()
        alone.clock = replace(known.clock, event_times=list(known.clock.event_times))
        row = self.features.advance(alone, step.time, step.values, step.run_position, step.event)
        rate = state.rate
        self.follow(state, step)
        if step.event or not step.scorable:
            return HeadResult(None, np.zeros(len(step.values)))
        logit, parts = self.ensemble.explain(row)
        probability = float(sigmoid(np.array(logit + self.offset + self.tracker.correction(rate))))
        return HeadResult(probability, self.features.by_sensor(parts))

    def dump(self, state: CalibratedState) -> bytes:
        return to_bytes(state)

    def load(self, data: bytes) -> CalibratedState:
        return from_bytes(data, self.beginning)


def fresh_state(features: Features, tracker: RateTracker) -> CalibratedState:
    """A state that has seen nothing at all."""
    return CalibratedState(features.fresh(), tracker.fresh())


def build_head(
    config: HeadConfig, arrays: Mapping[str, NDArray[Any]], sensors: tuple[str, ...], lead: LeadConfig
) -> CalibratedHead:
    """A fitted head from its arrays; ValueError where they do not fit the options."""
    options = read_options(config)
    features = Features(options.features, sensors)
    tracker = RateTracker(options.calibration, lead)
    if "offset" not in arrays or arrays["offset"].shape != (1,):
        raise ValueError("the head lacks its offset")
    ensemble = Ensemble.restore(arrays, len(features.names))
    beginning = primed(arrays, fresh_state(features, tracker))
    return CalibratedHead(features, ensemble, float(arrays["offset"][0]), tracker, beginning)


def head_arrays(ensemble: Ensemble, offset: float, beginning: CalibratedState) -> dict[str, NDArray[Any]]:
    """The arrays of a fitted head, as `build_head` reads them."""
    return {**ensemble.arrays(), "offset": np.array([offset]), **prime(beginning)}
