"""The guard of the cost-optimal policy: alarms where a threshold is shown to pay, none where it is luck."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from stream_detector.bundle.manifest import ThresholdRecord
from stream_detector.detection.config import CostConfig, EpisodeConfig, LeadConfig
from stream_detector.detection.grid.steps import Steps
from stream_detector.engine.alarm_messages import AlarmMessages
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.offline import score_frame
from stream_detector.messages import Score, to_bytes
from tests.support.bundles import SENSORS, small_manifest, write_small_bundle
from trainer.data.dataset import Dataset
from trainer.data.examples import Examples
from trainer.evaluation.evaluate import evaluate_rows, in_words
from trainer.evaluation.scored import score_dataset
from trainer.fitting.guard import STRETCHES, guarded, price_events, price_rows, stretches
from trainer.fitting.thresholds import choose_threshold
from trainer.recipe import Recipe, parse_recipe

STEP_SECONDS = 120.0
DAY_OF_STEPS = 720
COSTS = CostConfig()
LEAD = LeadConfig()
SILENT = ThresholdRecord(value=1.0, policy="cost-optimal", how="cheapest; it saves 1 %", pays=False)


def recipe(labels_mark: str = "events") -> Recipe:
    return parse_recipe(
        f'title = "t"\n[data]\nlabels_mark = "{labels_mark}"\n[grid]\nstep_seconds = 120\n[window]\nsteps = 1\n',
        "small",
    )


def plant(days: int, breaks_a_day: int, seed: int) -> Dataset:
    """A plant that runs on; every so often the sheet breaks."""
    generator = np.random.default_rng(seed)
    rows = days * DAY_OF_STEPS
    events = np.zeros(rows, dtype=bool)
    events[np.sort(generator.choice(np.arange(10, rows), days * breaks_a_day, replace=False))] = True
    times = np.arange(rows) * STEP_SECONDS
    return Dataset("plant", "0" * 64, ("x",), times, generator.normal(size=(rows, 1)), events, True)


def examples(dataset: Dataset) -> Examples:
    assert dataset.labels is not None
    rows = np.flatnonzero(~dataset.labels)
    ahead = np.roll(dataset.labels, -1) | np.roll(dataset.labels, -2)
    return Examples(np.zeros((len(rows), 1, 1)), rows, ahead[rows], ~ahead[rows])


def chosen(scores: NDArray[np.float64], cut: Examples, dataset: Dataset, own: Recipe) -> ThresholdRecord:
    found = choose_threshold(own.threshold, own.costs, scores, cut.positive, STEP_SECONDS)
    return guarded(found, own, scores, cut, dataset)


@pytest.mark.parametrize("seed", range(8))
def test_scores_that_know_nothing_raise_nothing(seed: int) -> None:
    dataset = plant(days=5, breaks_a_day=4, seed=seed)
    cut = examples(dataset)
    found = chosen(np.exp(np.random.default_rng(100 + seed).normal(size=len(cut))), cut, dataset, recipe())
    assert not found.pays
    assert found.limit == np.inf
    assert np.isfinite(found.value)


@pytest.mark.parametrize("days", [2, 5, 12])
def test_scores_that_rise_before_most_breaks_are_shown_to_pay(days: int) -> None:
    dataset = plant(days, breaks_a_day=4, seed=days)
    cut = examples(dataset)
    generator = np.random.default_rng(days)
    scores = generator.normal(size=len(cut))
    assert cut.positive is not None
    found = chosen(scores + 6 * (cut.positive & (generator.random(len(cut)) < 0.8)), cut, dataset, recipe())
    assert found.pays
    assert found.limit == found.value
    assert "on stretches that did not choose it" in found.how


def test_one_break_that_was_seen_coming_shows_nothing() -> None:
    dataset = plant(days=5, breaks_a_day=1, seed=3)
    assert dataset.labels is not None
    first = np.flatnonzero(dataset.labels)[0]
    dataset = replace(dataset, labels=np.arange(len(dataset)) == first)
    cut = examples(dataset)
    assert cut.positive is not None
    found = chosen(1.0 * cut.positive, cut, dataset, recipe())
    assert not found.pays
    assert "fewer than 3 events show nothing" in found.how


def test_events_of_other_parts_of_several_assets_are_not_counted() -> None:
    dataset = plant(days=4, breaks_a_day=20, seed=3)
    cut = examples(dataset)
    newest = cut.take(cut.rows >= 2 * DAY_OF_STEPS)
    twice = Dataset(
        "plants", "0" * 64, ("x",), np.tile(dataset.times, 2), np.tile(dataset.values, (2, 1)),
        np.tile(dataset.events, 2), True, assets=("a", "b"), asset_rows=np.repeat([0, 1], len(dataset)),
    )  # fmt: skip
    assert newest.positive is not None
    rows, positive = np.concatenate([newest.rows, newest.rows + len(dataset)]), np.tile(newest.positive, 2)
    of_both = Examples(np.zeros((len(rows), 1, 1)), rows, positive, ~positive)
    alone = chosen(1.0 * newest.positive, newest, dataset, recipe())
    both = chosen(1.0 * positive, of_both, twice, recipe())
    saved_alone, saved_both = (found.how.partition("it saves ")[2].split(" ")[0] for found in (alone, both))
    assert saved_both == saved_alone != ""


def test_labels_that_mark_states_are_priced_by_rows() -> None:
    generator = np.random.default_rng(0)
    states = (np.arange(5 * DAY_OF_STEPS) // 60) % 6 == 0
    dataset = replace(plant(days=5, breaks_a_day=1, seed=0), labels=states, labels_mark_events=False)
    cut = Examples(np.zeros((len(states), 1, 1)), np.arange(len(states)), states, ~states)
    assert chosen(generator.normal(size=len(states)) + 3 * states, cut, dataset, recipe("states")).pays


def test_a_part_of_few_days_is_cut_into_eighths_and_a_long_one_into_days() -> None:
    hours = np.arange(0, 3 * 86_400, 3600.0)
    assert np.unique(stretches(hours)).tolist() == list(range(STRETCHES))
    assert (np.diff(stretches(hours)) >= 0).all()
    days = np.arange(0, 12 * 86_400, 3600.0)
    assert stretches(days).tolist() == np.repeat(np.arange(12), 24).tolist()


def test_stretches_cost_together_what_the_backtest_says_of_all() -> None:
    generator = np.random.default_rng(5)
    steps = np.flatnonzero(generator.random(400) < 0.9)
    events = np.sort(generator.choice(np.arange(5, 395), 9, replace=False))
    above = generator.random(len(steps)) < 0.1
    runs = np.zeros(len(steps), dtype=np.int64)
    stretch = stretches(steps * STEP_SECONDS)
    prices = price_events(steps, runs, stretch, events, LEAD, EpisodeConfig(), COSTS)(above)
    assert prices.never.sum() == 9 * COSTS.fn
    silent = price_events(steps, runs, stretch, events, LEAD, EpisodeConfig(), COSTS)(np.zeros(len(steps), bool))
    assert (silent.cost == silent.never).all()
    rows = price_rows(above, stretch, COSTS)(above)
    assert rows.cost.sum() == COSTS.tp * above.sum()


def test_a_bundle_for_which_no_threshold_pays_raises_nothing_and_says_so(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "bundle", threshold=SILENT)
    assert not bundle.manifest.raises_alarms
    assert bundle.manifest.threshold_in_words.startswith("none, for no threshold pays: ")
    values = np.random.default_rng(1).normal(size=(60, len(SENSORS)))
    times = np.arange(60) * bundle.manifest.grid.step_seconds
    found = score_frame(bundle, times, values, np.array([times[40]]))
    assert len(found.steps.score)
    assert not found.steps.above.any()
    assert not found.alarms
    score = AlarmMessages(DetectorSpec.of(bundle), Steps(bundle.manifest.grid)).score("pm-1", 7, found.steps, 0)
    assert Score.model_validate_json(to_bytes(score)).threshold is None
    # The same bundle with a threshold that pays does raise some.
    loud = write_small_bundle(tmp_path / "loud", threshold=SILENT.model_copy(update={"pays": True, "value": 0.0}))
    assert score_frame(loud, times, values, np.array([times[40]])).alarms


def test_an_infinite_threshold_is_null_in_json_and_in_words_none(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "bundle", threshold=SILENT, recipe_source=recipe().model_dump(mode="json"))
    times = np.arange(60) * bundle.manifest.grid.step_seconds
    labels = np.arange(60) == 40
    values = np.random.default_rng(1).normal(size=(60, len(SENSORS)))
    scored = score_dataset(bundle, Dataset("file", "0" * 64, SENSORS, times, values, labels, True))
    evaluation = evaluate_rows(scored, bundle.manifest)
    assert evaluation.saving == 0
    assert orjson.loads(orjson.dumps(evaluation.as_json()))["threshold"] is None
    assert any("No threshold was shown to pay, so it raises nothing" in line for line in in_words(evaluation))


def test_a_bundle_written_before_the_guard_alarms_as_ever() -> None:
    manifest = small_manifest(threshold=ThresholdRecord(value=1.0, policy="cost-optimal", how="cheapest"))
    content = manifest.model_dump(mode="json")
    del content["threshold"]["pays"]
    assert type(manifest).model_validate(content).alarm_threshold == 1.0
