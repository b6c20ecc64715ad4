"""Semiconductor lots (SECOM): the one-class recipes lose to failing every lot; a supervised scorer ranks lots.

The set's measurements were imputed with the whole file in view, so every figure here is optimistic.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, Mask, auroc, fit, percent, with_changes
from stream_detector.detection.config import ModelConfig, ScalerConfig
from stream_detector.detection.models.fixed_batches import run_in_batches
from stream_detector.detection.models.registry import Learner, build
from stream_detector.detection.scaling import Scaler
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.split import split_rows
from trainer.evaluation.evaluate import average_precision
from trainer.fitting.thresholds import choose_threshold
from trainer.recipe import Recipe, load_recipe

SPLITS = 5
FOLDS = 5
PUBLISHED = [
    {"method": "published: dense 52-32-16-32-52", "F1": 0.105},
    {"method": "published: layers 32-24-16-8", "F1": 0.107},
]


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    dataset = read_dataset(min(folder.glob("*.parquet")), load_recipe("lots-dense").data)
    assert dataset.labels is not None
    judged: dict[str, list[dict[str, Any]]] = {}
    for split_seed in range(seed, seed + SPLITS):
        for name in ("lots-dense", "lots-deep"):
            recipe = with_changes(name, train={**load_recipe(name).train.model_dump(), "seed": split_seed})
            test = fit(recipe, dataset, scratch).test
            assert test.positive is not None
            judged.setdefault(f"**{name}**", []).append(
                _row(Errors.of(test.above, test.positive), test.score, test.positive)
            )
        for name, row in _baselines(load_recipe("lots-dense"), dataset, split_seed).items():
            judged.setdefault(name, []).append(row)
    supervised = load_recipe("lots-supervised")
    ranked = [
        {"protocol": f"random, {FOLDS} folds, {SPLITS} times", "AUROC": _cross_validated(supervised, dataset, seed)},
        *(_in_time(supervised, dataset, share) for share in (0.8, 0.7, 0.6, 0.5)),
    ]
    test = fit(supervised, dataset, scratch).test
    assert test.positive is not None
    decisions = _row(Errors.of(test.above, test.positive), test.score, test.positive)
    return {
        f"Lots, one-class, {len(dataset):,} lots of which {int(dataset.labels.sum())} failed, mean of {SPLITS} random "
        "splits, threshold with the best F1 on validation": [
            *({"method": name, **_mean(rows)} for name, rows in judged.items()),
            *PUBLISHED,
        ],
        "Lots, supervised (`lots-supervised`): how well the score ranks lots": ranked,
        "The supervised recipe's decisions on the last fifth": [{"method": "**lots-supervised**", **decisions}],
    }


def _row(errors: Errors, scores: np.ndarray, positive: Mask) -> dict[str, Any]:
    return {
        "F1": errors.f1,
        "false alarms": errors.false_alarm_rate,
        "missed": errors.missed_rate,
        "accuracy": errors.accuracy,
        "AUROC": auroc(scores, positive),
        "average precision": average_precision(scores, positive) if np.isfinite(scores).all() else None,
    }


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {
        key: None if rows[0][key] is None else float(np.mean([row[key] for row in rows])) for key in rows[0]
    }
    return {**means, "false alarms": percent(means["false alarms"]), "missed": percent(means["missed"])}


def _baselines(recipe: Recipe, dataset: Dataset, seed: int) -> dict[str, dict[str, Any]]:
    assert dataset.labels is not None
    split = split_rows(recipe.split, len(dataset), seed)
    scaler = Scaler.learn(ScalerConfig(clip=10), dataset.values[split.train & ~dataset.labels])
    values, positive = scaler.apply(dataset.values), dataset.labels
    train = values[split.train & ~positive]
    found = {}
    for name in ("RMS", "isolation forest", "PCA T2+Q", "half-space trees"):
        validation = BASELINES[name](train, values[split.validation], seed)
        limit = choose_threshold(recipe.threshold, recipe.costs, validation, positive[split.validation], 1.0).value
        test = BASELINES[name](train, values[split.test], seed)
        found[name] = _row(Errors.of(test > limit, positive[split.test]), test, positive[split.test])
    judged = positive[split.test]
    for name, alarm in (("always fail", True), ("never fail", False)):
        row = _row(Errors.of(np.full(len(judged), alarm), judged), np.zeros(len(judged)), judged)
        found[name] = {**row, "AUROC": None, "average precision": None}
    return found


def _cross_validated(recipe: Recipe, dataset: Dataset, seed: int) -> float:
    """Mean area over stratified folds."""
    from sklearn.model_selection import StratifiedKFold

    assert dataset.labels is not None
    areas = []
    for repeat in range(seed, seed + SPLITS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=repeat)
        for train, test in folds.split(dataset.values, dataset.labels):
            areas.append(auroc(_supervised(recipe, dataset, train, test), dataset.labels[test]))
    return float(np.mean([area for area in areas if area is not None]))


def _in_time(recipe: Recipe, dataset: Dataset, share: float) -> dict[str, Any]:
    assert dataset.labels is not None
    first = round(share * len(dataset))
    train, test = np.arange(first), np.arange(first, len(dataset))
    scores = _supervised(recipe, dataset, train, test)
    return {
        "protocol": f"in time, learnt on the first {share:.0%}",
        "AUROC": auroc(scores, dataset.labels[test]),
        "failed lots judged": int(dataset.labels[test].sum()),
    }


def _supervised(recipe: Recipe, dataset: Dataset, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The recipe's scaler and model, without its split."""
    assert dataset.labels is not None
    scaler = Scaler.learn(recipe.scaler, dataset.values[train])
    windows = scaler.apply(dataset.values)[:, None].astype(np.float32)
    known = np.ones(windows.shape, bool)
    model = build(ModelConfig(kind=recipe.model.kind, options=recipe.model.options), 1, windows.shape[2])
    assert isinstance(model, Learner)
    model.learn(windows[train], known[train], dataset.labels[train], seed=0)
    score = run_in_batches(model, windows[test], known[test]).score
    assert score is not None
    return score
