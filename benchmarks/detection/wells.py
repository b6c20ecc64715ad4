"""Oil wells (3W, Vargas et al. 2019): how long before a fault is there does an alarm come, and how often for nothing.

An alarm that is raised in the transient of an event, before the steady state of the fault (or the end of the file),
catches it; its lead is the time from there to the steady state. An alarm on normal rows is false. All methods learn
from normal files alone, and none is judged on a normal file that it learnt from. Baselines get, for each well, the
limit that keeps to a rate of false alarms on the other wells, and the same episodes; the recipe has one limit, its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.judge import Mask, Report, Scores, fit, with_changes
from benchmarks.detection.wells_files import SECONDS, WellFile, read_wells
from benchmarks.detection.wells_published import published_protocol
from benchmarks.detection.wells_rule import own_two_hours
from stream_detector.bundle.bundle import Bundle
from stream_detector.detection.config import EpisodeConfig
from stream_detector.detection.episodes import episodes
from stream_detector.engine.offline import score_frame
from stream_detector.errors import DataError
from stream_detector.messages import from_iso
from trainer.data.dataset import Dataset
from trainer.data.usage import usable
from trainer.recipe import Recipe

FOLDS = 3
"""Of the normal files; a file lies in one of them."""

FALSE_ALARMS_PER_DAY = 0.2
"""What a baseline's limit keeps to on the other wells."""

Alarms = NDArray[np.float64]
"""Epoch seconds at which alarms are raised: when the step that raises one is closed."""


@dataclass(frozen=True)
class Verdict:
    """`leads`: minutes ahead by event, None = missed; `false`: false alarms by file."""

    leads: dict[str, float | None]
    false: dict[str, int]
    normal_hours: float

    @property
    def caught(self) -> list[float]:
        return [lead for lead in self.leads.values() if lead is not None]

    def figures(self) -> dict[str, Any]:
        caught = self.caught
        return {
            "events": len(self.leads),
            "caught": len(caught),
            "lead_minutes_median": round(float(np.median(caught)), 1) if caught else None,
            "false_alarms_per_day": round(24 * sum(self.false.values()) / self.normal_hours, 3),
        }


def run(folder: Path, seed: int, scratch: Path) -> Report:
    files = read_wells(folder, seed)
    recipe = with_changes("oil-well", train={"seed": seed})
    ours = judge(files, recipe_alarms(recipe, files, scratch))
    baselines = {name: judge(files, alarms) for name, alarms in _baselines(files, recipe, seed)}
    published = published_protocol({file.name: file.published_f1 for file in files if file.is_event})
    by_fault = {
        str(fault): [round(lead, 1) if lead is not None else None for lead in leads]
        for fault, leads in _by_fault(files, ours).items()
    }
    document = {
        **ours.figures(),
        "lead_minutes": sorted(round(lead, 1) for lead in ours.caught),
        "normal_hours": round(ours.normal_hours, 1),
        "by_fault": {
            fault: {"events": len(leads), "caught": sum(lead is not None for lead in leads), "lead_minutes": leads}
            for fault, leads in by_fault.items()
        },
        "baselines": {name: verdict.figures() for name, verdict in baselines.items()},
        "published_protocol": published,
    }
    rows = [{"method": "**oil-well**", **ours.figures()}]
    rows += [{"method": name, **verdict.figures()} for name, verdict in baselines.items()]
    title = f"Oil wells, {len(ours.leads)} events, {ours.normal_hours:.0f} normal hours"
    return Report(
        {
            title: rows,
            "By fault": [
                {
                    "fault": fault,
                    "events": len(leads),
                    "minutes ahead": ", ".join("missed" if lead is None else f"{lead:.0f}" for lead in leads),
                }
                for fault, leads in by_fault.items()
            ],
            "False alarms of the recipe": [
                {"file": name, "alarms": count} for name, count in ours.false.items() if count
            ],
            "The published protocol, windows of 180 s": [published],
        },
        document,
    )


def judge(files: list[WellFile], alarms: dict[str, Alarms]) -> Verdict:
    """alarms: those of each file by its name."""
    leads: dict[str, float | None] = {}
    false = {}
    for file in files:
        raised = alarms[file.name]
        state = file.state_at(raised)
        false[file.name] = int((state == "normal").sum())
        if file.is_event:
            warned = raised[state == "transient"]
            leads[file.name] = (file.fault_from - float(warned[0])) / 60 if len(warned) else None
    return Verdict(leads, false, sum(file.normal_seconds for file in files) / 3600)


def recipe_alarms(recipe: Recipe, files: list[WellFile], scratch: Path) -> dict[str, Alarms]:
    """Alarms by the running detector's own code."""
    found = {}
    for normal, judged in folds(files):
        bundle = fitted(recipe, normal, scratch)
        for file in judged:
            found[file.name] = bundle_alarms(bundle, file)
    return found


def fitted(recipe: Recipe, normal: list[WellFile], scratch: Path) -> Bundle:
    """A bundle as `trainer fit` makes it of these files."""
    dataset, _ = usable(recipe, joined(normal))
    return fit(recipe, dataset, scratch).bundle


def bundle_alarms(bundle: Bundle, file: WellFile) -> Alarms:
    grid = bundle.manifest.grid
    columns = [file.sensors.index(sensor) for sensor in bundle.manifest.sensors]
    alarms = score_frame(bundle, file.times, file.values[:, columns]).alarms
    raised = np.array([from_iso(alarm.raised_at) for alarm in alarms if alarm.state == "raised"], np.float64)
    return raised + grid.step_seconds + grid.lateness_seconds


def folds(files: list[WellFile]) -> Iterator[tuple[list[WellFile], list[WellFile]]]:
    """(normal files to learn from, files to judge): normal files by what was learnt from others, events by all of them.

    What is learnt is few numbers of many wells, and a well may have sent normal rows before.
    """
    normal = [file for file in files if not file.is_event]
    if len(normal) < FOLDS:
        raise DataError(f"{len(normal)} normal files of wells, wanted at least {FOLDS}")
    for fold in range(FOLDS):
        yield [file for place, file in enumerate(normal) if place % FOLDS != fold], normal[fold::FOLDS]
    yield normal, [file for file in files if file.is_event]


def joined(files: list[WellFile]) -> Dataset:
    """Files end to end, each a run of its own, as the reader's `file_runs` lays them."""
    times, values, runs = [], [], []
    behind = 0.0
    for number, file in enumerate(sorted(files, key=lambda file: float(file.times[0]))):
        day = 86_400.0
        moved = file.times - np.floor(file.times[0] / day) * day + behind
        behind = np.ceil(moved[-1] / day + 1) * day
        times.append(moved)
        values.append(file.values)
        runs.append(np.full(len(moved), number))
    return Dataset(
        "normal operation",
        "0" * 64,
        files[0].sensors,
        np.concatenate(times),
        np.vstack(values),
        None,
        False,
        np.concatenate(runs),
    )


def _by_fault(files: list[WellFile], verdict: Verdict) -> dict[int, list[float | None]]:
    found: dict[int, list[float | None]] = {}
    for file in files:
        if file.is_event:
            found.setdefault(file.fault, []).append(verdict.leads[file.name])
    return dict(sorted(found.items()))


def _baselines(files: list[WellFile], recipe: Recipe, seed: int) -> Iterator[tuple[str, dict[str, Alarms]]]:
    episode = recipe.episode
    yield "own two hours", _with_limit(files, {file.name: own_two_hours(file.values) for file in files}, episode)
    for name in ("isolation forest", "PCA T2+Q"):
        scores: dict[str, Scores] = {}
        for normal, judged in folds(files):
            learnt = np.vstack([file.values for file in normal])
            moving = [place for place, column in enumerate(learnt.T) if len(np.unique(column[np.isfinite(column)])) > 1]
            rows = BASELINES[name](learnt[:, moving], np.vstack([file.values[:, moving] for file in judged]), seed)
            cuts = np.cumsum([len(file) for file in judged])[:-1]
            scores |= {file.name: part for file, part in zip(judged, np.split(rows, cuts), strict=True)}
        yield name, _with_limit(files, scores, episode)
    yield "always", {file.name: _raised(file, np.ones(len(file), bool), episode) for file in files}
    yield "never", {file.name: np.empty(0) for file in files}


def _with_limit(files: list[WellFile], scores: dict[str, Scores], episode: EpisodeConfig) -> dict[str, Alarms]:
    """Each well with the lowest limit, of 60, from which on the other wells keep to the rate of false alarms."""
    normal = [file for file in files if not file.is_event]
    pooled = np.concatenate([scores[file.name] for file in normal])
    limits = np.quantile(pooled, 1 - np.geomspace(0.2, 1 / len(pooled), 60))
    false = {
        file.name: np.array([len(_raised(file, scores[file.name] > limit, episode)) for limit in limits])
        for file in normal
    }
    found: dict[str, Alarms] = {}
    for well in sorted({file.well for file in files}):
        others = [file for file in normal if file.well != well]
        days = sum(file.normal_seconds for file in others) / 86_400
        over = np.flatnonzero(sum(false[file.name] for file in others) / days > FALSE_ALARMS_PER_DAY)
        limit = limits[min(over[-1] + 1, len(limits) - 1)] if len(over) else limits[0]
        found |= {file.name: _raised(file, scores[file.name] > limit, episode) for file in files if file.well == well}
    return found


def _raised(file: WellFile, above: Mask, episode: EpisodeConfig) -> Alarms:
    """When alarms are raised by rows (N,) above a limit; a minute is known when it is over."""
    minutes = np.floor(file.times / SECONDS).astype(np.int64)
    steps = episodes(minutes, above, np.zeros(len(minutes), np.int64), episode)[:, 0]
    return np.asarray((steps + 1) * SECONDS, np.float64)
