"""Heart beats: the published narrow autoencoder beside the recipe, over several random splits."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, Mask, Scores, auroc, fit, percent, with_changes
from stream_detector.detection.config import ThresholdConfig
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.split import split_rows
from trainer.fitting.thresholds import choose_threshold
from trainer.recipe import load_recipe

SPLITS = 3
PUBLISHED = {
    "method": "published: 32-16-8-16-32, mean + 1 std",
    "accuracy": 0.943,
    "F1 normal": 0.947,
    "precision normal": 0.992,
    "recall normal": 0.905,
}


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    dataset = read_dataset(min(folder.glob("*.csv*")), load_recipe("heartbeat").data)
    assert dataset.labels is not None
    judged: dict[str, list[tuple[Errors, float | None]]] = {}
    for split_seed in range(seed, seed + SPLITS):
        for recipe_name in ("heartbeat", "heartbeat-published"):
            recipe = with_changes(
                recipe_name, train={**load_recipe(recipe_name).train.model_dump(), "seed": split_seed}
            )
            fitted = fit(recipe, dataset, scratch)
            test = fitted.test
            assert test.positive is not None
            judged.setdefault(recipe_name, []).append(
                (Errors.of(test.above, test.positive), auroc(test.score, test.positive))
            )
        for name, outcome in _baselines(dataset, split_seed).items():
            judged.setdefault(name, []).append(outcome)
    labels = {
        "heartbeat": "**heartbeat**: 256-128-16, squared error, best F1 on validation",
        "heartbeat-published": "heartbeat-published: 32-16-8, absolute error, mean + 1 std",
    }
    rows = [{"method": labels.get(name, name), **_row(outcomes)} for name, outcomes in judged.items()]
    return {f"Heart beats, {len(dataset):,} beats, mean of {SPLITS} random splits 60/20/20": [*rows, PUBLISHED]}


def _baselines(dataset: Dataset, seed: int) -> dict[str, tuple[Errors, float | None]]:
    """Fitted on the normal training beats, threshold with the best F1 on the validation beats."""
    recipe = load_recipe("heartbeat")
    assert dataset.labels is not None
    split = split_rows(recipe.split, len(dataset), seed)
    train = dataset.values[split.train & ~dataset.labels]
    found = {}
    for name in ("RMS", "isolation forest", "PCA T2+Q", "half-space trees"):
        validation = BASELINES[name](train, dataset.values[split.validation], seed)
        limit = choose_threshold(
            ThresholdConfig(policy="max-f1"), recipe.costs, validation, dataset.labels[split.validation], 1.0
        ).value
        test = BASELINES[name](train, dataset.values[split.test], seed)
        found[name] = _outcome(test, limit, dataset.labels[split.test])
    positive = dataset.labels[split.test]
    found["always alarm"] = (Errors.of(np.ones(len(positive), bool), positive), None)
    found["never alarm"] = (Errors.of(np.zeros(len(positive), bool), positive), None)
    return found


def _outcome(scores: Scores, limit: float, positive: Mask) -> tuple[Errors, float | None]:
    return Errors.of(scores > limit, positive), auroc(scores, positive)


def _row(outcomes: list[tuple[Errors, float | None]]) -> dict[str, Any]:
    errors = [error for error, _ in outcomes]

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    areas = [area for _, area in outcomes if area is not None]
    return {
        "accuracy": mean([error.accuracy for error in errors]),
        "F1 normal": mean([error.f1_normal for error in errors]),
        "F1 abnormal": mean([error.f1 for error in errors]),
        "precision normal": mean([error.tn / max(error.tn + error.fn, 1) for error in errors]),
        "recall normal": mean([error.tn / max(error.tn + error.fp, 1) for error in errors]),
        "false alarms": percent(mean([error.false_alarm_rate or 0.0 for error in errors])),
        "missed": percent(mean([error.missed_rate or 0.0 for error in errors])),
        "AUROC": mean(areas) if areas else None,
    }
