"""Scores of a file as a table to keep: one line a scorable row."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stream_detector.bundle.manifest import Manifest
from stream_detector.errors import BundleError, DataError, UsageError
from trainer.data.dataset import Dataset
from trainer.data.split import split_rows
from trainer.evaluation.scored import ScoredRows
from trainer.recipe import DataConfig, Recipe, describe

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".parquet")


def bundle_recipe(manifest: Manifest) -> Recipe:
    """The recipe that a bundle was fitted with."""
    try:
        return Recipe.model_validate(manifest.recipe_source)
    except ValidationError as error:
        raise BundleError(f"the bundle does not hold a whole recipe: {describe(error)}; fit it again") from error


def bundle_data(manifest: Manifest) -> DataConfig:
    """How the files of a bundle's plant are read."""
    return bundle_recipe(manifest).data


def score_table(manifest: Manifest, dataset: Dataset, scored: ScoredRows, with_errors: bool = False) -> "pd.DataFrame":
    """Columns time, score, threshold, alarm; asset where there are several, probability where calibrated, error:SENSOR.

    `time` is ISO 8601 in UTC, or the number of the row (from 0, one asset after another) where rows have no time.
    """
    import pandas as pd

    has_time = bundle_data(manifest).time_column is not None
    columns: dict[str, Any] = {}
    if dataset.asset_rows is not None:
        columns["asset"] = np.array(dataset.assets)[dataset.asset_rows[scored.rows]]
    columns |= {
        "time": iso_times(dataset.times[scored.rows]) if has_time else scored.rows,
        "score": scored.score,
        "threshold": _thresholds(manifest, scored),
        "alarm": scored.above.astype(np.int64),
    }
    if scored.probability is not None:
        columns["probability"] = scored.probability
    if with_errors:
        columns |= {f"error:{name}": scored.attribution[:, index] for index, name in enumerate(manifest.sensors)}
    return pd.DataFrame(columns)


def _thresholds(manifest: Manifest, scored: ScoredRows) -> NDArray[np.float64]:
    """(B,) those of the machines, whether or not a rule suppresses the row."""
    if scored.assets is None:
        return np.full(len(scored), manifest.alarm_threshold)
    names, places = np.unique(scored.assets, return_inverse=True)
    of_name = np.array([manifest.alarm_threshold_of(name) for name in names.tolist()])
    return of_name[places.reshape(-1)] if len(names) else np.empty(0)


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write CSV, CSV.gz or Parquet by the file's name; numbers in CSV read back exactly."""
    if not path.name.endswith(SUFFIXES):
        raise UsageError(f"{path} should end in one of {', '.join(SUFFIXES)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def iso_times(times: NDArray[np.float64]) -> list[str]:
    """Epoch seconds (N,) as ISO 8601 in UTC, with fractions only where there are any."""
    micros = np.round(times * 1e6).astype(np.int64)
    whole = not (micros % 1_000_000).any()
    text = np.datetime_as_string(micros.astype("datetime64[us]"), unit="s" if whole else "us")
    return [f"{moment}Z" for moment in text.tolist()]


def judged_rows(
    manifest: Manifest, dataset: Dataset, rows: Literal["auto", "all", "test"]
) -> tuple[str, NDArray[np.bool_]]:
    """Rows of a file that may judge a bundle, in words and as a mask (N,).

    The file that the bundle was fitted on judges with its test part only: the rest was learnt from, or chose the
    threshold. UsageError if the test part is asked for of another file.
    """
    recipe = bundle_recipe(manifest)
    same = dataset.sha256 == manifest.training.data_sha256
    if rows == "test" and not same:
        raise UsageError(
            f"--rows test: {dataset.name} is not the file that the bundle was fitted on "
            f"({manifest.training.data_name}), so all its rows are new; use --rows all"
        )
    if rows == "all" or not same:
        seen = ", of which the bundle was fitted on a part: this flatters it" if same else ""
        return f"all {len(dataset):,} rows{seen}", np.ones(len(dataset), dtype=bool)
    test = split_rows(recipe.split, len(dataset), recipe.train.seed, dataset.parts).test
    if not test.any():
        if rows == "test":
            raise DataError("the recipe keeps no rows of this file aside to judge on; give another file, or --rows all")
        return f"all {len(dataset):,} rows, from all of which it learnt: this flatters it", np.ones(len(dataset), bool)
    return f"the {int(test.sum()):,} rows that nothing was chosen on (the bundle was fitted on this file)", test
