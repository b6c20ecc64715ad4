"""A real process unit (BibMon, Petrobras): learn to New Year, choose the limit on its first day, judge the two after.

108 tags every five minutes, some cells of which hold the historian's words. The fault of tag100 lasts from 6 to 9 on
the second of January. Every method's limit is its highest score on the choosing day, which has no fault.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Errors, Mask, Report, Scores, fit, percent, spread, with_changes
from stream_detector.errors import DataError
from trainer.data.dataset import Dataset, read_dataset
from trainer.evaluation.scored import score_dataset
from trainer.recipe import Recipe

FILE = "real_process_data.csv"
TARGET = "tag100"
OURS = "**process**: five tags, a quarter of an hour"
STEPS = (1, 2, 3, 4, 6, 12)
HOUR_ROWS = 12
NEIGHBOURS_SHOWN = 8
PUBLISHED = {"method": "published: BibMon", "detection rate": 0.750, "false alarms": "0.7 %"}


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


CHOSEN_FROM, JUDGED_FROM, JUDGED_UNTIL = moment("2018-01-01"), moment("2018-01-02"), moment("2018-01-04")
FAULT_FROM, FAULT_UNTIL = moment("2018-01-02T06:00"), moment("2018-01-02T09:00")


@dataclass(frozen=True)
class Rows:
    """Masks (N,) over the rows of the file."""

    learnt: Mask
    chosen_on: Mask
    judged: Mask
    fault: Mask


@dataclass(frozen=True)
class Verdict:
    """minutes_to_alarm: from the first row of the fault to the first one in alarm; None without one."""

    detection_rate: float
    false_alarm_rate: float
    false_alarm_rows: int
    minutes_to_alarm: float | None


def run(folder: Path, seed: int, scratch: Path) -> Report:
    recipe = with_changes("process", train={"seed": seed})
    path = folder / FILE
    everything = read_dataset(path, recipe.data.model_copy(update={"sensors": ()}))
    dataset = read_dataset(path, recipe.data)
    rows = rows_of(dataset.times)
    recipe = with_changes(
        recipe, split={"train": float(rows.learnt.mean()), "validation": float(rows.chosen_on.mean())}
    )
    verdicts = {OURS: judge(*scored(recipe, dataset, scratch), rows)}
    for name, (scores, limit) in baselines(dataset, everything, rows, seed).items():
        verdicts[name] = judge(scores, limit, rows)
    by_steps = {
        steps: judge(*scored(with_changes(recipe, window={"steps": steps}), dataset, scratch), rows) for steps in STEPS
    }
    ours = verdicts.pop(OURS)
    words = everything.report.missing_words
    neighbours = moving_with(TARGET, everything, rows.learnt)
    title = f"Process unit, {int(rows.judged.sum())} rows judged, {int(rows.fault.sum())} of them in the fault"
    return Report(
        {
            title: [row(name, each) for name, each in {OURS: ours, **verdicts}.items()] + [PUBLISHED],
            "The recipe averaged over other times": [
                row(f"{5 * steps} min", verdict) for steps, verdict in by_steps.items()
            ],
            f"Who moves with {TARGET}: rank correlation of hourly changes in the rows learnt from": [
                {"tag": tag, "correlation": value} for tag, value in neighbours.items()
            ],
        },
        {
            **asdict(ours),
            "fault_rows": int(rows.fault.sum()),
            "normal_rows": int((rows.judged & ~rows.fault).sum()),
            "missing_words": words,
            "missing_word_cells": sum(sum(each.values()) for each in words.values()),
            "baselines": {name: asdict(each) for name, each in verdicts.items()},
            "minutes_averaged": {str(5 * steps): asdict(verdict) for steps, verdict in by_steps.items()},
            "moving_with_target": neighbours,
        },
    )


def rows_of(times: NDArray[np.float64]) -> Rows:
    judged_rows = (times >= JUDGED_FROM) & (times <= JUDGED_UNTIL)
    fault = (times >= FAULT_FROM) & (times <= FAULT_UNTIL)
    learnt, chosen_on = times < CHOSEN_FROM, (times >= CHOSEN_FROM) & (times < JUDGED_FROM)
    if not (learnt.any() and chosen_on.any() and fault.any()):
        raise DataError(f"{FILE} does not hold the days before and after 2018-01-01; give the file as it was published")
    return Rows(learnt, chosen_on, judged_rows, fault)


def scored(recipe: Recipe, dataset: Dataset, scratch: Path) -> tuple[Scores, float]:
    """(N,) scores of every row, and the limit that the recipe chose."""
    bundle = fit(recipe, dataset, scratch).bundle
    found = score_dataset(bundle, dataset)
    return spread(found.rows, found.score, len(dataset)), bundle.manifest.alarm_threshold


def judge(scores: Scores, limit: float, rows: Rows) -> Verdict:
    alarm = scores > limit
    errors = Errors.of(alarm[rows.judged], rows.fault[rows.judged])
    hits = np.flatnonzero(alarm[rows.fault])
    return Verdict(
        detection_rate=1 - (errors.missed_rate or 0.0),
        false_alarm_rate=errors.false_alarm_rate or 0.0,
        false_alarm_rows=errors.fp,
        minutes_to_alarm=float(hits[0]) * 5 if len(hits) else None,
    )


def baselines(dataset: Dataset, everything: Dataset, rows: Rows, seed: int) -> dict[str, tuple[Scores, float]]:
    """Method -> scores of all rows and its limit. Tags that stand still in the rows learnt from are left out, for plain
    methods divide by their spread."""
    target = dataset.values[:, dataset.sensors.index(TARGET)]
    usual, size = np.nanmedian(target[rows.learnt]), np.nanstd(target[rows.learnt])
    found = {f"{TARGET} alone, in standard deviations": np.nan_to_num(np.abs(target - usual) / size)}
    moving = np.nanstd(everything.values[rows.learnt], axis=0) > 0
    for name in ("RMS", "moving z-score", "isolation forest", "PCA T2+Q"):
        for which, values in (("five tags", dataset.values), ("all tags", everything.values[:, moving])):
            values = (values - np.nanmean(values[rows.learnt], axis=0)) / np.nanstd(values[rows.learnt], axis=0)
            found[f"{name}, {which}"] = BASELINES[name](values[rows.learnt], values, seed)
    limited = {name: (scores, float(scores[rows.chosen_on].max())) for name, scores in found.items()}
    for name in ("always", "never"):
        limited[f"{name} alarm"] = (BASELINES[name](dataset.values, dataset.values, seed), 0.0)
    return limited


def moving_with(target: str, dataset: Dataset, learnt: Mask) -> Mapping[str, float]:
    """The tags whose hourly changes go with those of the target, with the rank correlation; the strongest few."""
    from scipy.stats import spearmanr

    changes = dataset.values[learnt][HOUR_ROWS:] - dataset.values[learnt][:-HOUR_ROWS]
    reference = changes[:, dataset.sensors.index(target)]
    found: dict[str, float] = {}
    for column, tag in enumerate(dataset.sensors):
        known = np.isfinite(changes[:, column]) & np.isfinite(reference)
        if tag != target and np.ptp(changes[known, column]) > 0:
            found[tag] = float(spearmanr(changes[known, column], reference[known]).statistic)
    strongest = sorted(found, key=lambda tag: -abs(found[tag]))[:NEIGHBOURS_SHOWN]
    return {tag: found[tag] for tag in strongest}


def row(method: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "method": method,
        "detection rate": verdict.detection_rate,
        "false alarms": percent(verdict.false_alarm_rate),
        "rows of false alarms": verdict.false_alarm_rows,
        "first alarm, min": verdict.minutes_to_alarm,
    }
