"""Recipes: TOML files that say how to read a plant's files, what to fit, and how to choose the threshold.

Every key is explained in docs/recipes.md.
"""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

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
    ThresholdConfig,
    TransformConfig,
    WindowConfig,
)
from stream_detector.detection.operating import OperatingRule
from stream_detector.detection.scaling import transformed_steps
from stream_detector.detection.suppression import SuppressionRules
from stream_detector.errors import RecipeError, in_words

Share = Annotated[float, Field(ge=0, le=1)]


class SignalConfig(Config):
    """How to read vibration recordings (`trainer.data.vibration`)."""

    channels: tuple[str, ...] = Field(default=("DE",), min_length=1)
    rate_hertz: float = Field(default=12_000.0, gt=0, description="the rate that windows are cut at")
    recorded_hertz: dict[str, float] = Field(
        default={}, description="file-name pattern -> the rate it was recorded at; others: rate_hertz"
    )
    normal_files: str | None = Field(
        default="*normal*", description="file-name pattern of healthy machines, the others are faulty; none: no labels"
    )


class PrelabelConfig(Config):
    """Contaminations to try; the labels are those of the largest contrast (see `trainer.data.prelabel`)."""

    contaminations: tuple[float, ...] = Field(default=(0.01, 0.015, 0.02, 0.025, 0.03), min_length=1)
    seed: int = Field(default=1, ge=0)


class PlannedSpan(Config):
    """Planned downtime of the assets of a glob: `begin <= time < until`, epoch seconds."""

    assets: str = "*"
    begin: float
    until: float


class DataConfig(Config):
    """How to read the plant's files: wide form, one row a time (or, in a table, one row a sample)."""

    time_column: str | tuple[str, ...] | None = Field(
        default="time",
        description='several: date and time apart. "": rows are samples without a time',
    )
    time_format: str | None = Field(default=None, description='strptime, or "excel"; none: see docs/recipes.md')
    zone: str | None = Field(default=None, description="IANA name of the zone of times that name none; none: UTC")
    separator: str | None = Field(default=None, min_length=1, max_length=1, description="none: comma, semicolon or tab")
    header: bool = Field(default=True, description="false: the columns are called c1, c2, ...")
    skip_rows: int = Field(default=0, ge=0, description="lines above the header")
    unit_rows: int = Field(default=0, ge=0, description="lines under the header that hold units or descriptions")
    decimal: Literal[".", ","] | None = Field(default=None, description="decimal mark; none: found out")
    thousands: str | None = Field(default=None, min_length=1, max_length=1, description="mark between thousands")
    encoding: str | None = Field(default=None, description="of the text, such as cp1252; none: found out")
    label_column: str | None = None
    labels_are: Literal["anomaly", "normal"] = Field(default="anomaly", description="what a label value marks")
    label_values: tuple[float | str, ...] = Field(default=(1.0,), description="the values that mark it")
    labels_mark: Literal["states", "events"] = Field(
        default="states",
        description="states: the rows that are anomalous. events: a row where an event (a break) happened; that row is "
        "dropped, ends the run, and the rows within the lead window before it are the ones to alarm on",
    )
    sensors: tuple[str, ...] = Field(default=(), description="none: every column that is not named otherwise")
    drop_columns: tuple[str, ...] = ()
    missing_codes: tuple[float, ...] = Field(default=(), description="numbers that stand for a missing value")
    missing_words: tuple[str, ...] = Field(
        default=(), description="texts that stand for a missing value, beside those that historians usually write"
    )
    form: Literal["wide", "grafana", "long", "influx"] = Field(
        default="wide",
        description="grafana: a panel's CSV download as it comes; long: one row a value; influx: its annotated CSV",
    )
    tag_column: str = Field(default="tag", description="long form: the column of the sensors' names")
    value_column: str = Field(default="value", description="long form: the column of the values")
    quality_column: str | None = Field(default=None, description="long form: the column of the quality")
    quality_suffix: str | None = Field(
        default=None, min_length=1, description="a column called as a sensor with this behind it holds its qualities"
    )
    sheet: str | None = Field(default=None, description="of an Excel file; none: the one with the most rows")
    good_quality: tuple[str, ...] = Field(
        default=("good", "192", "0xc0", "true"),
        description="what marks a value of good quality; values of another quality are missing",
    )
    time_unit_seconds: float = Field(default=1.0, gt=0, description="numbers in the time column count these")
    run_columns: tuple[str, ...] = Field(
        default=(), description="a change in one of these starts another run, whose times may start again"
    )
    file_runs: bool = Field(
        default=False,
        description="each of several files is a run of its own, whose times may start again",
    )
    asset_column: str | None = Field(
        default=None, description="names the asset of each row; no window, run or event is of two of them"
    )
    asset_pattern: str | None = Field(
        default=None,
        description="regular expression that finds the asset in a file's path; none: folders within the folder",
    )
    least_rows_used: float = Field(
        default=0.5, ge=0, le=1, description="`fit` stops where the grid can use a smaller share of the rows"
    )
    signal: SignalConfig | None = Field(default=None, description="vibration recordings: .mat files or folders of them")
    planned: tuple[PlannedSpan, ...] = Field(
        default=(), description="rows that are left out; `--calendar` writes the windows of a calendar here"
    )
    prelabel: PrelabelConfig | None = Field(
        default=None, description="files without a label column are labelled by an isolation forest"
    )

    @field_validator("time_column", mode="before")
    @classmethod
    def _no_time(cls, value: object) -> object:
        """TOML has no word for nothing."""
        return None if value == "" else value


class SplitConfig(Config):
    """Which rows are learnt from, which choose the threshold, and which judge (the rest)."""

    by: Literal["time", "random"] = Field(
        default="time", description="random: only for rows that share no history; windows would leak"
    )
    train: Share = 0.6
    validation: Share = Field(
        default=0.2, description="0: without a --validation file the threshold is chosen on the training windows"
    )
    train_rows: int | None = Field(default=None, ge=1, description="learn from at most so many rows of each file")

    @model_validator(mode="after")
    def _at_most_all(self) -> "SplitConfig":
        if self.train <= 0 or self.train + self.validation > 1:
            raise ValueError(
                f"train = {self.train} and validation = {self.validation} must be shares that sum to at most 1"
            )
        return self


class TrainConfig(Config):
    """How a network is trained; other models have their settings in `model.options`."""

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    loss: Literal["squared", "absolute"] = "squared"
    patience: int = Field(default=4, ge=1, description="stop after so many epochs without a better holdout loss")
    holdout: float = Field(
        default=0.1, gt=0, lt=1, description="last share of the training windows, for early stopping"
    )
    max_windows: int | None = Field(default=None, ge=1, description="learn from at most so many, evenly spread")
    least_values_per_weight: float = Field(
        default=0.01, ge=0, description="`fit` stops where a network has fewer values to learn from for each weight"
    )
    seed: int = Field(default=1, ge=0)


class Recipe(Config):
    """A whole recipe. Sections that travel in the bundle are those of `stream_detector.detection.config`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="the file's name")
    title: str
    description: str = ""
    published: str = Field(default="", description="the published figures, and their protocol")
    assets: str = "*"
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    grid: GridConfig
    window: WindowConfig
    transform: TransformConfig = TransformConfig()
    scaler: ScalerConfig = ScalerConfig()
    model: ModelConfig = ModelConfig()
    score: ScoreConfig = ScoreConfig()
    costs: CostConfig = CostConfig()
    lead: LeadConfig = LeadConfig()
    episode: EpisodeConfig = EpisodeConfig()
    threshold: ThresholdConfig = ThresholdConfig()
    head: HeadConfig | None = None
    operating: OperatingConfig | None = None
    suppression: SuppressionConfig | None = None
    fleet: FleetConfig | None = None
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        left = transformed_steps(self.transform, self.window.steps)
        if left < 1:
            raise ValueError(
                f"window.steps = {self.window.steps} leaves nothing to transform.kind = {self.transform.kind!r} with "
                f"smooth_steps = {self.transform.smooth_steps}; wanted at least {self.window.steps - left + 1}"
            )
        if self.threshold.policy == "probability" and self.head is None:
            raise ValueError('threshold.policy = "probability" needs a [head] that gives probabilities')
        if self.head is not None and self.threshold.policy != "probability":
            raise ValueError(
                f"a [head] gives probabilities, whose threshold follows from the costs: threshold.policy = "
                f'"{self.threshold.policy}" must be "probability", or take the [head] away'
            )
        if self.threshold.policy == "fixed" and self.threshold.value is None:
            raise ValueError('threshold.policy = "fixed" needs threshold.value')
        if self.grid.kind == "table" and self.window.steps != 1:
            raise ValueError('grid.kind = "table" has one row a sample: window.steps must be 1')
        if self.data.time_column is None and self.grid.kind != "table":
            raise ValueError('data without a time column needs grid.kind = "table"')
        if self.grid.kind == "table" and self.operating is not None:
            raise ValueError('[operating] says when a machine runs; the rows of grid.kind = "table" have no time')
        if self.fleet is not None:
            self._require_fleet()
        if self.threshold.own_least_events is not None and (
            self.fleet is None or self.threshold.policy != "cost-optimal"
        ):
            raise ValueError(
                "threshold.own_least_events is for the machines of a [fleet], and chooses as threshold.policy = "
                '"cost-optimal" does'
            )
        return self

    def _require_fleet(self) -> None:
        if self.scaler.kind == "none":
            raise ValueError('[fleet] scales each machine by itself; scaler.kind = "none" scales nothing')
        if self.head is not None:
            raise ValueError("a [head] follows the events of one machine; take it away, or the [fleet]")
        if self.grid.kind == "table":
            raise ValueError('[fleet] tells machines apart; the rows of grid.kind = "table" are of none')

    def suppression_rules(self, sensors: tuple[str, ...]) -> SuppressionRules | None:
        """What raises nothing, for a file of these sensors; RecipeError where a rule is about none of them."""
        try:
            return None if self.suppression is None else self.suppression.for_sensors(sensors)
        except ValueError as error:
            raise RecipeError(f"recipe {self.name}: {error}") from error

    def operating_rule(self, sensors: tuple[str, ...]) -> OperatingRule | None:
        """When the machine runs, for a file of these sensors; None: always. RecipeError where one is not there."""
        try:
            return None if self.operating is None else self.operating.rule(sensors)
        except ValueError as error:
            raise RecipeError(f"recipe {self.name}: {error}; a condition needs columns that are read") from error


def recipe_names() -> list[str]:
    """Names of the recipes that come with the trainer."""
    folder = resources.files("trainer") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_file: str) -> Recipe:
    """The recipe of that name, or in that TOML file; RecipeError says what is wrong with it and where."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(name_or_file).stem.lower()).strip("-")
    return parse_recipe(recipe_text(name_or_file), name or "recipe")


def recipe_text(name_or_file: str) -> str:
    """The TOML of a recipe that comes with the trainer, or of a file that ends in .toml."""
    if name_or_file in recipe_names():
        return (resources.files("trainer") / "recipes" / f"{name_or_file}.toml").read_text("utf-8")
    if not name_or_file.endswith(".toml"):
        if Path(f"{name_or_file}.toml").is_file():
            raise RecipeError(f"there is no recipe {name_or_file!r}; for the file, say {name_or_file}.toml")
        raise RecipeError(
            f"there is no recipe {name_or_file!r}; known are {', '.join(recipe_names())}; "
            "a recipe of your own is a file that ends in .toml"
        )
    try:
        return Path(name_or_file).read_text("utf-8")
    except OSError as error:
        raise RecipeError(f"recipe file {name_or_file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe file {name_or_file} is not UTF-8: {error}") from error


def parse_recipe(text: str, name: str) -> Recipe:
    """A recipe from its TOML text; RecipeError says what is wrong with it and where."""
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"recipe {name} is not TOML: {error}") from error
    return recipe_of(content, name)


def recipe_of(content: Mapping[str, Any], name: str) -> Recipe:
    """A recipe from its sections; RecipeError says what is wrong with it and where."""
    try:
        return Recipe.model_validate({"name": name, **content})
    except ValidationError as error:
        raise RecipeError(f"recipe {name}: {describe(error)}") from error


PLAIN_WORDS = {
    "missing": "this key is missing",
    "extra_forbidden": "a recipe has no such key; docs/recipes.md lists all",
}
"""The commonest mistakes, in a recipe's words instead of pydantic's."""


def describe(error: ValidationError) -> str:
    """The mistakes that pydantic found, each with its key and the value found."""
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"])
        found = f" (found {mistake['input']!r})" if mistake["type"] not in ("missing", "value_error") else ""
        said = PLAIN_WORDS.get(mistake["type"]) or in_words(mistake)
        lines.append(f"{where + ': ' if where else ''}{said}{found}")
    return "; ".join(lines)
