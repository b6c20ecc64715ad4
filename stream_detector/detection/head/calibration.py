"""A calibrated probability while the base rate moves: one offset learnt once, and corrections that follow.

The offset makes the predicted number of positives equal to the observed one over past predictions. The correction
compares, with several half-lives, the decayed observed positives O with the decayed expected ones E and adds a part of
log((prior + O) / (prior + E)) to the logit. A label counts only once the lead window of its step is over. An event that
is told later than that still counts where it belongs, faded as if it had been told in time, for a day.

Bursts have a correction of their own. Where each event breeds others (Hawkes 1971, "Spectra of some self-exciting and
mutually exciting point processes") with an exponential kernel, and n of all events were bred by earlier ones, the rate
is (1 - n) + n O / E times its mean: it rises with every event, and however quiet it was, it does not fall below 1 - n.
"""

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config, LeadConfig
from stream_detector.detection.head.counted_steps import CountedSteps

Floats = NDArray[np.float64]

SECONDS_PER_DAY = 86_400.0


class BurstConfig(Config):
    half_life_days: float = Field(gt=0, description="of the excitement that an event leaves")
    share: float = Field(gt=0, lt=1, description="of the events that were bred by earlier ones")
    prior_events: float = Field(gt=0)


class CalibrationConfig(Config):
    half_life_days: tuple[float, ...] = Field(default=(1.0, 2.0, 4.0, 8.0), min_length=1)
    weight: float = Field(default=0.5, ge=0, le=1)
    prior_events: float = Field(default=10.0, gt=0)
    offset_precision: float = Field(default=1.0, gt=0, description="of the normal prior around 0 of the offset")
    bursts: BurstConfig | None = None


class RateState(Struct):
    """`observed`, `expected`: (H,) decayed to `time`, one a half-life, that of the bursts last. `waiting`: steps whose
    label is open, with their expectation. `negative`: the steps lately that were counted without an event."""

    observed: Floats
    expected: Floats
    time: float | None = None
    waiting: list[tuple[int, float]] = field(default_factory=list)
    event_steps: list[int] = field(default_factory=list)
    negative: CountedSteps = field(default_factory=CountedSteps)


class RateTracker:
    """The correction that follows the rate of positives; a step is positive if an event lies in its lead window."""

    def __init__(self, config: CalibrationConfig, lead: LeadConfig) -> None:
        self._config = config
        self._lead = lead
        bursts = () if config.bursts is None else (config.bursts.half_life_days,)
        self._half_lives = np.array((*config.half_life_days, *bursts)) * SECONDS_PER_DAY
        self._slow = len(config.half_life_days)

    def fresh(self) -> RateState:
        return RateState(np.zeros(len(self._half_lives)), np.zeros(len(self._half_lives)))

    def advance(self, state: RateState, step: int, time: float, event: bool) -> None:
        """The asset has reached `step` (at `time`, epoch seconds): forget, and count the labels that are known now.

        The step of an event that is told late is an earlier one, and `time` that of its step.
        """
        if state.time is None or time > state.time:
            if state.time is not None:
                decay = 0.5 ** ((time - state.time) / self._half_lives)
                state.observed *= decay
                state.expected *= decay
            state.time = time
        now = state.time
        if event:
            state.event_steps.append(step)
            self._count_late(state, step, now)
        known_until = step - self._lead.until_steps
        while state.waiting and state.waiting[0][0] <= known_until:
            past, expectation = state.waiting.pop(0)
            first, last = past + self._lead.from_steps, past + self._lead.until_steps
            state.expected += expectation
            if any(first <= at <= last for at in state.event_steps):
                state.observed += 1.0
            else:
                state.negative.add(past, now)
        state.event_steps = [at for at in state.event_steps if at > known_until]

    def _count_late(self, state: RateState, event: int, now: float) -> None:
        """Steps before the event that were counted without it are positive: 1 each, faded since they were counted."""
        for step in range(event - self._lead.until_steps, event - self._lead.from_steps + 1):
            counted = state.negative.take(step, now)
            if counted is not None:
                state.observed += 0.5 ** ((now - counted) / self._half_lives)

    def correction(self, state: RateState) -> float:
        """The correction of the logit."""
        prior, slow, bursts = self._config.prior_events, self._slow, self._config.bursts
        ratios = np.log((prior + state.observed[:slow]) / (prior + state.expected[:slow]))
        correction = self._config.weight * float(ratios.mean())
        if bursts is None:
            return correction
        lately = (bursts.prior_events + state.observed[-1]) / (bursts.prior_events + state.expected[-1])
        return correction + float(np.log1p(bursts.share * (lately - 1.0)))

    def expect(self, state: RateState, step: int, probability: float) -> None:
        """A prediction, before the correction, whose label is to be counted later."""
        state.waiting.append((step, probability))


def fit_offset(logits: Floats, positive: NDArray[np.bool_], precision: float) -> float:
    """The offset b with sum(sigmoid(logit + b)) = number of positives, drawn to 0 by a normal prior of `precision`.

    logits, positive: (N,) of past predictions that did not see their own labels. Newton's method; 0 for N = 0.
    """
    offset = 0.0
    for _ in range(50):
        probability = sigmoid(logits + offset)
        slope = float((probability * (1.0 - probability)).sum()) + precision
        step = (float(probability.sum()) - float(positive.sum()) + precision * offset) / slope
        offset -= float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-12:
            break
    return offset


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    result: Floats = np.where(logits >= 0, 1.0, np.exp(-np.abs(logits))) / (1.0 + np.exp(-np.abs(logits)))
    return result
