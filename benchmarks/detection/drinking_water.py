"""Drinking-water quality (GECCO 2018): learn on the first rows, choose the threshold on the next, judge the rest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, Mask, Scores, auroc, fit, spread, stretches, with_changes
from benchmarks.detection.volume_under_surface import period, vus_pr
from stream_detector.detection.config import ThresholdConfig
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.split import split_rows
from trainer.evaluation.evaluate import average_precision
from trainer.evaluation.scored import score_dataset
from trainer.fitting.thresholds import choose_threshold
from trainer.recipe import Recipe

MAX_TRAIN_WINDOWS = 6_000
LEADERBOARD_TRAIN_ROWS = 16_165
LEADERBOARD = [
    {"method": "TSB-AD-M: principal components, best of 23", "VUS-PR": 0.202},
    {"method": "TSB-AD-M: autoencoder", "VUS-PR": 0.049},
    {"method": "TSB-AD-M: LSTM", "VUS-PR": 0.019},
]
"""Liu and Paparrizos 2024, "The elephant in the room", series GECCO."""


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    recipe = with_changes("drinking-water")
    dataset = read_dataset(min(folder.glob("*.csv*")), recipe.data)
    assert dataset.labels is not None
    split = split_rows(recipe.split, len(dataset), seed)
    lstm = with_changes(
        recipe,
        name="lstm-windows",
        window={"steps": 30},
        transform={"kind": "centred"},
        model={"kind": "lstm-autoencoder", "options": {"hidden": (32, 16)}},
        score={"steps": "newest"},
        train={"epochs": 20, "batch_size": 64, "patience": 5, "max_windows": MAX_TRAIN_WINDOWS, "seed": seed},
    )
    scores: dict[str, Scores] = {}
    for name, changed in {
        "**drinking-water**: newest minute against two hours": recipe,
        "LSTM autoencoder 32-16, centred half hours": lstm,
    }.items():
        scored = score_dataset(fit(changed, dataset, scratch).bundle, dataset)
        scores[name] = spread(scored.rows, scored.score, len(dataset))
    normal = dataset.values[split.train & ~dataset.labels]
    for name, baseline in BASELINES.items():
        scores[name] = baseline(normal, dataset.values, seed)
    rows = []
    for name, all_scores in scores.items():
        limit = 0.0
        if np.isfinite(all_scores).any():
            chosen_on = split.validation & np.isfinite(all_scores)
            limit = choose_threshold(
                ThresholdConfig(policy="max-f1"),
                recipe.costs,
                all_scores[chosen_on],
                dataset.labels[chosen_on],
                recipe.grid.step_seconds,
            ).value
        rows.append({"method": name, **_judge(all_scores[split.test], limit, dataset.labels[split.test])})
    return {
        f"Drinking water, {int(split.test.sum()):,} rows judged, {len(stretches(dataset.labels[split.test]))} events; "
        "threshold with the best F1 on the validation rows": rows,
        "Drinking water in the open leaderboard's terms (TSB-AD-M)": leaderboard(folder, recipe, seed, scratch),
    }


def leaderboard(folder: Path, recipe: Recipe, seed: int, scratch: Path) -> list[dict[str, Any]]:
    """VUS-PR of the whole series without its incomplete rows; learnt from its first rows, which hold no event."""
    everything = read_dataset(min(folder.glob("*.csv*")), recipe.data.model_copy(update={"sensors": ()}))
    everything = everything.take(np.isfinite(everything.values).all(axis=1))
    assert everything.labels is not None
    window = period(everything.values[:, 0])
    train = float(LEADERBOARD_TRAIN_ROWS / len(everything))
    learner = with_changes(
        recipe, split={"train": train, "validation": 0.0}, threshold={"policy": "quantile"}, train={"seed": seed}
    )
    rows = []
    for method, sensors, steps in (
        ("**drinking-water**: newest minute against two hours", recipe.data.sensors, recipe.window.steps),
        ("the same against one hour", recipe.data.sensors, 60),
        ("the same, all nine sensors", everything.sensors, recipe.window.steps),
    ):
        dataset = with_sensors(everything, sensors)
        changed = with_changes(learner, data={"sensors": sensors}, window={"steps": steps})
        scored = score_dataset(fit(changed, dataset, scratch).bundle, dataset)
        # A row without a full window is never in alarm.
        scores = np.full(len(dataset), scored.score.min())
        scores[scored.rows] = scored.score
        later = split_rows(recipe.split, len(dataset), seed).test
        rows.append(
            {
                "method": method,
                "VUS-PR": vus_pr(scores, everything.labels, window),
                "last 46 % alone": vus_pr(scores[later], everything.labels[later], window),
            }
        )
    usual = everything.values[:LEADERBOARD_TRAIN_ROWS]
    values = (everything.values - usual.mean(axis=0)) / usual.std(axis=0)
    for name in ("RMS", "isolation forest", "PCA T2+Q"):
        found = BASELINES[name](values[:LEADERBOARD_TRAIN_ROWS], values, seed)
        rows.append({"method": f"{name}, all nine sensors", "VUS-PR": vus_pr(found, everything.labels, window)})
    same = vus_pr(np.zeros(len(everything)), everything.labels, window)
    return [*rows, {"method": "always or never alarm", "VUS-PR": same}, *LEADERBOARD]


def with_sensors(dataset: Dataset, sensors: tuple[str, ...]) -> Dataset:
    columns = [dataset.sensors.index(sensor) for sensor in sensors]
    return replace(dataset, sensors=sensors, values=dataset.values[:, columns])


def _judge(scores: Scores, limit: float, positive: Mask) -> dict[str, Any]:
    alarm = scores > limit
    events = stretches(positive)
    found = [np.flatnonzero(alarm[first:behind]) for first, behind in events]
    delays = [int(hits[0]) for hits in found if len(hits)]
    finite = bool(np.isfinite(scores).any())
    return {
        **Errors.of(alarm, positive).both,
        "events found": f"{len(delays)} of {len(events)}",
        "median delay, min": float(np.median(delays)) if delays else None,
        "AUROC": auroc(scores, positive) if finite else None,
        "average precision": average_precision(np.maximum(scores, -1e9), positive) if finite else None,
    }
