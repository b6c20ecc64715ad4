"""Rounds of renewal on a simulated plant: what they decide, and that none is done twice wherever it is killed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.bundle import journal
from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.errors import BrokerError, BundleError, DataError
from stream_detector.messages import RenewalDecision, from_iso
from tests.support.bundles import RECIPE, write_small_bundle
from tests.support.properties import fast_first
from tests.trainer.fitting.test_fleet import FLEET
from tests.trainer.fitting.test_fleet import plant as fleet_plant
from tests.trainer.fitting.test_fleet import recipe as fleet_recipe
from trainer.data.dataset import Dataset, read_dataset
from trainer.data.simulate import Simulation, simulate, write
from trainer.evaluation.scored import ScoredRows
from trainer.recipe import Recipe, parse_recipe
from trainer.renewal import judging
from trainer.renewal import round as renewal_round
from trainer.renewal.judging import Verdict
from trainer.renewal.policy import Rules
from trainer.renewal.round import Plan, Renewal

DAY = 86_400.0
QUICK = RECIPE.replace("options = { hidden = [8, 4] }", 'kind = "mahalanobis"')
FIRST = parse_recipe(QUICK + '[threshold]\npolicy = "quantile"\n', "small")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("plant") / "plant.csv"
    write(simulate(Simulation(days=6, seed=4)), path)
    return read_dataset(path, FIRST.data)


class Plant:
    """A plant whose data grows, a registry, and what was told of decisions."""

    def __init__(self, folder: Path, history: Dataset, **plan: Any) -> None:
        self.registry = Registry.create(folder / "registry")
        self.history = history
        self.days = 4.0
        self.told: list[RenewalDecision] = []
        self.clock = 1_780_000_000.0
        rules = plan.pop("rules", Rules("managed", every_seconds=DAY, least_days=1, least_events=1))
        self.plan = Plan(rules, recipe=FIRST, judge_seconds=DAY, **plan)
        self.book: Verdict | None = None
        self.asked: list[tuple[str, float, float]] = []

    def read(self, _: Recipe) -> Dataset:
        return self.history.take(self.history.times < self.history.times[0] + self.days * DAY + 60.0)

    def tell(self, decision: RenewalDecision) -> None:
        self.told.append(decision)

    def now(self) -> float:
        self.clock += 1.0
        return self.clock

    def run(self, tell: Callable[[RenewalDecision], None] | None = None) -> RenewalDecision | None:
        return self.renewal(tell).run()

    def renewal(self, tell: Callable[[RenewalDecision], None] | None = None) -> Renewal:
        return Renewal(self.registry, self.plan, self.read, tell or self.tell, self.now, book=self.read_book)

    def read_book(self, candidate: str, since: float, until: float) -> Verdict | None:
        self.asked.append((candidate, since, until))
        return self.book

    @property
    def champion(self) -> str | None:
        change = self.registry.aliases().get("champion")
        return None if change is None else change.bundle


@pytest.mark.slow
def test_rounds_follow_the_data_and_are_done_once(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history)
    first = plant.run()
    assert first is not None
    assert (first.outcome, first.champion, first.why) == ("promoted", None, "there is no champion yet")
    assert plant.champion == first.candidate
    assert plant.run() is None
    plant.days = 5.0
    second = plant.run()
    assert second is not None
    assert second.champion == first.candidate
    assert from_iso(second.round) - from_iso(first.round) == DAY
    # What the champion had learnt from is not what it is judged on.
    assert second.verdict["from"] == first.round
    assert plant.told == [first, second]
    assert plant.run() is None
    record = plant.registry.records(second.candidate or "")[0]
    assert (record.who, record.verdict["round"]) == ("trainer renew", second.round)


@pytest.mark.slow
def test_a_round_as_of_a_moment_waits_for_no_later_reading_and_sees_none(tmp_path: Path, history: Dataset) -> None:
    midnight = float(history.times[0]) + 5 * DAY
    plant = Plant(tmp_path / "as-of", history, until=midnight)
    plant.days = 5.0 - 120.0 / DAY  # its newest reading is of the day before
    first = plant.run()
    assert first is not None
    assert from_iso(first.round) == midnight
    later = Plant(tmp_path / "later", history, until=midnight)
    later.days = 6.0
    again = later.run()
    assert again is not None
    assert (again.round, again.candidate) == (first.round, first.candidate)


@pytest.mark.slow
def test_a_round_of_a_fleet_learns_from_all_of_its_machines_and_keeps_a_scale_for_each(tmp_path: Path) -> None:
    machines, hour = fleet_plant(3), 3600.0
    registry, begin, told = Registry.create(tmp_path / "registry"), float(machines.times[0]), list[RenewalDecision]()
    rules = Rules("managed", every_seconds=hour, least_days=1, least_events=1)
    for hours, recipe in ((7.0, fleet_recipe(FLEET)), (9.0, None)):  # the second time it is the champion's own
        seen = machines.take(machines.times < begin + hours * hour + 60.0)
        plan = Plan(rules, recipe=recipe, look_seconds=hour, judge_seconds=2 * hour, refit_seconds=2 * hour)

        def read(_: Recipe, seen: Dataset = seen) -> Dataset:
            return seen

        decision = Renewal(registry, plan, read, told.append, lambda: 1.8e9).run()
        assert decision is not None
        assert decision.outcome != "failed", decision.why
        manifest = load_bundle(registry.folder_of(str(decision.candidate))).manifest
        assert manifest.fleet is not None
        assert manifest.fleet.assets == machines.assets
        assert manifest.fleet.provisional_steps == FLEET["provisional_steps"]
    assert told[1].champion == told[0].candidate
    assert told[1].verdict["events"] > 0


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", fast_first(["decide", "promote", "told", "fit_recipe", "add_bundle", "journal.append", "tell"], 2)
)
def test_a_round_that_is_killed_is_finished_by_the_next_and_done_once(
    tmp_path: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    undisturbed = Plant(tmp_path / "undisturbed", history)
    plant = Plant(tmp_path / "killed", history)
    fits = 0
    real_fit = vars(renewal_round)["fit_recipe"]

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal fits
        fits += 1
        return real_fit(*arguments, **options)

    monkeypatch.setattr(renewal_round, "fit_recipe", counted)
    undisturbed.run()
    with monkeypatch.context() as patch:
        kill_after(patch, step)
        with pytest.raises(Killed):
            plant.run(killed_after(plant.tell) if step == "tell" else None)
    plant.run()
    assert plant.run() is None
    wanted, found = undisturbed.told[0], plant.told[-1]
    assert found.model_copy(update={"at": wanted.at}) == wanted
    assert all(each == found for each in plant.told)
    assert plant.registry.ids() == undisturbed.registry.ids()
    assert plant.champion == undisturbed.champion
    assert len(plant.registry.changes("champion")) == 1
    assert fits == (3 if step == "fit_recipe" else 2)


def killed_after(work: Callable[..., Any]) -> Callable[..., Any]:
    def done(*arguments: Any, **options: Any) -> None:
        work(*arguments, **options)
        raise Killed

    return done


def kill_after(patch: pytest.MonkeyPatch, step: str) -> None:
    if step == "promote":
        patch.setattr(Registry, "promote", killed_after(Registry.promote))
    elif step in ("journal.append", "told"):
        real = journal.append
        wanted = "decision" if step == "journal.append" else "told"

        def append(path: Path, entry: dict[str, Any]) -> None:
            real(path, entry)
            if wanted in entry:
                raise Killed

        patch.setattr(journal, "append", append)
    elif step != "tell":
        patch.setattr(renewal_round, step, killed_after(getattr(renewal_round, step)))


@pytest.mark.slow
def test_the_champion_is_scored_once_in_a_round_that_comes_early(
    tmp_path: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Plant(tmp_path, history, rules=Rules("managed", every_seconds=30 * DAY, least_saving=2.0))
    plant.run()
    plant.days = 5.0
    scored: list[str] = []
    real = vars(judging)["score_dataset"]

    def counted(bundle: Bundle, dataset: Dataset) -> ScoredRows:
        scored.append(bundle.manifest.bundle_id)
        found: ScoredRows = real(bundle, dataset)
        return found

    monkeypatch.setattr(judging, "score_dataset", counted)
    champion, second = plant.champion, plant.run()
    assert second is not None
    assert second.trigger.startswith("the champion saves")
    assert second.verdict["champion_saving"] is not None
    assert scored == [champion]


def test_a_failed_fit_changes_nothing_and_is_told(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history)
    first = plant.run()
    assert first is not None
    plant.days = 5.0
    plant.history = replace(history, values=np.where(history.times[:, None] > 0, np.nan, history.values))
    second = plant.run()
    assert second is not None
    assert (second.outcome, second.candidate) == ("failed", None)
    assert plant.champion == first.candidate
    assert plant.registry.ids() == [first.candidate]
    assert plant.run() is None


def test_a_round_that_failed_is_due_again_at_the_next_look_and_not_before(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history, rules=Rules("managed", every_seconds=7 * DAY, least_days=1, least_events=1))
    plant.history = replace(history, values=np.full_like(history.values, np.nan))
    first = plant.run()
    assert first is not None
    assert first.outcome == "failed"
    plant.history = history
    assert plant.run() is None
    plant.days = 5.0
    second = plant.run()
    assert second is not None
    assert (second.outcome, second.trigger) == ("promoted", "the last round failed")
    plant.days = 6.0
    assert plant.run() is None, "what went well counts for the schedule again"


def test_a_proposal_becomes_the_challenger_and_a_person_promotes_it(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history, rules=Rules("manual", every_seconds=DAY))
    first = plant.run()
    assert first is not None
    assert (first.outcome, plant.champion) == ("proposed", None)
    assert plant.registry.aliases()["challenger"].bundle == first.candidate
    assert plant.renewal().waits()
    plant.registry.promote("champion", first.candidate or "", "2026-11-01T00:00:00Z", "Kim")
    assert not plant.renewal().waits()


def test_a_proposal_waits_until_somebody_makes_another_bundle_the_challenger(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history)
    assert not plant.renewal().waits()
    first = plant.run()
    assert first is not None
    assert not plant.renewal().waits(), "it was promoted"
    plant.plan = replace(plant.plan, rules=Rules("manual", every_seconds=DAY, least_days=1, least_events=0))
    plant.days = 5.0
    second = plant.run()
    assert second is not None
    assert second.outcome == "proposed", second.why
    assert plant.renewal().waits()
    plant.registry.promote("challenger", first.candidate or "", "2026-11-01T00:00:00Z", "Kim")
    assert not plant.renewal().waits()


@pytest.mark.slow
def test_a_promotion_that_was_not_carried_out_yields_to_what_a_person_did_meanwhile(
    tmp_path: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Plant(tmp_path, history)
    first = plant.run()
    assert first is not None
    plant.days = 5.0
    plant.plan = replace(plant.plan, rules=replace(plant.plan.rules, least_events=1))
    monkeypatch.setattr(renewal_round, "decide", lambda *_: ("promoted", "it is better"))
    with monkeypatch.context() as patch:
        kill_after(patch, "journal.append")
        with pytest.raises(Killed):
            plant.run()
    other = next(bundle_id for bundle_id in plant.registry.ids() if bundle_id != first.candidate)
    third = plant.registry.folder_of("f" * 16)
    third.mkdir()
    plant.registry.promote("champion", "f" * 16, "2026-11-01T00:00:00Z", "Kim")
    third.rmdir()
    with pytest.raises(Exception, match="no such folder"):
        plant.run()
    assert plant.told[-1].outcome == "kept"
    assert "meanwhile Kim made" in plant.told[-1].why
    assert plant.champion == "f" * 16 != other


def away(_: RenewalDecision) -> None:
    raise BrokerError("no broker")


def test_brokers_that_are_away_leave_the_round_to_the_next_run(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history)

    with pytest.raises(BrokerError):
        plant.run(away)
    assert plant.run() is None
    assert [decision.outcome for decision in plant.told] == ["promoted"]


@pytest.mark.slow
def test_a_promotion_that_could_not_be_told_is_not_done_again_over_a_rollback(
    tmp_path: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Plant(tmp_path, history)
    first = plant.run()
    assert first is not None
    plant.days = 5.0
    monkeypatch.setattr(renewal_round, "decide", lambda *_: ("promoted", "it is better"))

    with pytest.raises(BrokerError):
        plant.run(away)
    assert plant.champion != first.candidate
    plant.registry.roll_back("champion", "2026-11-01T00:00:00Z", "Kim")
    assert plant.run() is None
    assert plant.champion == first.candidate
    assert [decision.outcome for decision in plant.told] == ["promoted", "promoted"]


def test_without_a_champion_and_a_recipe_it_says_what_to_name(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history)
    plant.plan = replace(plant.plan, recipe=None)
    with pytest.raises(DataError, match="--recipe"):
        plant.run()


def test_a_champion_without_a_whole_recipe_is_refused_in_words(tmp_path: Path, history: Dataset) -> None:
    plant = Plant(tmp_path, history)
    plant.plan = replace(plant.plan, recipe=None)
    write_small_bundle(tmp_path / "bundle")
    bundle_id = add_bundle(plant.registry, tmp_path / "bundle", plant.clock, "Kim").manifest.bundle_id
    plant.registry.promote("champion", bundle_id, "2026-11-01T00:00:00Z", "Kim")
    with pytest.raises(BundleError, match="does not hold a whole recipe"):
        plant.run()


def on_trial(folder: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch) -> tuple[Plant, RenewalDecision]:
    """A plant with a champion of day 4, and a candidate of day 5 on trial."""
    rules = Rules("managed", every_seconds=DAY, least_days=1, least_events=1, trial_days=1, trial_events=1)
    plant = Plant(folder, history, rules=rules)
    plant.run()
    plant.days = 5.0
    real = vars(judging)["paired_difference"]
    monkeypatch.setattr(judging, "paired_difference", lambda *two: real(*two) | {"saving_difference": 0.1})
    trial = plant.run()
    assert trial is not None
    assert trial.outcome == "trial"
    return plant, trial


def book(difference: float) -> Verdict:
    return Verdict(0.0, DAY, 1, 3, 0.2 + difference, 0.2, difference, None, None)


@pytest.mark.slow
@pytest.mark.parametrize(("difference", "outcome"), [(0.0, "promoted"), (-0.1, "kept")])
def test_a_candidate_on_trial_is_judged_by_its_own_book(
    tmp_path: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch, difference: float, outcome: str
) -> None:
    plant, trial = on_trial(tmp_path, history, monkeypatch)
    assert (plant.champion, plant.registry.resolve("challenger")) == (trial.champion, trial.candidate)
    plant.days = 6.0
    # Another day, and a round would be due: nothing is fitted while a trial goes on.
    assert plant.run() is None
    assert plant.asked[-1][:2] == (trial.candidate, from_iso(trial.round))
    plant.book = book(difference)
    ended = plant.run()
    assert ended is not None
    assert (ended.outcome, ended.round, ended.candidate) == (outcome, trial.round, trial.candidate)
    assert ended.verdict["difference"] == difference
    assert plant.champion == (trial.candidate if outcome == "promoted" else trial.champion)
    assert len({decision.id for decision in plant.told}) == 3


@pytest.mark.slow
def test_a_trial_whose_end_was_written_down_and_not_carried_out_is_finished(
    tmp_path: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, trial = on_trial(tmp_path, history, monkeypatch)
    plant.days, plant.book = 6.0, book(0.1)
    with monkeypatch.context() as patch:
        kill_after(patch, "journal.append")
        with pytest.raises(Killed):
            plant.run()
    assert plant.champion == trial.champion
    plant.run()
    assert plant.champion == trial.candidate


@pytest.mark.slow
def test_a_trial_ends_where_a_person_makes_another_bundle_the_challenger(
    tmp_path: Path, history: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, trial = on_trial(tmp_path, history, monkeypatch)
    plant.registry.promote("challenger", str(trial.champion), "2026-11-01T00:00:00Z", "Kim")
    plant.days, plant.book = 6.0, book(0.1)
    ended = plant.run()
    assert ended is not None
    assert (ended.outcome, plant.champion) == ("kept", trial.champion)
    assert "challenger stands for" in ended.why
