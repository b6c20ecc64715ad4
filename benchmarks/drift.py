"""Which detector of drift is quick, and which cries wolf? River's, and the stability index in use, on simulated plants.

    python -m benchmarks.drift [--seeds 3] [--write]

Each plant is fitted on its first nine days and watched from day 12 on. In the quiet run nothing is done to it, though
a simulated machine wanders by itself, as real ones do; in the others something changes on day 20. Counted are the
drifts that each detector calls in the quiet run, a month, and the hours from the change to the first call.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift as river_drift

from benchmarks.page import fill_page
from stream_detector.detection.drift import LIMIT, DriftMeter, ScoreReference
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.simulate import SENSORS, Simulation, simulate, write
from trainer.evaluation.scored import score_dataset
from trainer.fitting.fit import fit_recipe
from trainer.recipe import parse_recipe

RECIPE = """\
title = "Watched"
[data]
label_column = "y"
labels_mark = "events"
drop_columns = ["grade", "broke_pump"]
[grid]
step_seconds = 120
lateness_seconds = 120
[window]
steps = 4
[transform]
kind = "{transform}"
[scaler]
kind = "robust"
clip = 8
[model]
kind = "mahalanobis"
[score]
steps = "newest"
[threshold]
policy = "quantile"
"""
PAGE = Path(__file__).parent.parent / "docs" / "studies" / "drift.md"
DAY = 86_400.0
DAYS, LEARN_DAYS, WATCH_FROM, CHANGE_AT = 28.0, 9.0, 12.0, 20.0
STEPS_FOR = 15
"""Half an hour: so long must the stability index stay above its limit, as the alert has it."""
EVERY = 5
"""KSWIN compares two samples at each step that it is given; it is given every fifth."""

Floats = NDArray[np.float64]
Change = Callable[[Floats, Floats, np.random.Generator], Floats]
"""(values (N, F) from the change on, days since (N,), random numbers) -> the changed values."""

SPREADS = np.array([sensor.spread for sensor in SENSORS])
SOME = np.array([place for place, sensor in enumerate(SENSORS) if sensor.section == "dryer"])


QUIET = "nothing"


def changed(part: Callable[[Floats, Floats, np.random.Generator], Floats]) -> Change:
    """A change of the dryer's sensors alone."""

    def change(values: Floats, days: Floats, generator: np.random.Generator) -> Floats:
        values = values.copy()
        values[:, SOME] = part(values[:, SOME], days, generator)
        return values

    return change


CHANGES: dict[str, Change | None] = {
    QUIET: None,
    "levels step by 3 spreads": changed(lambda v, _d, _g: v + 3 * SPREADS[SOME]),
    "levels creep by 1 spread a day": changed(lambda v, d, _g: v + d[:, None] * SPREADS[SOME]),
    "sensors replaced, gain 1.5": changed(lambda v, _d, _g: v * 1.5),
    "noise of 0.15 spreads comes on top": changed(lambda v, _d, g: v + g.normal(0, 0.15, v.shape) * SPREADS[SOME]),
    "three sensors stand still": changed(
        lambda v, _d, _g: np.column_stack([np.broadcast_to(v[:1, :3], (len(v), 3)), v[:, 3:]])
    ),
}


def stability(scores: Floats, reference: ScoreReference) -> Iterator[int]:
    """Steps at which the index in use, above its limit for half an hour, would call."""
    meter, above, called = DriftMeter(reference), 0, False
    for step, score in enumerate(scores.tolist()):
        meter.add(score)
        above = above + 1 if (meter.level or 0.0) > LIMIT else 0
        if above == STEPS_FOR and not called:
            yield step
        called = above >= STEPS_FOR


def of_river(make: Callable[[], Any], every: int = 1) -> Callable[[Floats, ScoreReference], Iterator[int]]:
    """Steps at which one of river's detectors calls; it is given the logarithm of the scores."""

    def calls(scores: Floats, _: ScoreReference) -> Iterator[int]:
        detector = make()
        for step in range(0, len(scores), every):
            detector.update(float(np.log(max(scores[step], 1e-12))))
            if detector.drift_detected:
                yield step

    return calls


DETECTORS: dict[str, Callable[[Floats, ScoreReference], Iterator[int]]] = {
    "stability index > 0.25 (in use)": stability,
    "ADWIN, delta 0.002": of_river(lambda: river_drift.ADWIN(delta=0.002)),
    "ADWIN, delta 1e-9": of_river(lambda: river_drift.ADWIN(delta=1e-9)),
    "KSWIN, alpha 1e-5, 500 / 100": of_river(
        lambda: river_drift.KSWIN(alpha=1e-5, window_size=500, stat_size=100, seed=1), EVERY
    ),
    "Page-Hinkley, delta 0.05, limit 50": of_river(lambda: river_drift.PageHinkley(delta=0.05, threshold=50.0)),
}


def watch(seed: int, transform: str) -> dict[str, dict[str, list[float]]]:
    """{change: {detector: days at which it called}} of one plant, from day 12 on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plant.csv"
        write(simulate(Simulation(days=DAYS, seed=seed)), path)
        recipe = parse_recipe(RECIPE.format(transform=transform), "watched")
        dataset = read_dataset(path, recipe.data)
        start = dataset.times[0]
        bundle = fit_recipe(recipe, dataset.take(dataset.times < start + LEARN_DAYS * DAY), Path(folder) / "b").bundle
    reference = ScoreReference.from_json(bundle.manifest.metrics["scores"])
    assert reference is not None
    found = {}
    for name, change in CHANGES.items():
        seen = dataset.take(dataset.times >= start + WATCH_FROM * DAY)
        scored = score_dataset(bundle, seen if change is None else after(seen, change, start, seed))
        days = (seen.times[scored.rows] - start) / DAY
        found[name] = {
            detector: [float(days[step]) for step in calls(scored.score, reference)]
            for detector, calls in DETECTORS.items()
        }
    return found


def after(dataset: Dataset, change: Change, start: float, seed: int) -> Dataset:
    """The plant with a change on day 20."""
    late = dataset.times >= start + CHANGE_AT * DAY
    values = dataset.values.copy()
    days = (dataset.times[late] - start) / DAY - CHANGE_AT
    values[late] = change(values[late], days, np.random.default_rng(seed))
    return Dataset(dataset.name, dataset.sha256, dataset.sensors, dataset.times, values, dataset.labels, True)


def table(plants: list[dict[str, dict[str, list[float]]]], transform: str) -> str:
    """Markdown: a line a detector; hours from day 20 to the first call, median, and of how many plants."""
    names = list(CHANGES)
    lines = [
        f"| on {transform} | false a month | {' | '.join(names)} |",
        f"|---|--:|{'--:|' * len(names)}",
    ]
    for detector in DETECTORS:
        false = [len(plant[QUIET][detector]) / (DAYS - WATCH_FROM) * 30 for plant in plants]
        cells = []
        for name in names:
            firsts = [min((d for d in p[name][detector] if d >= CHANGE_AT), default=None) for p in plants]
            hours = [24 * (day - CHANGE_AT) for day in firsts if day is not None]
            cells.append(f"{median(hours):.1f} h ({len(hours)} of {len(plants)})" if hours else "never")
        lines.append(f"| {detector} | {median(false):.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables, or write them into the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    tables = []
    for transform in ("differences", "levels"):
        plants = [watch(seed, transform) for seed in range(1, options.seeds + 1)]
        tables.append(table(plants, transform))
    text = "\n\n".join(tables)
    print(text)
    if options.write:
        fill_page("drift", text, PAGE)


if __name__ == "__main__":
    main()
