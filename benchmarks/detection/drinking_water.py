"""Drinking-water quality (GECCO 2018): learn on the first rows, choose the threshold on the next, judge the rest."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, Mask, Scores, auroc, fit, spread, stretches, with_changes
from stream_detector.detection.config import ThresholdConfig
from trainer.data.dataset import read_dataset
from trainer.data.split import split_rows
from trainer.evaluation.evaluate import average_precision
from trainer.evaluation.scored import score_dataset
from trainer.fitting.thresholds import choose_threshold

MAX_TRAIN_WINDOWS = 6_000


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
        "threshold with the best F1 on the validation rows": rows
    }


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
