"""Bearing vibration (CWRU): five seconds of each recording; 40 % learn, 20 % choose the threshold, the rest judges.

Twice: as the studies do it, with the healthy recording at its 48 kHz beside faults at 12 kHz, so that a model may tell
recorders apart; and with the healthy recording decimated to 12 kHz. In the studies' tables FRR is the false-alarm rate,
FAR the missed rate, and their AUROC is that of the decisions, 1 - IE; both forms are given.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.judge import Errors, Mask, auroc, fit, percent, with_changes
from stream_detector.detection.config import ThresholdConfig
from stream_detector.detection.models.fixed_batches import run_in_batches
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import build
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.examples import cut_examples
from trainer.data.split import split_rows
from trainer.fitting.networks.torch_network import torch_network
from trainer.fitting.thresholds import choose_threshold
from trainer.fitting.training import train_network
from trainer.recipe import Recipe, load_recipe

FIRST_SAMPLES = 60_000
"""Of each recording, five seconds: what the shortest has after decimation."""

SPLIT = {"train": 0.4, "validation": 0.2}
RECIPES = ("bearing-dense", "bearing-linear", "bearing-recurrent", "bearing-cnn")
PUBLISHED = [
    {"method": "published: recurrent autoencoder", "F1": 0.9639, "false alarms": "1.4 %", "missed": "5.4 %"}
    | {"AUROC of decisions": 0.9661, "IE": 0.0339},
    {"method": "published: 1D-CNN", "accuracy": 0.992},
    {"method": "published: 1D-CNN learnt on normal only", "accuracy": 0.269},
]


def run(folder: Path, seed: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    by_fault: list[dict[str, Any]] = []
    for decimated in (False, True):
        recipes = [_recipe(name, decimated, seed) for name in RECIPES]
        recipes.insert(
            1,
            with_changes(
                recipes[0],
                name="bearing-dense-20",
                window={"steps": 20, "stride": 20},
                model={"options": {"hidden": (16, 8), "activation": "relu"}},
                threshold={"policy": "max-f1"},
            ),
        )
        dataset = _shortened(read_dataset(folder, recipes[0].data))
        rows = []
        for recipe in recipes:
            test = fit(recipe, dataset, scratch).test
            assert test.positive is not None
            alarm, score = test.above, test.score
            rows.append({"method": f"**{recipe.name}**", **_row(alarm, score, test.positive)})
            if recipe.name.startswith("bearing-dense"):
                by_fault += _by_fault(recipe, decimated, folder, dataset, test.rows, alarm)
        for name in ("bearing-dense", "bearing-dense-20"):
            recipe = next(recipe for recipe in recipes if recipe.name == name)
            rows.append(
                {"method": f"RMS of {recipe.window.steps} samples, best F1 on validation", **_rms(recipe, dataset)}
            )
        rows.append({"method": "1D-CNN learnt on normal only", **_normal_only(recipes[-1], dataset)})
        positive = test.positive
        for name, value in (("always alarm", True), ("never alarm", False)):
            rows.append({"method": name, **_row(np.full(len(positive), value), None, positive)})
        how = "healthy recording decimated to 12 kHz" if decimated else "recordings as they are (48 and 12 kHz)"
        tables[f"Bearings, {how}"] = [*rows, *PUBLISHED]
    return {**tables, "By fault": by_fault}


def _shortened(dataset: Dataset) -> Dataset:
    assert dataset.parts is not None
    starts = np.searchsorted(dataset.parts, dataset.parts)
    return dataset.take(np.arange(len(dataset)) - starts < FIRST_SAMPLES)


def _recipe(name: str, decimated: bool, seed: int) -> Recipe:
    recipe = load_recipe(name)
    data = recipe.data.model_dump()
    if not decimated:
        data["signal"]["recorded_hertz"] = {}
    return with_changes(recipe, data=data, split=SPLIT, train={"seed": seed})


def _row(alarm: Mask, score: np.ndarray | None, positive: Mask) -> dict[str, Any]:
    errors = Errors.of(alarm, positive)
    error = ((errors.false_alarm_rate or 0.0) + (errors.missed_rate or 0.0)) / 2
    return {
        **errors.both,
        "accuracy": errors.accuracy,
        "AUROC": None if score is None else auroc(score, positive),
        "AUROC of decisions": 1 - error,
        "IE": error,
    }


def _by_fault(
    recipe: Recipe, decimated: bool, folder: Path, dataset: Dataset, rows: np.ndarray, alarm: Mask
) -> list[dict[str, Any]]:
    assert dataset.parts is not None
    assert dataset.labels is not None
    found = []
    for part, path in enumerate(sorted(folder.glob("*.mat"))):
        inside = dataset.parts[rows] == part
        errors = Errors.of(alarm[inside], dataset.labels[rows[inside]])
        found.append(
            {
                "method": recipe.name + (", decimated" if decimated else ""),
                "recording": path.stem,
                "windows": int(inside.sum()),
                "false alarms": percent(errors.false_alarm_rate),
                "missed": "n/a" if errors.missed_rate is None else f"{errors.missed_rate:.2%}",
            }
        )
    return found


def _rms(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    examples = cut_examples(dataset, recipe.grid, recipe.window, recipe.lead)
    split = split_rows(recipe.split, len(dataset), recipe.train.seed, dataset.parts)
    assert examples.positive is not None
    learnt = split.train[examples.rows] & examples.normal
    sizes = np.sqrt(((examples.windows - examples.windows[learnt].mean()) ** 2).mean(axis=(1, 2)))
    chosen_on, judged = split.validation[examples.rows], split.test[examples.rows]
    limit = choose_threshold(
        ThresholdConfig(policy="max-f1"), recipe.costs, sizes[chosen_on], examples.positive[chosen_on], 1.0
    ).value
    return _row(sizes[judged] > limit, sizes[judged], examples.positive[judged])


def _normal_only(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """The classifier as if the faults had not been there to learn from: it can only learn to say "normal"."""
    examples = cut_examples(dataset, recipe.grid, recipe.window, recipe.lead)
    split = split_rows(recipe.split, len(dataset), recipe.train.seed, dataset.parts)
    assert examples.positive is not None
    learnt, judged = split.train[examples.rows] & examples.normal, split.test[examples.rows]
    scaled = ((examples.windows - examples.windows[learnt].mean()) / examples.windows[learnt].std()).astype(np.float32)
    model = build(recipe.model, recipe.window.steps, 1)
    assert isinstance(model, Network)
    known = np.ones(scaled.shape, bool)
    network = torch_network(model, recipe.train.seed)
    train_network(
        network, scaled[learnt], known[learnt], np.zeros(int(learnt.sum()), bool), recipe.train, lambda *_: None
    )
    model.restore(network.arrays())
    score = run_in_batches(model, scaled[judged], known[judged]).score
    assert score is not None
    return _row(score > 0.5, score, examples.positive[judged])
