"""Prices a method's alarms over the judged days: event cost with holding, row cost, errors of both kinds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.block_bootstrap import Interval, holding_interval
from stream_detector.detection.episodes import episodes
from stream_detector.detection.event_cost import (
    EventCost,
    event_cost,
    warning_minutes,
    while_running,
    with_least_warning,
)
from trainer.backtesting.folds import SECONDS_PER_DAY, Fold
from trainer.data.dataset import Dataset
from trainer.data.examples import not_running, row_positives, row_steps, run_numbers
from trainer.evaluation.evaluate import area_under_roc, average_precision, total_cost
from trainer.evaluation.score import iso_times
from trainer.evaluation.scored import ScoredRows
from trainer.recipe import Recipe

REPLICATES = 4_000

WARNINGS = (1, 2, 3)
"""Least warnings, in steps, that the saving is told for."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class AlarmValue:
    """What the alarms of one method were worth.

    Attributes:
        positive, steps, judged_day: (B,) of the scored rows; days count from the epoch.
        alarms: (N, 2) steps raised and cleared.
        unscorable: events without a scored row in their lead window.
        not_running: judged rows in which the machine does not run: they are not scored, and cost nothing.
        events_not_running: events before which it did not run, so that nothing could foresee them: they do not count.
        days: (D,) the judged days; the arrays `..._by_day` are (D,).
    """

    recipe: Recipe
    scored: ScoredRows
    positive: Bools
    steps: Ints
    event_rows: Ints
    event_steps: Ints
    alarms: Ints
    priced: EventCost
    unscorable: int
    not_running: int
    events_not_running: int
    row_cost: float
    row_never_cost: float
    days: Ints
    judged_day: Ints
    events_by_day: Ints
    caught_by_day: Ints
    alarms_by_day: Ints
    cost_by_day: Floats
    never_by_day: Floats
    interval: Interval

    @property
    def saving(self) -> float | None:
        """1 - cost / cost of never alarming; None without an event."""
        never = self.priced.never_cost
        return None if never <= 0 else 1 - self.priced.cost / never

    @property
    def always_by_day(self) -> Floats:
        """(D,) what alarms cost that are up all the time."""
        rows = np.bincount(np.searchsorted(self.days, self.judged_day), minlength=len(self.days))
        episode = self.recipe.episode
        always: Floats = self.recipe.costs.fp * np.ceil(rows / (episode.max_steps + episode.rest_steps))
        return always

    @property
    def always_cost(self) -> float:
        """What alarming all the time would cost: only events without a scored row before them are missed."""
        return float(self.always_by_day.sum()) + self.recipe.costs.fn * self.unscorable

    @property
    def saving_by_half(self) -> tuple[float | None, float | None]:
        """Saving on the first half of the judged days and on the rest: does it hold up?"""
        middle = (len(self.days) + 1) // 2
        parts = []
        for part in (slice(0, middle), slice(middle, None)):
            never = float(self.never_by_day[part].sum())
            parts.append(1 - float(self.cost_by_day[part].sum()) / never if never > 0 else None)
        return parts[0], parts[1]

    @property
    def silent_days(self) -> int:
        """Judged days on which nothing was raised, because no threshold was shown to pay before them."""
        # A row that a rule suppresses has no threshold either, but never a whole day.
        paying = self.judged_day[np.isfinite(self.scored.threshold)]
        return len(np.setdiff1d(self.judged_day, paying))

    def with_least_warning(self, steps: int) -> EventCost:
        """The price where a warning of fewer than so many steps is none."""
        return with_least_warning(self.priced, steps, self.recipe.costs)

    def by_least_warning(self) -> list[dict[str, Any]]:
        """One record for each of `WARNINGS`; `minutes`: how soon the event may come, least and most."""
        never = self.priced.never_cost
        found = []
        for steps in WARNINGS:
            priced = self.with_least_warning(steps)
            found.append(
                {
                    "steps": steps,
                    "minutes": list(warning_minutes(steps, self.recipe.grid.step_seconds)),
                    "caught": int(priced.match.caught.sum()),
                    "saving": None if never <= 0 else 1 - priced.cost / never,
                }
            )
        return found

    @property
    def useful_alarms(self) -> int:
        return int(self.priced.match.useful.sum())

    @property
    def false_alarms_per_day(self) -> float:
        return (len(self.alarms) - self.useful_alarms) / max(len(self.days), 1)

    def as_json(self) -> dict[str, Any]:
        """Savings are parts of the cost of never alarming; `..._low` and `..._high` are a 90 % interval over days."""
        both = bool(self.positive.any()) and not bool(self.positive.all())
        match, step_minutes = self.priced.match, self.recipe.grid.step_seconds / 60
        saving_by_rows = None if self.row_never_cost <= 0 else 1 - self.row_cost / self.row_never_cost
        return {
            "recipe": self.recipe.name,
            "events": len(self.event_steps),
            "scored_rows": len(self.scored.rows),
            "never_cost": self.priced.never_cost,
            "always_cost": self.always_cost,
            "cost": self.priced.cost,
            "saving": self.saving,
            "saving_low": self.interval.low,
            "saving_high": self.interval.high,
            "saving_by_half": list(self.saving_by_half),
            "auc": area_under_roc(self.scored.level, self.positive) if both else None,
            "average_precision": average_precision(self.scored.level, self.positive) if both else None,
            "caught": int(match.caught.sum()),
            "alarms": len(self.alarms),
            "precision": self.useful_alarms / len(self.alarms) if len(self.alarms) else None,
            "false_alarms_per_day": self.false_alarms_per_day,
            "lead_minutes": (match.lead_steps[match.caught] * step_minutes).tolist(),
            "by_least_warning": self.by_least_warning(),
            "events_without_scored_rows": self.unscorable,
            "rows_not_running": self.not_running,
            "events_not_running": self.events_not_running,
            "days_without_paying_threshold": self.silent_days,
            "row_cost": self.row_cost,
            "row_never_cost": self.row_never_cost,
            "row_saving": saving_by_rows,
            "positive_rows": int(self.positive.sum()),
            "expected_positive_rows": float(self.scored.level.sum()) if self.scored.probability is not None else None,
            "seed": self.recipe.train.seed,
            "per_day": self.per_day(),
        }

    def per_day(self) -> list[dict[str, Any]]:
        """One record a judged day."""
        dates = [moment[:10] for moment in iso_times(self.days.astype(np.float64) * SECONDS_PER_DAY)]
        return [
            {
                "day": dates[i],
                "events": int(self.events_by_day[i]),
                "caught": int(self.caught_by_day[i]),
                "alarms": int(self.alarms_by_day[i]),
                "cost": float(self.cost_by_day[i]),
                "never_cost": float(self.never_by_day[i]),
            }
            for i in range(len(self.days))
        ]


def value_alarms(recipe: Recipe, dataset: Dataset, folds: list[Fold], scored: ScoredRows) -> AlarmValue:
    """Price what the method said about the rows of the folds."""
    if len(dataset.assets) > 1:  # folds hold rows of all of them; alarms are those of one
        scored = scored.take(np.argsort(scored.rows, kind="stable"))
    steps = row_steps(dataset, recipe.grid)
    within = (dataset.times >= folds[0].begin) & (dataset.times < folds[-1].end)
    own = steps[scored.rows]
    above = scored.above
    idle = not_running(dataset, recipe.grid, recipe.operating_rule(dataset.sensors))
    run = run_numbers(dataset, steps, recipe.grid.max_gap_steps, idle)[scored.rows]
    happened = np.flatnonzero(dataset.events & within)
    event_rows = happened[while_running(steps[happened], steps[idle], recipe.lead)]
    event_steps = steps[event_rows]
    alarms = episodes(own, above, run, recipe.episode)
    priced = event_cost(alarms, event_steps, recipe.lead, recipe.costs)

    day = np.floor(dataset.times / SECONDS_PER_DAY).astype(np.int64)
    days = np.unique(day[within])
    row_of_step = dict(zip(own.tolist(), scored.rows.tolist(), strict=True))
    alarm_day = np.array([day[row_of_step[raised]] for raised in alarms[:, 0].tolist()], dtype=np.int64)
    on_day = [np.searchsorted(days, which) for which in (day[event_rows], alarm_day)]
    cost = np.zeros(len(days))
    np.add.at(cost, on_day[0], priced.event_costs)
    np.add.at(cost, on_day[1], priced.alarm_costs)
    events_by_day = np.bincount(on_day[0], minlength=len(days))
    never: Floats = recipe.costs.fn * events_by_day.astype(np.float64)
    positive = row_positives(dataset, recipe.grid, recipe.lead)[scored.rows]
    tp, fp = int((above & positive).sum()), int((above & ~positive).sum())
    fn, tn = int((~above & positive).sum()), int((~above & ~positive).sum())
    return AlarmValue(
        recipe=recipe,
        scored=scored,
        positive=positive,
        steps=own,
        event_rows=event_rows,
        event_steps=event_steps,
        alarms=alarms,
        priced=priced,
        not_running=int((idle & within).sum()),
        events_not_running=len(happened) - len(event_rows),
        unscorable=sum(not _has_row(own, step, recipe) for step in event_steps.tolist()),
        row_cost=total_cost(recipe.costs, tn, fp, fn, tp),
        row_never_cost=total_cost(recipe.costs, tn + fp, 0, fn + tp, 0),
        days=days,
        judged_day=day[scored.rows],
        events_by_day=events_by_day,
        caught_by_day=np.bincount(on_day[0], priced.match.caught, len(days)).astype(np.int64),
        alarms_by_day=np.bincount(on_day[1], minlength=len(days)),
        cost_by_day=cost,
        never_by_day=never,
        interval=holding_interval(
            cost,
            never,
            events=len(event_steps),
            caught=int(priced.match.caught.sum()),
            replicates=REPLICATES,
        ),
    )


def paired_difference(first: AlarmValue, second: AlarmValue) -> dict[str, Any]:
    """Difference of the savings of `second` and `first`, over the same draws of days."""
    difference = first.cost_by_day - second.cost_by_day
    caught = int(first.priced.match.caught.sum() + second.priced.match.caught.sum())
    interval = holding_interval(
        first.never_by_day - difference,
        first.never_by_day,
        events=len(first.event_steps),
        caught=caught,
        replicates=REPLICATES,
    )
    total = first.never_by_day.sum()
    return {
        "recipe": second.recipe.name,
        "against": first.recipe.name,
        "saving_difference": float(difference.sum() / total) if total > 0 else None,
        "low": interval.low,
        "high": interval.high,
    }


def _has_row(steps: Ints, event: int, recipe: Recipe) -> bool:
    first = np.searchsorted(steps, event - recipe.lead.until_steps, side="left")
    last = np.searchsorted(steps, event - recipe.lead.from_steps, side="right")
    return bool(last > first)
