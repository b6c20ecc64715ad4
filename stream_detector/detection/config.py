"""Configuration of a detector: the sections of a recipe that travel in the bundle.

Pure values, validated once; the logic lives in the modules named after each part.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stream_detector.detection.operating import Condition, OperatingRule
from stream_detector.detection.suppression import Rule, SuppressionRules


class Config(BaseModel):
    """Base: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class GridConfig(Config):
    """The event-time grid of an asset (see `grid`). Step k covers [k, k+1) * step_seconds since the epoch.

    `close`: "complete" = one reading a sensor a step; a step closes as soon as every sensor that is alive has reported.
    "watermark" = many readings a sensor a step, the last one by event time counts; a step closes by event time alone.
    """

    kind: Literal["time", "samples", "table"] = "time"
    step_seconds: float = Field(ge=1e-6, description="a microsecond or more")
    lateness_seconds: float = Field(default=0.0, ge=0)
    staleness_steps: int = Field(default=5, ge=1, description="a sensor silent for longer is masked and blocks nobody")
    max_gap_steps: int = Field(default=0, ge=0, description="more empty steps than this in a row start a new run")
    close: Literal["complete", "watermark"] = "complete"
    max_future_seconds: float = Field(
        default=21_600.0, gt=0, description="a lone reading further ahead than this is a bad clock, not progress"
    )

    @property
    def furthest_ahead_seconds(self) -> float:
        """How far ahead a record may be by itself (rule 1): never less than a pause that a run survives, or than three
        steps."""
        return max(self.max_future_seconds, (self.max_gap_steps + 3) * self.step_seconds)


class WindowConfig(Config):
    """A window is the last `steps` steps of one run; from `min_steps` on, shorter ones are scored (padded, masked)."""

    steps: int = Field(ge=1, le=1_000_000)
    min_steps: int | None = Field(default=None, ge=1, description="default: steps")
    stride: int = Field(default=1, ge=1, description="score every stride-th step")

    @property
    def shortest(self) -> int:
        return self.steps if self.min_steps is None else min(self.min_steps, self.steps)


class TransformConfig(Config):
    """Transform of a window's raw values before scaling (see `scaling`)."""

    kind: Literal["levels", "differences", "centred", "instance"] = "levels"
    smooth_steps: int = Field(default=1, ge=1, description="causal moving average over this many steps first")
    scale_steps: int = Field(
        default=0,
        ge=0,
        description="differences: each in units of its sensor's mean absolute difference over so many steps before it; "
        "0: as they are",
    )

    @model_validator(mode="after")
    def _of_differences(self) -> "TransformConfig":
        if self.scale_steps and self.kind != "differences":
            raise ValueError(f'scale_steps = {self.scale_steps} needs kind = "differences", not {self.kind!r}')
        return self


class ScalerConfig(Config):
    kind: Literal["standard", "minmax", "robust", "none"] = "standard"
    clip: float | None = Field(default=None, gt=0, description="scaled values are clipped to +-clip")


class ModelConfig(Config):
    """The kind of model; `options` are the fields of that kind's own config (see `models`)."""

    kind: str = "lstm-autoencoder"
    options: dict[str, Any] = {}


class ScoreConfig(Config):
    """From errors (steps, sensors) to one number, higher = more anomalous."""

    error: Literal["squared", "absolute"] = "squared"
    steps: Literal["mean", "newest"] = "mean"
    sensors: Literal["mean", "max"] = "mean"
    standardise: bool = Field(
        default=False, description="each sensor's error in units of its usual one, on windows that were not learnt from"
    )


class LeadConfig(Config):
    """An alarm raised at step k announces an event in steps k + from_steps .. k + until_steps."""

    from_steps: int = Field(default=1, ge=0)
    until_steps: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "LeadConfig":
        if self.until_steps < self.from_steps:
            raise ValueError(f"until_steps = {self.until_steps} is before from_steps = {self.from_steps}")
        return self


class EpisodeConfig(Config):
    """An alarm stays up for at least `hold_steps`, at most `max_steps`; then it is cleared and perhaps raised anew.

    After an alarm ends, no other is raised in the same run for `rest_steps`. Its lead window reaches past its end, so
    that a rest leaves no gap as long as `rest_steps <= until_steps - from_steps`: the first step that each step above
    the threshold announces is still covered. The later ones are covered only if the score stays above.
    """

    hold_steps: int = Field(default=2, ge=1)
    max_steps: int = Field(default=30, ge=1)
    rest_steps: int = Field(default=0, ge=0)
    held_back_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="of the alarms, drawn by their id: nobody is told of them, see docs/operators.md",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "EpisodeConfig":
        if self.max_steps < self.hold_steps:
            raise ValueError(f"max_steps = {self.max_steps} is shorter than hold_steps = {self.hold_steps}")
        return self


class CostConfig(Config):
    """What each outcome costs, in the plant's currency units."""

    tn: float = 0.0
    fp: float = 5.0
    fn: float = 100.0
    tp: float = 5.0

    @property
    def probability_threshold(self) -> float:
        """Alarm iff P(event) exceeds this: (FP - TN) / (FP - TN + FN - TP), Elkan 2001, "The foundations of
        cost-sensitive learning", eq. 2."""
        return (self.fp - self.tn) / (self.fp - self.tn + self.fn - self.tp)

    @model_validator(mode="after")
    def _worth_it(self) -> "CostConfig":
        if self.fp <= self.tn or self.fn <= self.tp:
            raise ValueError(
                "an alarm must cost more than none on a normal step (fp > tn), and less on an event (tp < fn)"
            )
        return self


class OperatingConfig(Config):
    """When the machine runs (rule 10): steps in which it does not are neither learnt from nor judged."""

    when: str = Field(
        min_length=1,
        max_length=1_000,
        description='over the detector\'s sensors, such as "speed > 200 and state == 1" (see `operating`)',
    )
    hold_steps: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="steps of start-up: so many after the last one in which it stood do not count either",
    )

    @field_validator("when")
    @classmethod
    def _readable(cls, value: str) -> str:
        Condition(value)
        return value

    def rule(self, sensors: Sequence[str]) -> OperatingRule:
        """For a detector of these sensors; ValueError where it names another one."""
        return OperatingRule.of(Condition(self.when), self.hold_steps, sensors)


class SuppressionRule(Config):
    """Sensors that may speak for an alarm only as this says; with neither direction nor deviation they never do."""

    sensors: str = Field(min_length=1, description="a glob")
    direction: Literal["up", "down"] | None = Field(
        default=None, description="only above, or only below, what the model expects"
    )
    least_deviation: float | None = Field(default=None, gt=0, description="from what it expects, in the sensor's unit")


class SuppressionConfig(Config):
    """What raises nothing, though the score is above the threshold (see `suppression`)."""

    rules: tuple[SuppressionRule, ...] = Field(min_length=1)
    least_share: float = Field(
        default=0.2, gt=0, le=1, description="of the evidence that sensors which may speak must hold"
    )

    def for_sensors(self, sensors: Sequence[str]) -> SuppressionRules:
        """For a detector of these sensors; ValueError where a rule is about none of them."""
        rules = [Rule(rule.sensors, rule.direction, rule.least_deviation) for rule in self.rules]
        return SuppressionRules.of(rules, self.least_share, sensors)


class FleetConfig(Config):
    """One detector for many machines of a kind, each scaled by itself (see `fleet`).

    A machine that training never saw is provisional: scored from `least_steps` on, by what its steps so far have shown.
    """

    scaler: Literal["per-asset"] = "per-asset"
    provisional_steps: int = Field(
        default=720, ge=2, le=10_000_000, description="scored steps of a machine that fix its scale for good"
    )
    least_steps: int = Field(default=60, ge=2, description="of them, before it is scored at all")

    @model_validator(mode="after")
    def _ordered(self) -> "FleetConfig":
        if self.least_steps > self.provisional_steps:
            raise ValueError(
                f"least_steps = {self.least_steps} is more than provisional_steps = {self.provisional_steps}, after "
                "which a machine's scale is fixed"
            )
        return self


ThresholdPolicy = Literal[
    "cost-optimal", "mean-plus-std", "max-f1", "precision-equals-recall", "fixed", "quantile", "probability"
]


class ThresholdConfig(Config):
    """How the threshold is chosen, on the validation part only (see `trainer.fitting.thresholds`)."""

    policy: ThresholdPolicy = "cost-optimal"
    guard: bool = Field(
        default=True,
        description="cost-optimal: raise nothing where no threshold is shown to pay (see `trainer.fitting.guard`)",
    )
    calibration: Literal["none", "logistic"] = Field(
        default="none",
        description="cost-optimal: logistic = where the probability of an alarm being right, by logistic regression on "
        "the logarithm of the score, makes one worth its price; none = the cheapest of all scores",
    )
    k: float = Field(default=1.0, description="mean-plus-std: mean + k * std of the normal scores")
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.99
    factor: float = Field(default=1.0, gt=0, description="quantile: multiplied with the quantile")
    labelled_quantile: Annotated[float | None, Field(gt=0, lt=1)] = Field(
        default=None,
        description="quantile: this one without the factor, where the validation part has labelled anomalies and so "
        "shows normal steps of the same time",
    )
    false_alarms_per_day: float | None = Field(default=None, gt=0, description="quantile: chosen for this rate instead")
    value: float | None = Field(default=None, description="fixed: this value")
    own_least_events: int | None = Field(
        default=None,
        ge=1,
        description="[fleet], cost-optimal: a machine with so many labelled events of its own in the validation part "
        "has a threshold that is chosen on these alone; none: one for all",
    )


class HeadConfig(Config):
    """The probability head beside the score (see `head.calibrated_head`); its arrays travel in the bundle."""

    kind: Literal["calibrated"]
    options: dict[str, Any] = {}
