"""The backtest on a simulated machine, and its parts on hand-made ones."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.detection.config import EpisodeConfig, HeadConfig, LeadConfig, OperatingConfig
from stream_detector.detection.episodes import episodes
from stream_detector.detection.event_cost import match_events
from stream_detector.detection.head.calibration import RateTracker
from stream_detector.errors import DataError, RecipeError, UsageError
from tests.support.stack.processes import interruptible_children
from tests.support.stack.workers import wait_for
from trainer.__main__ import main
from trainer.backtesting.alarm_value import paired_difference, value_alarms
from trainer.backtesting.backtest import run_backtest
from trainer.backtesting.folds import Fold, plan_folds, retrain_seconds
from trainer.backtesting.methods import FoldScores, HeadMethod, method_of
from trainer.backtesting.stress import PROTOCOLS
from trainer.backtesting.verdict import in_words
from trainer.data.dataset import Dataset
from trainer.data.simulate import Simulation, simulate
from trainer.evaluation.scored import ScoredRows, score_dataset
from trainer.fitting.fit import fit_recipe
from trainer.fitting.head_fit import replay
from trainer.fitting.usable_rows import UsableRows
from trainer.head_options import head_options
from trainer.recipe import Recipe, load_recipe
from trainer.reports.backtest_figures import saving_range
from trainer.reports.backtest_report import backtest_report

STEP = 120.0
DAY = 86_400.0
SENSORS = 4


def file_of(rows: int = 3600, events: tuple[int, ...] = (), seed: int = 0, gaps: tuple[()] = ()) -> Dataset:
    """A file of two-minute rows whose first sensor jumps in the row before every event."""
    rng = np.random.default_rng(seed)
    values = rng.normal(scale=0.1, size=(rows, SENSORS))
    labels = np.zeros(rows, bool)
    for event in events:
        labels[event] = True
        values[event - 1, 0] += 50
    times = (10_000 * 720 + np.arange(rows) + np.searchsorted(gaps, np.arange(rows), side="right") * 5) * STEP
    names = tuple(f"s{i}" for i in range(SENSORS))
    return Dataset("made.csv", "0" * 64, names, times, values, labels, labels_mark_events=True)


@pytest.fixture
def recipe() -> Recipe:
    """The calibrated recipe with a head that is learnt in no time."""
    head = HeadConfig(
        kind="calibrated",
        options={
            "features": {"lags": [1, 3], "volatility_steps": [5]},
            "forests": [{"trees": 5, "keep": 0.5, "bags": 2, "tried_features": 0.5}],
            "first_day": 1,
        },
    )
    loaded = load_recipe("paper-mill-calibrated")
    train = loaded.train.model_copy(update={"epochs": 1, "max_windows": 200})
    return loaded.model_copy(update={"head": head, "train": train})


EVENTS = tuple(range(100, 3600, 150))
LONG: dict[str, Any] = {"rows": 9000, "events": tuple(range(100, 9000, 150))}
"""Enough days for an interval."""


@dataclass(frozen=True)
class ByRule:
    """A method without learning: level 1 where the rule says so."""

    recipe: Recipe
    peeks: bool = False
    lowest: float = 10.0

    def prepare(self, dataset: Dataset) -> Dataset:
        return dataset

    def folds_before(self, dataset: Dataset, folds: list[Fold]) -> list[Any]:
        return []

    def score_fold(self, prepared: Dataset, dataset: Dataset, fold: Fold) -> FoldScores:
        rows = np.flatnonzero((dataset.times >= fold.begin) & (dataset.times < fold.end) & ~dataset.events)
        jump = np.abs(np.diff(dataset.values[:, 0], append=0.0 if self.peeks else np.nan))
        level = jump[rows] if self.peeks else np.abs(dataset.values[rows, 0])
        return FoldScores(rows, level, self.lowest, np.abs(dataset.values[rows]).astype(np.float32))

    def fold_key(self, prepared: Dataset, dataset: Dataset, fold: Fold) -> bytes:
        return repr((dataset.name, fold)).encode()

    def finish(self, prepared: Dataset, folds: list[Fold], levels: list[FoldScores], judged: int) -> ScoredRows:
        kept = levels[-judged:]
        return ScoredRows(
            np.concatenate([k.rows for k in kept]),
            np.concatenate([k.raw_score for k in kept]),
            None,
            np.concatenate([np.full(len(k.rows), k.threshold) for k in kept]),
            np.concatenate([k.attribution for k in kept]),
        )


def test_a_method_that_peeks_one_row_ahead_is_caught(recipe: Recipe) -> None:
    data = file_of(events=EVENTS)
    folds = plan_folds(data, None, "1d")
    assert run_backtest([ByRule(recipe)], data, folds)[0].saving > 0
    with pytest.raises(RecipeError, match="looks ahead"):
        run_backtest([ByRule(recipe, peeks=True)], data, folds)


@pytest.mark.slow
def test_a_head_whose_features_peek_one_row_ahead_is_caught(recipe: Recipe) -> None:
    class Peeking(HeadMethod):
        def prepare(self, dataset: Dataset) -> UsableRows:
            read = super().prepare(dataset)
            rows = read.whole.rows
            peeking = replace(rows, features=np.roll(rows.features, -1, axis=0))
            return replace(read, whole=replace(read.whole, rows=peeking))

    data = file_of(events=EVENTS)
    with pytest.raises(RecipeError, match="looks ahead"):
        run_backtest([Peeking(recipe)], data, plan_folds(data, None, "1d"))


def twice(data: Dataset) -> Dataset:
    """Two assets that do the same at the same time."""
    codes = np.repeat([0, 1], len(data))
    both = data.take(np.tile(np.arange(len(data)), 2))
    return replace(both, parts=codes, assets=("pm-1", "pm-2"), asset_rows=codes)


def test_assets_are_judged_side_by_side_each_by_its_own_events(recipe: Recipe) -> None:
    data = file_of(events=EVENTS)
    alone = run_backtest([ByRule(recipe)], data, plan_folds(data, None, "1d"))[0].as_json()
    folds = plan_folds(twice(data), None, "1d")
    assert folds == plan_folds(data, None, "1d")
    both = run_backtest([ByRule(recipe)], twice(data), folds)[0].as_json()
    for name in ("events", "caught", "alarms", "cost", "never_cost", "scored_rows"):
        assert both[name] == 2 * alone[name], name


def test_a_recipe_without_a_head_learns_from_the_past_of_all_assets(recipe: Recipe) -> None:
    plain = load_recipe("simulated")
    plain = plain.model_copy(update={"train": recipe.train, "grid": recipe.grid, "lead": recipe.lead})
    data = twice(file_of(rows=1440, events=(300, 700, 1100)))
    worth = run_backtest([method_of(plain)], data, plan_folds(data, "720", "1d"))[0]
    assert worth.as_json()["events"] == 2
    assert len(worth.scored) > 1000


def test_a_head_refuses_several_assets(recipe: Recipe) -> None:
    data = twice(file_of(events=EVENTS))
    with pytest.raises(DataError, match=r"holds 2 assets, and the \[head\] of recipe paper-mill-calibrated"):
        run_backtest([HeadMethod(recipe)], data, plan_folds(data, None, "1d"))


def test_every_miss_and_every_alarm_is_priced(recipe: Recipe) -> None:
    """Sensor 0 jumps in the row before each of 24 events, once more for nothing, and one event comes unannounced."""
    data = file_of(events=EVENTS)
    data.values[2000, 0] += 50
    data.values[EVENTS[-1] - 1, 0] = 0
    folds = plan_folds(data, "1200", "1d")
    worth = run_backtest([ByRule(recipe)], data, folds)[0]
    numbers = worth.as_json()
    events = sum(event >= 1200 for event in EVENTS)
    assert (numbers["events"], numbers["caught"], numbers["alarms"]) == (events, events - 1, events)
    assert numbers["cost"] == 100 + 5 * events
    assert numbers["never_cost"] == 100 * events
    rest = recipe.episode.hold_steps + recipe.episode.rest_steps
    at_least = numbers["scored_rows"] / rest * 5
    assert at_least <= numbers["always_cost"] <= at_least + 5 * len(numbers["per_day"])
    assert numbers["saving"] == pytest.approx(1 - numbers["cost"] / numbers["never_cost"])
    assert set(numbers["lead_minutes"]) == {2.0}
    assert (numbers["saving_low"], numbers["saving_high"]) == (None, None), "four days are too few"
    assert [each["caught"] for each in numbers["by_least_warning"]] == [events - 1, 0, 0]
    assert [each["minutes"] for each in numbers["by_least_warning"]] == [[0, 2], [2, 4], [4, 6]]
    assert numbers["by_least_warning"][0]["saving"] == numbers["saving"]
    assert numbers["by_least_warning"][1]["saving"] == pytest.approx(-5 / 100)
    assert sum(day["cost"] for day in numbers["per_day"]) == numbers["cost"]
    assert sum(day["events"] for day in numbers["per_day"]) == events
    assert numbers["false_alarms_per_day"] * len(numbers["per_day"]) == pytest.approx(1)


def test_an_alarm_of_two_steps_is_paid_for_again_after_them() -> None:
    episode = EpisodeConfig(hold_steps=2, max_steps=2)
    steps = np.arange(12)
    above = np.array([0, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0], bool)
    run = np.zeros(12, np.int64)
    assert episodes(steps, above, run, episode).tolist() == [[1, 3], [4, 6], [6, 8], [8, 10]]
    # A run that ends clears the alarm: the first step of the next one may raise its own.
    run[5:] = 1
    assert episodes(steps, above, run, episode).tolist() == [[1, 3], [4, 5], [5, 7], [7, 9]]
    assert episodes(steps[:0], above[:0], run[:0], episode).shape == (0, 2)


def test_a_rest_of_the_leads_length_costs_fewer_alarms_and_leaves_no_event_without_cover() -> None:
    steps, run = np.arange(40), np.zeros(40, np.int64)
    above = steps % 20 < 13
    lead = LeadConfig(from_steps=1, until_steps=2)
    alarms = {
        rest: episodes(steps, above, run, EpisodeConfig(hold_steps=2, max_steps=2, rest_steps=rest))
        for rest in (0, 1, 2)
    }
    assert alarms[1].tolist() == [[at, at + 2] for at in (0, 3, 6, 9, 12, 20, 23, 26, 29, 32)]
    caught = {rest: match_events(found, steps, lead).caught for rest, found in alarms.items()}
    assert len(alarms[1]) < len(alarms[0])
    assert caught[1][above.nonzero()[0] + 1].all(), "every step that an alarm was due before"
    assert not caught[2][above.nonzero()[0] + 1].all()
    # The end of a run ends the rest: the plant has begun anew.
    run[2:] = 1
    resting = EpisodeConfig(hold_steps=2, max_steps=2, rest_steps=1)
    assert episodes(steps[:5], above[:5], run[:5], resting).tolist() == [[0, 2], [2, 4]]


def test_an_event_without_a_scored_row_before_it_is_missed_and_reported(recipe: Recipe) -> None:
    data = file_of(events=EVENTS)
    method = ByRule(recipe)
    folds = plan_folds(data, "1200", "1d")
    found = [method.score_fold(data, data, fold) for fold in folds]
    judged = method.finish(data, folds, found, len(folds))
    event = next(e for e in EVENTS if e > 1300)
    kept = ~np.isin(judged.rows, [event - 1, event - 2])
    worth = value_alarms(recipe, data, folds, judged.take(kept))
    assert worth.unscorable == 1
    assert worth.as_json()["caught"] == sum(e >= 1200 for e in EVENTS) - 1


def test_an_event_before_which_the_machine_did_not_run_does_not_count_and_is_said(recipe: Recipe) -> None:
    data = file_of(events=EVENTS)
    first = next(event for event in EVENTS if event > 1300)
    data.values[first - 40 : first + 10, 1] = -100.0
    rule = recipe.model_copy(update={"operating": OperatingConfig(when="s1 > -50", hold_steps=1)})
    folds = plan_folds(data, "1200", "1d")
    [always], [worth] = (run_backtest([ByRule(each)], data, folds) for each in (recipe, rule))
    assert worth.events_not_running == 1
    assert worth.as_json()["events"] == always.as_json()["events"] - 1
    assert worth.priced.never_cost == always.priced.never_cost - recipe.costs.fn
    assert "1 events before which it did not run do not count." in " ".join(in_words(worth))


def test_words_say_that_no_saving_is_shown_where_the_interval_contains_zero(recipe: Recipe) -> None:
    data = file_of(**LONG)
    sure = run_backtest([ByRule(recipe)], data, plan_folds(data, None, "1d"))[0]
    assert not any("no saving is shown" in line for line in in_words(sure))
    data.values[:, 0] = np.random.default_rng(1).normal(size=len(data)) * 5.5  # alarms by chance
    unsure = run_backtest([ByRule(recipe)], data, plan_folds(data, None, "1d"))[0]
    assert unsure.interval.low < 0
    assert any("no saving is shown" in line or "cost more than they save" in line for line in in_words(unsure))


def test_words_say_how_long_an_alarm_may_last_where_it_is_not_one_length(recipe: Recipe) -> None:
    data = file_of(events=EVENTS)
    folds = plan_folds(data, None, "1d")
    assert not any("as long as" in line for line in in_words(run_backtest([ByRule(recipe)], data, folds)[0]))
    longer = recipe.model_copy(update={"episode": EpisodeConfig(hold_steps=2, max_steps=30)})
    worth = run_backtest([ByRule(longer)], data, folds)[0]
    assert any("up for 2 to 30 steps" in line and "paid for once" in line for line in in_words(worth))
    rows = len(worth.scored.rows)
    assert rows / 30 * 5 <= worth.always_cost <= rows / 30 * 5 + 5 * len(worth.days)


def test_a_paired_difference_with_itself_is_nothing(recipe: Recipe) -> None:
    data = file_of(**LONG)
    folds = plan_folds(data, None, "1d")
    first, again = run_backtest([ByRule(recipe), ByRule(recipe)], data, folds)
    pair = paired_difference(first, again)
    assert (pair["saving_difference"], pair["low"], pair["high"]) == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_a_report_says_which_of_two_recipes_saves_less(recipe: Recipe) -> None:
    data = file_of(**LONG)
    folds = plan_folds(data, None, "1d")
    good, idle = ByRule(recipe), ByRule(recipe.model_copy(update={"name": "idle"}), lowest=1e9)
    worths = run_backtest([good, idle], data, folds)
    page = backtest_report(data, worths, [paired_difference(*worths)], {}, "1d")
    assert f"idle saves {worths[0].saving * 100:.1f} points less than {recipe.name}" in page
    assert "no difference is shown" not in page
    same = backtest_report(data, worths, [paired_difference(worths[0], worths[0])], {}, "1d")
    assert "no difference is shown" in same


@pytest.mark.slow
def test_the_backtest_says_what_a_bundle_fitted_at_the_origin_says(recipe: Recipe, tmp_path: Path) -> None:
    """The fold's probabilities are those of `trainer fit` on the past and the running detector after it."""
    data = file_of(events=EVENTS)
    begin = EVENTS[15] + 1  # the first row of a run
    folds = [Fold(float(data.times[begin]), float(data.times[-1]) + 1)]
    worth = run_backtest([method_of(recipe)], data, folds, check=False)[0]
    past, later = (data.take(rows) for rows in (np.arange(len(data)) < begin, np.arange(len(data)) >= begin))
    fitted = fit_recipe(recipe, past, tmp_path / "bundle")
    scored = score_dataset(fitted.bundle, later)
    np.testing.assert_array_equal(scored.rows + begin, worth.scored.rows)
    np.testing.assert_allclose(scored.probability, worth.scored.level, rtol=1e-9)
    assert worth.saving > 0.5
    loudest = worth.scored.attribution[worth.scored.level > 0.5].sum(axis=0)
    assert np.argmax(loudest) == 0


@pytest.mark.slow
def test_processes_give_what_one_gives(recipe: Recipe) -> None:
    data = file_of(events=EVENTS)
    folds = plan_folds(data, "3000", "1d")
    method = method_of(recipe)
    one, two = (run_backtest([method], data, folds, jobs=jobs, check=False)[0] for jobs in (1, 2))
    np.testing.assert_array_equal(one.scored.level, two.scored.level)


def test_a_fold_that_is_known_is_not_scored_again(recipe: Recipe) -> None:
    scored: list[Fold] = []

    class Counting(ByRule):
        def score_fold(self, prepared: Dataset, dataset: Dataset, fold: Fold) -> FoldScores:
            scored.append(fold)
            return super().score_fold(prepared, dataset, fold)

    data = file_of(events=EVENTS)
    folds = plan_folds(data, None, "1d")
    known: dict[bytes, FoldScores] = {}
    told: list[str] = []
    both = [Counting(recipe), Counting(recipe)]
    first, second = run_backtest(both, data, folds, on_fold=told.append, check=False, known=known)
    (again,) = run_backtest(both[:1], data, folds, on_fold=told.append, check=False, known=known)
    assert sorted(scored, key=lambda fold: fold.begin) == folds
    assert len(told) == 3 * len(folds), "each fold is told, scored or known"
    assert first.as_json() == second.as_json() == again.as_json()


@pytest.mark.slow
def test_a_fold_has_another_key_where_something_else_decides_its_scores(recipe: Recipe) -> None:
    data = file_of(events=EVENTS)
    fold = plan_folds(data, None, "1d")[1]

    def key(file: Dataset, own: Recipe = recipe) -> bytes:
        method = HeadMethod(own)
        return method.fold_key(method.prepare(file), file, fold)

    newest = float(data.times[data.events & (data.times < fold.begin)].max())
    heard = replace(data, told_late_seconds=fold.begin - newest - STEP)
    unheard = replace(data, told_late_seconds=fold.begin - newest + STEP)
    later, earlier = data.values.copy(), data.values.copy()
    later[np.searchsorted(data.times, fold.end) :] = 0
    earlier[10] += 1
    other = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": 2})})
    assert key(data) == key(heard) == key(replace(data, values=later))
    assert len({key(data), key(unheard), key(replace(data, values=earlier)), key(data, other)}) == 4


def test_folds_fall_on_whole_days_whatever_the_start() -> None:
    data = file_of(rows=3000)
    folds = plan_folds(data, None, "1d")
    assert all(fold.begin % DAY == 0 for fold in folds)
    assert folds[0].begin == 10_002 * DAY
    later = plan_folds(data, "1999", "1d")
    assert later[0].begin == data.times[1999]
    assert later[1:] == folds[-len(later) + 1 :]
    assert plan_folds(data, "1997-05-21T06:00", "12h")[0] == Fold(10_002 * DAY + DAY / 4, 10_002 * DAY + DAY / 2)


@pytest.mark.parametrize("start", ["0", "99999", "yesterday", "2300-01-01"])
def test_a_start_outside_the_file_is_a_usage_error(start: str) -> None:
    with pytest.raises(UsageError, match="start"):
        plan_folds(file_of(rows=2000), start, "1d")


@pytest.mark.parametrize(("text", "seconds"), [("1d", DAY), ("12h", DAY / 2), ("2w", 14 * DAY)])
def test_retrain_intervals_are_read(text: str, seconds: float) -> None:
    assert retrain_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "3", "nand"])
def test_other_retrain_intervals_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="12h"):
        retrain_seconds(text)
    with pytest.raises(UsageError, match="--pause"):
        retrain_seconds(text, "--pause")


def test_a_file_without_events_is_refused(recipe: Recipe) -> None:
    data = file_of()
    with pytest.raises(DataError, match="no events"):
        run_backtest([ByRule(recipe)], data, plan_folds(data, None, "1d"))


def test_stress_protocols_change_rates_and_order_and_nothing_else() -> None:
    data = file_of(events=EVENTS)
    start = float(data.times[1800])
    before = int(data.events[data.times < start].sum())
    for name, make in PROTOCOLS.items():
        other = make(data, start, 1, STEP)
        assert (np.diff(other.times) > 0).all(), name
        assert len(np.unique(other.times // DAY)) == len(np.unique(data.times // DAY))
        early, late = int(other.events[other.times < start].sum()), int(other.events[other.times >= start].sum())
        if name == "rate doubled":
            assert (early, late) == (before - before // 2, len(EVENTS) - before)
        elif name == "rate halved":
            assert early == before
            assert late == pytest.approx((len(EVENTS) - before) / 2, abs=1)
        else:
            assert int(other.events.sum()) == len(EVENTS)
            assert set(other.values[:, 1].tolist()) <= set(data.values[:, 1].tolist())
            assert np.array_equal(other.values, data.values) == (name == "told an hour late")


@pytest.mark.parametrize("gap_steps", [1, 4])
def test_a_run_ends_where_days_meet_that_did_not_follow_one_another(gap_steps: int) -> None:
    midnight = 720 * 2
    data = file_of(events=(*EVENTS, midnight - 1))
    for name, seams in (("days reversed", 4), ("change point", 1)):
        other = PROTOCOLS[name](data, 0.0, 1, gap_steps * STEP)
        kept_events = int(name == "days reversed")
        assert len(other) == len(data) - seams * gap_steps + kept_events, "an event in a day's last row stays"
        before = np.flatnonzero(np.diff(other.times // DAY) > 0)
        moved = np.abs(other.values[before + 1] - other.values[before]).max(axis=1) > 0
        gaps = np.diff(other.times)[before] > gap_steps * STEP
        assert int((gaps | other.events[before]).sum()) == seams
        assert moved.all()


def test_an_event_that_never_happened_takes_its_forewarning_along() -> None:
    """Sensor 0 jumps in the row before each event."""
    data = file_of(events=EVENTS)
    for name in ("rate doubled", "rate halved"):
        other = PROTOCOLS[name](data, float(data.times[1800]), 1, STEP)
        jumps = np.flatnonzero(np.abs(other.values[:, 0]) > 25)
        assert other.events[jumps + 1].all()
        assert len(jumps) == int(other.events.sum())
        assert len(data) - len(other) == 31 * (len(EVENTS) - len(jumps))


@pytest.mark.slow
def test_an_event_told_an_hour_late_is_learnt_and_counted_then_and_no_earlier(recipe: Recipe) -> None:
    """The newest event of the past is told within the fold: the fit misses it, the rate hears of it within the day."""
    data = file_of(events=EVENTS)
    folds = plan_folds(data, None, "1d")[:2]
    event = EVENTS[int(np.searchsorted(data.times[list(EVENTS)], folds[-1].begin)) - 1]
    late = replace(data, told_late_seconds=folds[-1].begin - float(data.times[event]) + 3600)
    method = HeadMethod(recipe)
    rows, told = (method.prepare(file).whole.rows for file in (data, late))
    assert told.told_by(folds[-1].begin, recipe.lead).event.sum() < rows.event[rows.times < folds[-1].begin].sum()
    assert (
        told.told_by(folds[-1].begin, recipe.lead).positive[rows.times < folds[-1].begin].sum()
        < rows.positive[rows.times < folds[-1].begin].sum()
    )
    options = head_options(recipe)
    tracker = RateTracker(options.calibration, recipe.lead)
    logits = np.where(rows.event, np.nan, -3.0)
    (in_time, here), (caught_up, there) = (replay(tracker, r, logits, 0.0, range(len(r))) for r in (rows, told))
    np.testing.assert_allclose(caught_up.expected, in_time.expected, rtol=0.01)
    heard = rows.times >= float(data.times[event]) + late.told_late_seconds
    first = int(np.flatnonzero(rows.times > data.times[EVENTS[0]])[3])
    assert there[first] < here[first]
    assert there[heard & ~rows.event][0] > 0


@pytest.mark.slow
def test_the_command_writes_numbers_and_a_report(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = simulate(Simulation(days=4, seed=2))
    columns = ["time", "y", *list(history.columns[2:8])]
    history[columns].to_csv(tmp_path / "plant.csv", index=False)
    toml = "\n".join(
        (
            'title = "small"',
            '[data]\nlabel_column = "y"\nlabels_mark = "events"',
            "[grid]\nstep_seconds = 120",
            "[window]\nsteps = 1",
            "[episode]\nhold_steps = 2\nmax_steps = 2",
            '[threshold]\npolicy = "probability"',
            '[head]\nkind = "calibrated"',
            "[head.options]\nfirst_day = 1\nfeatures = { lags = [1], volatility_steps = [5] }",
        )
    )
    (tmp_path / "small.toml").write_text(toml)
    arguments = ["backtest", "--recipe", str(tmp_path / "small.toml"), "--data", str(tmp_path / "plant.csv")]
    files = ["--json", str(tmp_path / "b.json"), "--report", str(tmp_path / "b.html")]
    assert main([*arguments, *files, "--jobs", "1", "--start", "1900", "--stress"]) == 0
    import orjson

    numbers = orjson.loads((tmp_path / "b.json").read_bytes())
    wanted = (
        "recipe events scored_rows never_cost cost saving saving_low saving_high auc average_precision caught alarms "
        "false_alarms_per_day lead_minutes per_day"
    )
    assert set(wanted.split()) <= set(numbers)
    assert set(numbers["stress"]) == set(PROTOCOLS)
    page = (tmp_path / "b.html").read_text()
    for heading in ("Cost so far", "Saving by day", "Reliability", "Saving against threshold", "Lead time", "Events"):
        assert heading in page
    assert "paid" in page
    assert "cost" in capsys.readouterr().out


def test_a_recipe_without_a_head_takes_part(tmp_path: Path) -> None:
    loaded = load_recipe("paper-mill-dense")
    quick = loaded.model_copy(update={"train": loaded.train.model_copy(update={"epochs": 2})})
    data = file_of(events=EVENTS)
    worth = run_backtest([method_of(quick)], data, plan_folds(data, "3000", "1d"))[0]
    assert worth.scored.level.shape == worth.scored.threshold.shape
    assert worth.scored.probability is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_backtest_that_is_ended_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    history = simulate(Simulation(days=4, seed=2))
    history[["time", "y", *list(history.columns[2:8])]].to_csv(tmp_path / "plant.csv", index=False)
    # So many trees that every worker is in the middle of a fit for minutes.
    (tmp_path / "endless.toml").write_text(
        'title = "endless"\n[data]\nlabel_column = "y"\nlabels_mark = "events"\n[grid]\nstep_seconds = 120\n'
        '[window]\nsteps = 1\n[threshold]\npolicy = "probability"\n[head]\nkind = "calibrated"\n[head.options]\n'
        "first_day = 1\nfeatures = { lags = [1], volatility_steps = [5] }\nforests = [{ trees = 200000 }]\n"
    )
    files = ["--recipe", str(tmp_path / "endless.toml"), "--data", str(tmp_path / "plant.csv")]
    command = [sys.executable, "-m", "trainer", "backtest", *files, "--jobs", "2"]
    with interruptible_children():
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with started as backtest:
        wait_for(lambda: len(busy_workers(backtest.pid)) == 2, 60, "two workers are at work")
        workers = busy_workers(backtest.pid)
        backtest.send_signal(number)
        assert backtest.wait(20) == (130 if number == signal.SIGINT else -number)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20, "the workers are gone")
        assert b"Traceback" not in backtest.stderr.read()


def busy_workers(parent: int) -> list[str]:
    """The children of a process that were spawned to work and have come beyond their imports."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    spawned = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    ticks = {pid: sum(map(int, Path(f"/proc/{pid}/stat").read_text().split()[13:15])) for pid in spawned}
    return [pid for pid in spawned if ticks[pid] > 4 * os.sysconf("SC_CLK_TCK")]


@pytest.mark.parametrize("used", [0.62, -0.8, 0.1])
def test_the_saving_at_the_threshold_used_is_in_view(used: float) -> None:
    low, high = saving_range([-30.0, used, float("nan"), 0.7], used)
    assert low < used < high
    assert high > 0.7
    assert low >= -1.0
