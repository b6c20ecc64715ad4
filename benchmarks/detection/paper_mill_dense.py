"""The dense autoencoder on the paper mill: under its published protocol, and honestly.

Published: rows split at random, and the threshold that is cheapest on the very rows that are reported. Honest: split by
time, the threshold chosen on the validation part. Costs are by rows: 5 an alarm, 100 a missed positive row. Judge with
`trainer backtest` whether alarms pay: there a break counts once.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.judge import Errors, auroc, fit, percent, with_changes
from stream_detector.bundle.bundle import Bundle
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.split import split_rows
from trainer.evaluation.evaluate import average_precision, total_cost
from trainer.evaluation.scored import ScoredRows
from trainer.fitting.thresholds import operating_curve
from trainer.recipe import Recipe, load_recipe

PUBLISHED = {"protocol": "published: random split, threshold on test", "AUROC": "0.69 to 0.72", "F1": "0.03 to 0.10"}
CURVE_POINTS = 12


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    base = load_recipe("paper-mill-dense")
    dataset = read_dataset(min(folder.glob("*.csv*")), base.data)
    rows, curve = [], []
    for by in ("random", "time"):
        recipe = with_changes(base, split={"by": by}, train={"seed": seed})
        fitted = fit(recipe, dataset, scratch)
        test = fitted.test
        if by == "random":
            cheapest = _cheapest(recipe, test)
            rows.append({"protocol": "random split, threshold on test", **_row(recipe, test, cheapest)})
            curve = _curve(recipe, test)
            seen = _with_break_rows(recipe, fitted.bundle, dataset, test)
            rows.append(
                {
                    "protocol": "the same, the row of the break itself positive",
                    **_row(recipe, seen, _cheapest(recipe, seen)),
                }
            )
        limit = fitted.bundle.manifest.alarm_threshold
        rows.append({"protocol": f"**{by} split, threshold on validation**", **_row(recipe, test, limit)})
        if by == "time":
            rows.append(
                {"protocol": "time split, threshold on test (a bound)", **_row(recipe, test, _cheapest(recipe, test))}
            )
            rows.append({"protocol": "always alarm", **_row(recipe, test, -np.inf)})
            rows.append({"protocol": "never alarm", **_row(recipe, test, np.inf)})
    return {
        f"Paper mill, dense autoencoder, {int(dataset.events.sum())} breaks, costs by rows": [*rows, PUBLISHED],
        "Cost against threshold, random split, on test": curve,
    }


def _with_break_rows(recipe: Recipe, bundle: Bundle, dataset: Dataset, test: ScoredRows) -> ScoredRows:
    """The test rows with those of breaks instead of those before breaks: what is detected then has happened already."""
    assert test.positive is not None
    split = split_rows(recipe.split, len(dataset), recipe.train.seed, dataset.parts)
    breaks = np.flatnonzero(dataset.events & split.test)
    normal = test.take(~test.positive)
    scored = bundle.scorer.score(dataset.values[breaks][:, None])
    return ScoredRows(
        np.concatenate([normal.rows, breaks]),
        np.concatenate([normal.score, scored.score]),
        None,
        np.full(len(normal) + len(breaks), bundle.manifest.alarm_threshold),
        np.concatenate([normal.attribution, scored.attribution]),
        np.repeat([False, True], [len(normal), len(breaks)]),
    )


def _cheapest(recipe: Recipe, test: ScoredRows) -> float:
    assert test.positive is not None
    curve = operating_curve(test.score, test.positive)
    return float(curve.thresholds[int(np.argmin(curve.cost(recipe.costs)))])


def _row(recipe: Recipe, test: ScoredRows, limit: float) -> dict[str, Any]:
    assert test.positive is not None
    errors = Errors.of(test.score > limit, test.positive)
    cost = total_cost(recipe.costs, errors.tn, errors.fp, errors.fn, errors.tp)
    never = recipe.costs.fn * (errors.fn + errors.tp)
    return {
        "AUROC": auroc(test.score, test.positive),
        "average precision": average_precision(test.score, test.positive),
        **errors.both,
        "saving by rows": percent(1 - cost / never),
    }


def _curve(recipe: Recipe, test: ScoredRows) -> list[dict[str, Any]]:
    assert test.positive is not None
    curve = operating_curve(test.score, test.positive)
    cost = curve.cost(recipe.costs)
    chosen = np.unique(np.round(np.geomspace(1, len(cost), CURVE_POINTS)).astype(int) - 1)
    return [
        {
            "alarms": int(curve.tp[k] + curve.fp[k]),
            "right": int(curve.tp[k]),
            "threshold": float(curve.thresholds[k]),
            "cost": f"{cost[k]:,.0f}",
            "saving": percent(1 - cost[k] / cost[0]),
        }
        for k in chosen
    ]
