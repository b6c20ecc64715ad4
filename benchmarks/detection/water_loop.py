"""The water-circulation loop (SKAB): fit on the first 400 rows of each experiment, judge the rest.

The published protocol of the set's leaderboard. Methods without a factor of their own get the one factor on the 0.99
quantile of their training scores that does best on the *other* experiments, so that nobody tunes on what it reports.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, Mask, Scores, auroc, fit, spread, with_changes
from trainer.data.dataset import Dataset, read_dataset
from trainer.evaluation.scored import score_dataset
from trainer.recipe import Recipe, load_recipe

TRAIN_ROWS = 400
QUANTILE = 0.99
FACTORS = np.round(np.geomspace(0.5, 8, 60), 3)
ALL_SENSORS = (
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "Volume Flow RateRMS",
)
PUBLISHED = [
    {"method": "published: convolutional autoencoder", "F1": 0.78, "false alarms": "13.6 %", "missed": "28.0 %"},
    {"method": "published: LSTM autoencoder", "F1": 0.74, "false alarms": "30.0 %", "missed": "25.9 %"},
]

Scorer = Callable[[Dataset], Scores]
"""Scores of all rows of an experiment, learnt from its first 400."""


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    recipe = with_changes("water-loop", train={"seed": seed})
    experiments = [read_dataset(path, recipe.data) for path in _files(folder, labelled=True)]
    wide = [
        read_dataset(path, recipe.data.model_copy(update={"sensors": ALL_SENSORS}))
        for path in _files(folder, labelled=True)
    ]
    positives = [experiment.labels[TRAIN_ROWS:] for experiment in experiments if experiment.labels is not None]

    ours, each = Errors(0, 0, 0, 0), []
    for experiment, positive in zip(experiments, positives, strict=True):
        bundle = fit(recipe, experiment.take(_first(experiment)), scratch).bundle
        scored = score_dataset(bundle, experiment)
        scores = spread(scored.rows, scored.score, len(experiment))[TRAIN_ROWS:]
        errors = Errors.of(scores > bundle.manifest.alarm_threshold, positive)
        each.append({"experiment": experiment.name, **errors.both, "AUROC": auroc(scores, positive)})
        ours += errors
    rows: list[dict[str, Any]] = [{"method": "**water-loop**: the recipe, factor 2", **ours.both}]
    for name, scorer, data in _methods(recipe, experiments, wide, seed, scratch):
        scores_of = [scorer(experiment) for experiment in data]
        rows.append({"method": name, **_leave_one_out(scores_of, positives).both})
    always = sum((Errors.of(np.ones(len(p), bool), p) for p in positives), Errors(0, 0, 0, 0))
    never = sum((Errors.of(np.zeros(len(p), bool), p) for p in positives), Errors(0, 0, 0, 0))
    rows += [{"method": "always alarm", **always.both}, {"method": "never alarm", **never.both}, *PUBLISHED]
    return {
        f"Water loop, {len(experiments)} experiments, {sum(map(len, positives)):,} rows": rows,
        "The recipe by experiment": each,
        "The recipe where nothing happens": _quiet(folder, recipe, scratch),
    }


def _files(folder: Path, labelled: bool) -> list[Path]:
    found = sorted(path for path in folder.rglob("*.csv*") if path.is_file())
    return [path for path in found if ("anomaly-free" in path.name) != labelled]


def _first(dataset: Dataset) -> Mask:
    return np.arange(len(dataset)) < TRAIN_ROWS


def _methods(
    recipe: Recipe, experiments: list[Dataset], wide: list[Dataset], seed: int, scratch: Path
) -> list[tuple[str, Scorer, list[Dataset]]]:
    def learnt(changed: Recipe) -> Scorer:
        def scores(experiment: Dataset) -> Scores:
            bundle = fit(changed, experiment.take(_first(experiment)), scratch).bundle
            scored = score_dataset(bundle, experiment)
            return spread(scored.rows, scored.score, len(experiment))

        return scores

    def classical(name: str) -> Scorer:
        def scores(experiment: Dataset) -> Scores:
            values = experiment.values
            return BASELINES[name](values[:TRAIN_ROWS], values, seed)

        return scores

    network = {"epochs": 60, "batch_size": 32, "patience": 8}
    lstm = with_changes(
        recipe,
        window={"steps": 29},
        model={"kind": "lstm-autoencoder", "options": {"hidden": (32, 16)}},
        score={"error": "absolute"},
        train=network,
    )
    convolution = with_changes(
        recipe,
        window={"steps": 60},
        transform={"smooth_steps": 1},
        model={"kind": "conv-autoencoder", "options": {"filters": (32, 16), "kernel": 7}},
        score={"error": "absolute"},
        train=network,
    )
    return [
        ("Mahalanobis as in the recipe, factor from the other experiments", learnt(recipe), experiments),
        ("LSTM autoencoder 32-16 on the same 20 s means", learnt(lstm), experiments),
        ("convolutional autoencoder, windows of 60 rows, all sensors", learnt(convolution), wide),
        *((name, classical(name), experiments) for name in BASELINES if name not in ("always", "never", "RMS")),
    ]


def _leave_one_out(scores_of: list[Scores], positives: list[Mask]) -> Errors:
    """Each experiment with the factor that gives the best F1 on all others."""
    counts = [
        [
            Errors.of(scores[TRAIN_ROWS:] > factor * np.quantile(_finite(scores[:TRAIN_ROWS]), QUANTILE), positive)
            for factor in FACTORS
        ]
        for scores, positive in zip(scores_of, positives, strict=True)
    ]
    total = Errors(0, 0, 0, 0)
    for left_out in range(len(counts)):
        others = [counts[k] for k in range(len(counts)) if k != left_out or len(counts) == 1]
        f1 = [sum((one[f] for one in others), Errors(0, 0, 0, 0)).f1 for f in range(len(FACTORS))]
        total += counts[left_out][int(np.argmax(f1))]
    return total


def _finite(scores: Scores) -> Scores:
    return scores[np.isfinite(scores)]


def _quiet(folder: Path, recipe: Recipe, scratch: Path) -> list[dict[str, Any]]:
    """False alarms on stretches of 1,100 rows of the experiment in which nothing happens, fitted on their first 400."""
    rows = []
    unlabelled = load_recipe("water-loop").data.model_copy(update={"label_column": None})
    for path in _files(folder, labelled=False):
        whole = read_dataset(path, unlabelled)
        rates = []
        for start in range(0, len(whole) - 1100 + 1, 700):
            part = whole.take((np.arange(len(whole)) >= start) & (np.arange(len(whole)) < start + 1100))
            bundle = fit(recipe, part.take(_first(part)), scratch).bundle
            scored = score_dataset(bundle, part)
            rates.append(float(scored.above[scored.rows >= TRAIN_ROWS].mean()))
        rows.append({"file": path.name, "stretches": len(rates), "false alarms": f"{np.mean(rates):.1%}"})
    return rows
