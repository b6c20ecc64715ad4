"""The attacked water network (BATADAL): fit on the clean year, judge on the attacked one with the contest's score.

S = (S_TTD + S_CM) / 2 of Taormina et al. 2018, "Battle of the attack detection algorithms": S_TTD is 1 minus the mean
share of each attack that passes before its first alarm, S_CM the mean of recall and specificity.

Two thresholds: from the clean year alone, and from a validation file with attacks. As one attacked file is public
here, the second is judged on the attacks of its later part, chosen on those of its earlier part.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, Mask, Scores, auroc, fit, percent, spread, stretches, with_changes
from stream_detector.detection.config import ThresholdConfig
from trainer.data.dataset import Dataset, read_dataset
from trainer.evaluation.scored import score_dataset
from trainer.fitting.thresholds import choose_threshold
from trainer.recipe import Recipe

PUBLISHED = [
    {"method": "published, best (Housh and Ohar: hydraulic model)", "S": 0.970},
    {"method": "published, best autoencoder", "S": 0.80},
    {"method": "published, last", "S": 0.534},
]


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    recipe = with_changes("water-network", train={**_train("water-network"), "seed": seed})
    clean, attacked = _read(folder, recipe)
    assert attacked.labels is not None
    lstm = with_changes(
        recipe,
        name="lstm-windows",
        model={"kind": "lstm-autoencoder", "options": {"hidden": (32, 16)}},
        train={**recipe.train.model_dump(), "learning_rate": 1e-3, "epochs": 30, "patience": 5},
    )
    scores: dict[str, tuple[Scores, Scores]] = {}
    for name, changed in {
        "**water-network**: each sensor from the others": recipe,
        "LSTM autoencoder 32-16, windows of 12 h": lstm,
    }.items():
        bundle = fit(changed, clean, scratch).bundle
        of_clean, of_attacked = score_dataset(bundle, clean), score_dataset(bundle, attacked)
        scores[name] = (
            spread(of_clean.rows, of_clean.score, len(clean)),
            spread(of_attacked.rows, of_attacked.score, len(attacked)),
        )
    train_rows = round(recipe.split.train * len(clean))
    for name in ("moving z-score", "isolation forest", "PCA T2+Q", "half-space trees", "RMS"):
        learnt = clean.values[:train_rows]
        both = BASELINES[name](learnt, np.vstack([clean.values, attacked.values]), seed)
        scores[name] = (both[: len(clean)], both[len(clean) :])

    half = _between_attacks(attacked.labels)
    from_clean, from_attacks = [], []
    for name, (own, other) in scores.items():
        policy = recipe.threshold
        factor = policy.factor if name.startswith(("**", "LSTM")) else 1.0
        limit = factor * float(np.quantile(own[train_rows:], policy.quantile))
        from_clean.append(
            {"method": name, **_judge(other > limit, attacked.labels), "AUROC": auroc(other, attacked.labels)}
        )
        chosen = choose_threshold(
            ThresholdConfig(policy="quantile", quantile=0.95),
            recipe.costs,
            other[:half],
            attacked.labels[:half],
            recipe.grid.step_seconds,
        ).value
        from_attacks.append({"method": name, **_judge(other[half:] > chosen, attacked.labels[half:])})
    for alarm, name in ((True, "always alarm"), (False, "never alarm")):
        from_clean.append({"method": name, **_judge(np.full(len(attacked), alarm), attacked.labels)})
    return {
        f"Water network, {len(stretches(attacked.labels))} attacks, threshold from the clean year alone": [
            *from_clean,
            *PUBLISHED,
        ],
        "The later attacks, threshold = 0.95 quantile of the normal hours up to the third": from_attacks,
    }


def of_recipe(recipe: Recipe, folder: Path, scratch: Path) -> dict[str, Any]:
    """The attacked year by the threshold that the recipe itself chooses on the clean one."""
    clean, attacked = _read(folder, recipe)
    assert attacked.labels is not None
    found = score_dataset(fit(recipe, clean, scratch).bundle, attacked)
    alarm = np.zeros(len(attacked), bool)
    alarm[found.rows] = found.above
    return _judge(alarm, attacked.labels)


def _read(folder: Path, recipe: Recipe) -> tuple[Dataset, Dataset]:
    """(the clean year, the attacked one)."""
    clean = read_dataset(_one(folder, "*03*"), recipe.data)
    return clean, read_dataset(_one(folder, "*04*"), recipe.data, clean.sensors)


def _train(name: str) -> dict[str, Any]:
    from trainer.recipe import load_recipe

    return load_recipe(name).train.model_dump()


def _one(folder: Path, pattern: str) -> Path:
    return min(folder.glob(f"{pattern}.csv*"))


def _between_attacks(positive: Mask) -> int:
    """A row between the third and the fourth attack."""
    attacks = stretches(positive)
    return (attacks[2][1] + attacks[3][0]) // 2


def _judge(alarm: Mask, positive: Mask) -> dict[str, Any]:
    attacks = stretches(positive)
    delays = []
    for first, behind in attacks:
        hits = np.flatnonzero(alarm[first:behind])
        delays.append(hits[0] / (behind - first) if len(hits) else 1.0)
    errors = Errors.of(alarm, positive)
    recall, false_alarms = 1 - (errors.missed_rate or 0.0), errors.false_alarm_rate or 0.0
    time_score = 1 - float(np.mean(delays))
    return {
        "S": (time_score + (recall + 1 - false_alarms) / 2) / 2,
        "found": f"{sum(delay < 1 for delay in delays)} of {len(attacks)}",
        "false alarms": percent(false_alarms),
        "missed": percent(errors.missed_rate),
        "F1": errors.f1,
    }
