"""`manifest.json`: everything about a detector that is not an array. See docs/bundle.md."""

import hashlib
import math
from typing import Annotated, Any

import orjson
from pydantic import Field, StringConstraints, ValidationError, model_validator

from stream_detector.detection.config import (
    Config,
    CostConfig,
    EpisodeConfig,
    FleetConfig,
    GridConfig,
    HeadConfig,
    LeadConfig,
    ModelConfig,
    OperatingConfig,
    ScalerConfig,
    ScoreConfig,
    SuppressionConfig,
    ThresholdPolicy,
    TransformConfig,
    WindowConfig,
)
from stream_detector.detection.operating import OperatingRule
from stream_detector.detection.scaling import transformed_steps
from stream_detector.detection.suppression import SuppressionRules
from stream_detector.errors import BundleError, UsageError, in_words

FORMAT = 1
"""Raised when an older detector could not read a newer bundle."""

ID_DIGITS = 16

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ThresholdRecord(Config):
    """The threshold, and how it was found. An alarm needs a score (with a head: a probability) above `value`."""

    value: float
    policy: ThresholdPolicy
    how: str = Field(description="the choice in words: on which part of the data, with what result there")
    pays: bool = Field(default=True, description="false: no threshold was shown to pay, so nothing is ever raised")

    @property
    def limit(self) -> float:
        """What a score must exceed: infinite where nothing is to be raised."""
        return self.value if self.pays else math.inf


class TrainingRecord(Config):
    """The data that the detector learnt from."""

    data_name: str
    data_sha256: Sha256
    rows: int = Field(ge=0)
    from_time: float | None = Field(default=None, description="epoch seconds of the first training row")
    until_time: float | None = Field(default=None, description="epoch seconds of the last training row")
    windows: int = Field(ge=0, description="normal windows learnt from")
    epochs: int = Field(ge=0)
    seed: int


class FleetRecord(FleetConfig):
    """The fleet that it was fitted on; a row of `asset_center` and `asset_scale` is that of the asset of this place."""

    assets: tuple[str, ...] = Field(min_length=1, description="the machines that training saw")
    thresholds: dict[str, float] = Field(default={}, description="of the score, of those that have one of their own")

    @model_validator(mode="after")
    def _once(self) -> "FleetRecord":
        if len(set(self.assets)) != len(self.assets):
            raise ValueError("an asset is named twice")
        if not self.thresholds.keys() <= set(self.assets):
            raise ValueError("thresholds names an asset that is none of this fleet")
        return self


class Manifest(Config):
    """A bundle's manifest. Arrays lie beside it; `files` holds the sha256 of each."""

    format: int = FORMAT
    bundle_id: str = Field(default="", description="first 16 hex digits of a sha256 over everything else here")
    recipe: str
    assets: str = Field(default="*", description="glob of the assets that this detector is for")
    sensors: tuple[str, ...] = Field(min_length=1, max_length=100_000)
    grid: GridConfig
    window: WindowConfig
    transform: TransformConfig
    scaler: ScalerConfig
    model: ModelConfig
    score: ScoreConfig
    costs: CostConfig
    lead: LeadConfig
    episode: EpisodeConfig
    threshold: ThresholdRecord
    head: HeadConfig | None = None
    operating: OperatingConfig | None = Field(default=None, description="when the machine runs; none: always")
    suppression: SuppressionConfig | None = Field(default=None, description="what raises nothing; none: nothing")
    fleet: FleetRecord | None = Field(default=None, description="each machine by its own scale; none: one for all")
    training: TrainingRecord
    metrics: dict[str, Any] = Field(default={}, description="what evaluation found, for people and the console")
    recipe_source: dict[str, Any] = Field(default={}, description="the whole recipe, for the trainer")
    versions: dict[str, str] = Field(default={}, description="of the libraries that wrote it")
    files: dict[str, Sha256] = Field(default={}, description="sha256 of every other file")

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if len(set(self.sensors)) != len(self.sensors):
            raise ValueError("a sensor is named twice")
        if transformed_steps(self.transform, self.window.steps) < 1:
            raise ValueError(
                f"window.steps = {self.window.steps} leaves nothing after smoothing over "
                f"{self.transform.smooth_steps} steps ({self.transform.kind})"
            )
        if self.operating is not None:
            self.operating.rule(self.sensors)
        if self.suppression is not None:
            self.suppression.for_sensors(self.sensors)
        if self.fleet is not None and self.head is not None:
            raise ValueError("a detector of a fleet has no head, which follows the events of one machine")
        return self

    @property
    def suppression_rules(self) -> SuppressionRules | None:
        """What raises nothing, for these sensors; None: everything above the threshold does."""
        return None if self.suppression is None else self.suppression.for_sensors(self.sensors)

    @property
    def operating_rule(self) -> OperatingRule | None:
        """When the machine runs, for these sensors; None: always."""
        return None if self.operating is None else self.operating.rule(self.sensors)

    @property
    def marks_states(self) -> bool:
        """Whether its recipe's labels mark states (anomalous rows), or nothing is labelled, rather than events."""
        data = self.recipe_source.get("data")
        return isinstance(data, dict) and data.get("labels_mark") == "states"

    @property
    def alarm_threshold(self) -> float:
        """An alarm needs a score above this, or with a head a probability, whose threshold follows from the costs.

        Infinite where no threshold pays. In a fleet it is that of all machines without one of their own.
        """
        return self.threshold.limit if self.head is None else self.costs.probability_threshold

    def alarm_threshold_of(self, asset: str) -> float:
        """What an alarm about this machine needs."""
        return self.own_thresholds.get(asset, self.alarm_threshold)

    @property
    def own_thresholds(self) -> dict[str, float]:
        """Of the machines of a fleet that have one of their own; of none where no threshold pays."""
        return {} if self.fleet is None or not self.raises_alarms else self.fleet.thresholds

    @property
    def raises_alarms(self) -> bool:
        """False where no threshold pays."""
        return math.isfinite(self.alarm_threshold)

    @property
    def limit_in_words(self) -> str:
        """The alarm threshold, for people."""
        return f"{self.alarm_threshold:.6g}" if self.raises_alarms else "none, for no threshold pays"

    @property
    def threshold_in_words(self) -> str:
        """The threshold and how it was found, for a line of a report."""
        return f"{self.limit_in_words}: {self.threshold.how}"

    @property
    def model_steps(self) -> int:
        """Steps of the windows that the model reads."""
        return transformed_steps(self.transform, self.window.steps)


def require_stream(manifest: Manifest) -> None:
    """UsageError for a bundle of samples without a time: steps of a stream would take most of them for duplicates."""
    if manifest.grid.kind == "table":
        raise UsageError(
            f"bundle {manifest.bundle_id} of recipe {manifest.recipe} scores samples without a time (grid.kind = "
            '"table"), and a stream needs readings with one; score files of samples with `trainer score`, or in a '
            "program with `stream_detector.Detector` (docs/python-api.md)"
        )


def seal(manifest: Manifest) -> bytes:
    """The text of `manifest.json`, with the id that belongs to its content."""
    content = manifest.model_dump(mode="json")
    for section in ("operating", "suppression", "fleet"):
        if content[section] is None:
            # A detector from before there was such a section reads the bundle all the same.
            del content[section]
    if manifest.fleet is not None and not manifest.fleet.thresholds:
        del content["fleet"]["thresholds"]
    content["bundle_id"] = content_id(content)
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def parse(text: bytes) -> Manifest:
    """Read `manifest.json`; BundleError where it is not one of this format or its id is not that of its content."""
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BundleError(f"manifest.json is not JSON ({error}); write the bundle anew with `trainer fit`") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise BundleError(
            f"manifest.json has format {found!r}, this version reads format {FORMAT}; "
            "fit the recipe again with this version, or install the version that wrote the bundle"
        )
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"manifest.json: {where}: {in_words(first)}") from error
    if manifest.bundle_id != content_id(content):
        raise BundleError(
            f"manifest.json was changed after it was written: it says bundle_id {manifest.bundle_id!r}, "
            f"its content has {content_id(content)!r}; get the bundle again from where it was fitted"
        )
    return manifest


def content_id(content: dict[str, Any]) -> str:
    """First 16 hex digits of a sha256 over the manifest without its id; the files count through their hashes."""
    rest = {key: value for key, value in content.items() if key != "bundle_id"}
    return hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:ID_DIGITS]
