"""Labels from an isolation forest, then the autoencoder on five components: how far both agree with the true labels.

On the first 70,000 minutes of the drinking-water set, whose events are about as rare as the sweep assumes; the true
labels are used for judging alone.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.judge import Errors, auroc, fit, stretches, with_changes
from trainer.data.dataset import read_dataset
from trainer.data.prelabel import marked, prelabel
from trainer.recipe import load_recipe

ROWS = 70_000


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    water = load_recipe("drinking-water")
    whole = read_dataset(min(folder.glob("*.csv*")), water.data)
    truth = whole.take(np.arange(len(whole)) < ROWS)
    assert truth.labels is not None
    recipe = with_changes("prelabel", grid=water.grid.model_dump(), train={"seed": seed, "max_windows": 8_000})
    assert recipe.data.prelabel is not None
    sweep = prelabel(truth.values, recipe.data.prelabel)
    rows: list[dict[str, Any]] = []
    for index, share in enumerate(sweep.contaminations):
        labels = marked(sweep.scores, share)
        rows.append(
            {
                "labels": f"isolation forest {share:g}" + (" (chosen)" if index == sweep.chosen else ""),
                **Errors.of(labels, truth.labels).both,
                "AUROC": auroc(sweep.scores, truth.labels),
                "stretches": sweep.stretches[index],
            }
        )
    labelled = type(truth)(**{**vars(truth), "labels": sweep.labels})
    test = fit(recipe, labelled, scratch).test
    assert test.positive is not None
    agreement = Errors.of(test.above, test.positive)
    against_truth = Errors.of(test.above, truth.labels[test.rows])
    forest = Errors.of(sweep.labels[test.rows], truth.labels[test.rows])
    everything = Errors.of(np.ones(len(test), bool), truth.labels[test.rows])
    judged = [
        {"judged on the last fifth": "**prelabel** against the forest's labels", **agreement.both},
        {"judged on the last fifth": "**prelabel** against the true labels", **against_truth.both}
        | {"AUROC": auroc(test.score, truth.labels[test.rows])},
        {"judged on the last fifth": "the forest itself against the true labels", **forest.both},
        {"judged on the last fifth": "always alarm against the true labels", **everything.both},
    ]
    events = len(stretches(truth.labels))
    return {
        f"What the sweep marks, {ROWS:,} rows, {events} true events": rows,
        "The autoencoder on these labels": judged,
    }
