"""The recipe, fitted anew day by day, against the champion as it stands, over the newest days: who saves more?

What is judged is the way of renewing, not one bundle: each fit sees only what was there before the days that it is
judged on, as `trainer backtest` does. The champion is judged on none of the days that it learnt from.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from stream_detector.bundle.bundle import Bundle
from stream_detector.detection.drift import DriftMeter, ScoreReference
from stream_detector.messages import to_iso
from trainer.backtesting.alarm_value import AlarmValue, paired_difference, value_alarms
from trainer.backtesting.backtest import run_backtest
from trainer.backtesting.folds import Fold
from trainer.backtesting.methods import method_of
from trainer.data.dataset import Dataset
from trainer.evaluation.score import bundle_recipe
from trainer.evaluation.scored import ScoredRows, score_dataset
from trainer.recipe import Recipe


@dataclass(frozen=True)
class Verdict:
    """What the newest days say. Savings are parts of what the events would have cost without any alarm.

    Attributes:
        begin, end: epoch seconds of the judged time.
        days, events: in it.
        champion, candidate: saving of each; None without an event, the champion's also where there is none.
        difference: candidate less champion, with its paired 90 % interval over days `low` to `high`.
    """

    begin: float
    end: float
    days: int
    events: int
    candidate: float | None
    champion: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for records and messages."""
        return {
            "from": to_iso(self.begin),
            "until": to_iso(self.end),
            "days": self.days,
            "events": self.events,
            "candidate_saving": self.candidate,
            "champion_saving": self.champion,
            "difference": self.difference,
            "difference_low": self.low,
            "difference_high": self.high,
        }


class Incumbent:
    """The champion beside the data of a round. It scores them once, and not at all where nothing is asked."""

    def __init__(self, bundle: Bundle, dataset: Dataset) -> None:
        self.bundle = bundle
        self._dataset = dataset

    @cached_property
    def own(self) -> Dataset:
        """The data with the champion's sensors."""
        return with_sensors(self._dataset, self.bundle.manifest.sensors)

    @cached_property
    def scored(self) -> ScoredRows:
        """What it says of all rows."""
        return score_dataset(self.bundle, self.own)

    def value(self, folds: list[Fold]) -> AlarmValue:
        """What its alarms are worth in the folds' time."""
        recipe = bundle_recipe(self.bundle.manifest)
        return value_alarms(recipe, self.own, folds, _within(self.own, self.scored, folds))

    def drift_level(self, begin: float) -> float | None:
        """The stability index of its scores from `begin` on; None where it cannot be told."""
        reference = ScoreReference.of_metrics(self.bundle.manifest.metrics)
        if reference is None:
            return None
        meter = DriftMeter(reference[0])
        levels = self.scored.score if reference[1] == "score" else self.scored.level
        for level in levels[self.own.times[self.scored.rows] >= begin].tolist():
            meter.add(level)
        return meter.level


def judge(recipe: Recipe, champion: Incumbent | None, dataset: Dataset, folds: list[Fold], jobs: int = 1) -> Verdict:
    """Refit the recipe at the beginning of each fold, and compare its alarms with the champion's on the same days.

    Raises:
        DataError: there is no event in the data, or too little before a fold to fit on.
    """
    (candidate,) = run_backtest([method_of(recipe)], dataset, folds, jobs, check=False)
    found = Verdict(
        begin=folds[0].begin,
        end=folds[-1].end,
        days=len(candidate.days),
        events=len(candidate.event_steps),
        candidate=candidate.saving,
    )
    if champion is None:
        return found
    incumbent = champion.value(folds)
    pair = paired_difference(incumbent, candidate)
    return replace(
        found, champion=incumbent.saving, difference=pair["saving_difference"], low=pair["low"], high=pair["high"]
    )


def learnt_until(bundle: Bundle) -> float | None:
    """Event time (epoch seconds) up to which data shaped a bundle, that which chose its threshold included."""
    training, split = bundle.manifest.training, bundle_recipe(bundle.manifest).split
    if training.from_time is None or training.until_time is None:
        return None
    if split.by == "random" or split.train_rows is not None:
        return training.until_time
    # The rows that chose the threshold follow those that the model learnt from.
    return (
        training.from_time + (training.until_time - training.from_time) * (split.train + split.validation) / split.train
    )


def with_sensors(dataset: Dataset, sensors: tuple[str, ...]) -> Dataset:
    """The dataset with these sensors in this order; one that it lacks is missing in every row, as for a worker."""
    columns = {sensor: column for column, sensor in enumerate(dataset.sensors)}
    values = np.full((len(dataset), len(sensors)), np.nan)
    for place, sensor in enumerate(sensors):
        if sensor in columns:
            values[:, place] = dataset.values[:, columns[sensor]]
    return replace(dataset, sensors=sensors, values=values)


def _within(dataset: Dataset, scored: ScoredRows, folds: list[Fold]) -> ScoredRows:
    times = dataset.times[scored.rows]
    return scored.take((times >= folds[0].begin) & (times < folds[-1].end))
