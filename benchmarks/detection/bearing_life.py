"""Bearings run to failure (IMS / NASA): how long before the end the failing ones are named, and who is named wrongly.

One bundle a test, learnt from its first day. A bearing is in alarm while its part of the score (the largest of its
channels) is above the bundle's threshold. An alarm counts for a failed bearing if it lasts to the end of the file; on
the others every alarm up to a day before the end is false: after that the failing bearing shakes the whole machine.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Mask, Report, Scores, fit, stretches, with_changes
from stream_detector.errors import DataError
from stream_detector.historian import files_of
from trainer.data.dataset import Dataset, in_words, read_dataset
from trainer.evaluation.scored import ScoredRows, score_dataset
from trainer.recipe import Recipe

OURS = "**bearing-life**: louder than its neighbours"
LIMITS = (0.03, 0.04, 0.05, 0.06, 0.08, 0.10)
DAY_HOURS = 24.0
SIMPLE_RULE = 1.25
"""Alarm at so many times a bearing's own usual level."""

BY_ROW = ("moving z-score", "isolation forest")
"""Baselines that score row by row, here smoothed as the recipe's levels are; their limit is the highest score of the
rows learnt from."""


@dataclass(frozen=True)
class Test:
    """One run to failure. `failed`: the bearings that were found broken at its end."""

    name: str
    first_month: str
    failed: tuple[int, ...]


TESTS = (Test("test 1", "2003-10", (3, 4)), Test("test 2", "2004-02", (1,)), Test("test 3", "2004-03", (3,)))
"""From the data set's own notes (Lee et al. 2007, IMS, University of Cincinnati), by the month in which a run began."""


@dataclass(frozen=True)
class Outcome:
    """Of one bearing. `ahead`: hours from the alarm that lasts to the end until then; None without one. `before`:
    alarms that were over or began up to a day before the end, without the lasting one of a failed bearing."""

    ahead: float | None
    before: int


def run(folder: Path, seed: int, scratch: Path) -> Report:
    recipe = with_changes("bearing-life", train={"seed": seed})
    train_rows = recipe.split.train_rows
    assert train_rows is not None
    found: dict[str, dict[str, Outcome]] = {}
    by_limit: dict[float, dict[str, Outcome]] = {limit: {} for limit in LIMITS}
    failed: list[str] = []
    for path in files_of(folder):
        dataset = read_dataset(path, recipe.data)
        test = test_of(dataset)
        bundle = fit(recipe, dataset, scratch).bundle
        scored = score_dataset(bundle, dataset)
        judged = scored.take(scored.rows >= train_rows)
        name_of = {bearing: f"{test.name} bearing {bearing}" for bearing in bearings_of(dataset.sensors)}
        failed += [name for bearing, name in name_of.items() if bearing in test.failed]
        ours = by_bearing(judged, dataset)
        hours_left = (dataset.times[-1] - dataset.times[judged.rows]) / 3600
        methods = {OURS: (ours, bundle.manifest.alarm_threshold), **baselines(dataset, recipe, judged, seed)}
        for method, (scores, limit) in methods.items():
            found.setdefault(method, {}).update(outcomes(name_of, scores, limit, hours_left))
        for limit in LIMITS:
            by_limit[limit] |= outcomes(name_of, ours, limit, hours_left)
    document = {method: as_json(each, failed) for method, each in found.items()}
    limits = {f"limit {limit:g}": as_json(each, failed) for limit, each in by_limit.items()}
    tables = {
        "Bearings run to failure": [row(method, each) for method, each in document.items()],
        "The recipe with other limits": [row(limit, each) for limit, each in limits.items()],
    }
    ours_alone = document.pop(OURS)
    return Report(tables, {**ours_alone, "baselines": document, "limits": limits})


def test_of(dataset: Dataset) -> Test:
    """Which run to failure a file is of."""
    month = in_words(dataset.times[0])[:7]
    begun = [test for test in TESTS if test.first_month == month]
    if not begun:
        known = ", ".join(f"{test.name} {test.first_month}" for test in TESTS)
        raise DataError(f"{dataset.name} begins in {month}, and none of the tests does ({known}); take the file away")
    return begun[0]


def bearings_of(sensors: tuple[str, ...]) -> dict[int, list[int]]:
    """Bearing -> the columns of its channels: "Bearing 1-A" and "Bearing 1-B" are two of one."""
    found: dict[int, list[int]] = {}
    for column, sensor in enumerate(sensors):
        number = re.search(r"\d+", sensor)
        if number is None:
            raise DataError(f"column {sensor!r} names no bearing; wanted names such as 'Bearing 1' or 'Bearing 1-A'")
        found.setdefault(int(number[0]), []).append(column)
    return found


def by_bearing(scored: ScoredRows, dataset: Dataset) -> dict[int, Scores]:
    """(B,) each bearing's part of the score: that of its louder channel."""
    return {
        bearing: scored.attribution[:, columns].max(axis=1).astype(np.float64)
        for bearing, columns in bearings_of(dataset.sensors).items()
    }


def outcome(alarm: Mask, hours_left: Scores) -> Outcome:
    """alarm, hours_left: (B,) in the order of time."""
    raised = stretches(alarm)
    lasting = raised[-1] if raised and raised[-1][1] == len(alarm) else None
    before = [one for one in raised if one != lasting and hours_left[one[0]] >= DAY_HOURS]
    return Outcome(None if lasting is None else float(hours_left[lasting[0]]), len(before))


def outcomes(
    name_of: Mapping[int, str], scores: Mapping[int, Scores], limit: float, hours_left: Scores
) -> dict[str, Outcome]:
    return {name: outcome(scores[bearing] > limit, hours_left) for bearing, name in name_of.items()}


def baselines(
    dataset: Dataset, recipe: Recipe, judged: ScoredRows, seed: int
) -> dict[str, tuple[dict[int, Scores], float]]:
    """Method -> scores of the judged rows by bearing, in units of the limit, and the limit."""
    learnt, steps = recipe.split.train_rows or len(dataset), int(recipe.model.options["newest"])
    usual = np.nanmedian(dataset.values[:learnt], axis=0)
    # Every method may know that the machine stands still.
    running = np.nanmedian(dataset.values / usual, axis=1) >= recipe.model.options["running"]
    methods: dict[str, dict[int, Scores]] = {f"its own level x {SIMPLE_RULE:g}": {}, **{name: {} for name in BY_ROW}}
    for bearing, columns in bearings_of(dataset.sensors).items():
        level = (dataset.values[:, columns] / usual[columns]).max(axis=1) / SIMPLE_RULE
        methods[f"its own level x {SIMPLE_RULE:g}"][bearing] = smoothed(level, running, steps)[judged.rows]
        for name in BY_ROW:
            values = dataset.values[:, columns]
            scores = smoothed(BASELINES[name](values[:learnt], values, seed), running, steps)
            methods[name][bearing] = scores[judged.rows] / scores[steps:learnt].max()
    numbers = bearings_of(dataset.sensors)
    methods["always alarm"] = {bearing: np.full(len(judged), np.inf) for bearing in numbers}
    methods["never alarm"] = {bearing: np.full(len(judged), -np.inf) for bearing in numbers}
    return {name: (scores, 1.0) for name, scores in methods.items()}


def smoothed(values: Scores, running: Mask, steps: int) -> Scores:
    """Median of the newest `steps` rows of the running machine, up to each row: (N,) -> (N,)."""
    moving, kept = np.empty(len(values)), values[running]
    behind = np.cumsum(running)
    for row, count in enumerate(behind.tolist()):
        moving[row] = np.median(kept[max(count - steps, 0) : count]) if count else -np.inf
    return moving


def as_json(found: Mapping[str, Outcome], failed: list[str]) -> dict[str, Any]:
    return {
        "failed": {name: found[name].ahead for name in failed},
        "false_alarms": {
            # An alarm that a sound bearing carries to the end is as false, if it began more than a day before.
            name: each.before + int(each.ahead is not None and each.ahead >= DAY_HOURS)
            for name, each in found.items()
            if name not in failed
        },
        "alarms_of_failed_that_did_not_last": {name: found[name].before for name in failed},
    }


def row(method: str, document: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {"method": method}
    for name, ahead in document["failed"].items():
        cells[f"{name}, h ahead"] = "none" if ahead is None else f"{ahead:.0f}"
    cells["false alarms"] = sum(document["false_alarms"].values())
    cells["sound bearings"] = len(document["false_alarms"])
    cells["alarms of failed ones that did not last"] = sum(document["alarms_of_failed_that_did_not_last"].values())
    return cells
