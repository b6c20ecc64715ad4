"""Random recipes of every registered kind of model, fitted by the trainer on a small random plant."""

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.detection.models.registry import KINDS
from stream_detector.errors import DataError, RecipeError
from tests.differential.specs import TIME_STEPS, random_episode, random_operating, random_suppression, random_window
from trainer.data.dataset import Dataset
from trainer.fitting.fit import fit_recipe
from trainer.recipe import Recipe, recipe_of

HEAD_DAYS = 8


def random_sections(rng: random.Random, kind: str) -> dict[str, Any]:
    """A recipe as nested sections; not every one can be fitted: windows, transforms and options are drawn apart."""
    step = rng.choice(TIME_STEPS)
    with_head = rng.random() < 0.05
    if with_head:
        step = 3600.0
    labels = kind.endswith("-classifier") or with_head or rng.random() < 0.3
    lead_from = rng.choice([0, 1, 1, 2])
    sections: dict[str, Any] = {
        "title": kind,
        "data": {"label_column": "y", "labels_mark": "events"} if labels else {},
        "split": {"train": 0.6, "validation": rng.choice([0.2, 0.4])},
        "grid": {
            "step_seconds": step,
            "lateness_seconds": rng.choice([0, 0, 0.5, 1, 2]) * step,
            "staleness_steps": rng.choice([1, 3, 5]),
            "max_gap_steps": rng.choice([0, 2, 5]),
            "close": rng.choice(["complete", "complete", "watermark"]),
        },
        "window": dict(random_window(rng, rng.choice([1, 2, 3, 5, 8, 16]))),
        "transform": {
            "kind": rng.choice(["levels", "differences", "centred", "instance"]),
            "smooth_steps": rng.choice([1, 1, 2, 3]),
        },
        "scaler": {"kind": rng.choice(["standard", "minmax", "robust", "none"]), "clip": rng.choice([None, 4.0])},
        "model": {"kind": kind, "options": random_options(rng, kind)},
        "score": {
            "error": rng.choice(["squared", "absolute"]),
            "steps": rng.choice(["mean", "newest"]),
            "sensors": rng.choice(["mean", "max"]),
        },
        "lead": {"from_steps": lead_from, "until_steps": lead_from + rng.choice([0, 1, 3])},
        "episode": dict(random_episode(rng)),
        "threshold": {"policy": "cost-optimal"} if labels else {"policy": "quantile", "quantile": 0.8},
        "train": {"epochs": 1, "max_windows": rng.choice([20, 60]), "seed": rng.randrange(100)},
    }
    suppression = random_suppression(rng, ["s0"])
    if suppression is not None:
        sections["suppression"] = suppression.model_dump()
    operating = random_operating(rng, ["s0"])
    if operating is not None:
        sections["operating"] = dict(operating)
    if with_head:
        features = {"lags": [1, 3], "volatility_steps": [2, 5], "clock": rng.random() < 0.5}
        boosted = [{"trees": 3, "depth": 2, "smallest_leaf": 2}] if rng.random() < 0.5 else []
        sections["head"] = {"kind": "calibrated", "options": {"features": features, "boosted": boosted, "first_day": 2}}
        sections["threshold"] = {"policy": "probability"}
    return sections


def random_options(rng: random.Random, kind: str) -> dict[str, Any]:
    """Options of a kind, each right by itself."""
    few = [rng.choice([1, 2, 5, 8]) for _ in range(rng.choice([1, 2]))]
    output = {"output": rng.choice(["linear", "sigmoid"])}
    options: dict[str, dict[str, Any]] = {
        "conv-autoencoder": {"filters": few, "kernel": rng.choice([3, 5, 7])},
        "conv-classifier": {"filters": few, "kernel": rng.choice([3, 4, 9]), "pool": rng.choice([1, 2, 4])},
        "dense-autoencoder": {
            "hidden": few,
            "activation": rng.choice(["relu", "leaky-relu", "tanh"]),
            "batch_norm": rng.random() < 0.5,
            **output,
        },
        "logistic-classifier": {"sizes": rng.random() < 0.5},
        "lstm-autoencoder": {"hidden": few, **output},
        "mahalanobis": {"lags": rng.choice([1, 2, 3]), "squared": rng.random() < 0.5},
        "own-past": {
            "newest_steps": rng.choice([1, 3]),
            "noise_lag": rng.choice([1, 2]),
            "largest": rng.choice([2, 9]),
        },
        "principal-components": {"variance": rng.choice([0.3, 0.9, 1.0])},
        "projected-lstm-autoencoder": {"hidden": few, "components": rng.choice([1, 2, 5, 20]), **output},
        "recurrent-autoencoder": {
            "hidden": rng.choice([1, 2, 5]),
            "sequence": rng.choice([0, 0, 1, 2, 3]),
            "cell": rng.choice(["rnn", "gru", "lstm"]),
            **output,
        },
        "sensor-regressors": {"lags": rng.choice([0, 1, 3]), "hidden": rng.choice([1, 4, 16])},
        "neighbours": {"crosstalk": rng.choice([0.0, 0.1]), "running": rng.choice([0.0, 0.5])},
        "tail-deviation": {"quantile": rng.choice([0.9, 0.999])},
    }
    return options[kind]


def random_dataset(rng: random.Random, recipe: Recipe) -> Dataset:
    """Rows of a plant of one to eight sensors, with gaps, missing cells, a constant sensor at times, and events."""
    step, numbers = recipe.grid.step_seconds, np.random.default_rng(rng.randrange(2**32))
    sensors = tuple(f"s{index}" for index in range(rng.choice([1, 2, 3, 8])))
    count = 24 * HEAD_DAYS if recipe.head is not None else rng.choice([120, 200])
    times = round(1.7e9 / step) * step + np.cumsum(numbers.choice([1] * 30 + [2, 9], size=count)) * step
    values = np.round(numbers.normal(size=(count, len(sensors))).cumsum(axis=0), 3)
    values[numbers.random(values.shape) < rng.choice([0.0, 0.05])] = np.nan
    if rng.random() < 0.1:
        values[:, 0] = 5.0
    events = numbers.random(count) < 0.08
    labels = events if recipe.data.label_column is not None else None
    return Dataset("random.csv", "0" * 64, sensors, times, values, labels, labels_mark_events=True)


def random_kind(rng: random.Random) -> str:
    return rng.choice(sorted(KINDS))


def fitted(rng: random.Random, kind: str) -> tuple[Bundle, Dataset]:
    """A bundle of that kind, written and loaded again, and the plant that it was fitted on.

    Recipes that the trainer refuses, and plants that have too little to learn from, are drawn again.
    """
    while True:
        try:
            recipe = recipe_of(random_sections(rng, kind), "random")
            dataset = random_dataset(rng, recipe)
            with tempfile.TemporaryDirectory() as folder:
                fit_recipe(recipe, dataset, Path(folder) / "bundle")
                return load_bundle(Path(folder) / "bundle"), dataset
        except (RecipeError, DataError):
            continue
