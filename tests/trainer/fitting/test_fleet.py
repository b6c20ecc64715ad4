"""A fleet fitted, judged and scored: machines alike but for the level and the gain of their sensors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.api import Detector
from stream_detector.bundle.bundle import load_bundle
from stream_detector.errors import DataError, RecipeError
from trainer.backtesting.backtest import run_backtest
from trainer.backtesting.folds import Fold
from trainer.backtesting.methods import method_of
from trainer.data.dataset import Dataset
from trainer.evaluation.score import score_table
from trainer.evaluation.scored import score_dataset
from trainer.fitting.fit import Fitted, fit_recipe
from trainer.recipe import Recipe, recipe_of

STEP, ROWS, BEGIN = 60.0, 600, 1.7e9 // 60 * 60
SENSORS = ("flow", "pressure")


def recipe(fleet: dict[str, Any] | None, **sections: Any) -> Recipe:
    own = {} if fleet is None else {"fleet": fleet}
    return recipe_of(
        {
            "title": "Fleet",
            "data": {"label_column": "y", "labels_mark": "events", "asset_column": "asset"},
            "split": {"train": 0.5, "validation": 0.5},
            "grid": {"step_seconds": STEP},
            "window": {"steps": 2},
            "model": {"kind": "tail-deviation"},
            "lead": {"from_steps": 1, "until_steps": 3},
            "threshold": {"policy": "quantile", "quantile": 0.99},
            **own,
            **sections,
        },
        "fleet",
    )


FLEET = {"provisional_steps": 200, "least_steps": 30}


def plant(machines: int, seed: int = 0) -> Dataset:
    """A break is announced one to three steps ahead, by five deviations of the machine's own."""
    rng = np.random.default_rng(seed)
    values, labels = rng.normal(size=(machines, ROWS, 2)), np.zeros((machines, ROWS), bool)
    for machine in range(machines):
        labels[machine, rng.choice(np.arange(20, ROWS, 12), 20, replace=False)] = True
    for ahead in (1, 2, 3):
        values[:, :-ahead][labels[:, ahead:]] += 5
    level, gain = 10.0 ** np.arange(machines), 7.0 ** -np.arange(machines)
    values = level[:, None, None] + gain[:, None, None] * values
    count = machines * ROWS
    asset_rows = np.repeat(np.arange(machines), ROWS)
    return Dataset(
        "plant.csv", "0" * 64, SENSORS, np.tile(BEGIN + np.arange(ROWS) * STEP, machines), values.reshape(count, 2),
        labels.reshape(count), True, asset_rows, assets=tuple(f"m{number}" for number in range(machines)),
        asset_rows=asset_rows,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_recipe(recipe(FLEET), plant(3), tmp_path_factory.mktemp("fleet") / "bundle")


@pytest.mark.slow
def test_each_machine_by_its_own_scale_pays_where_one_for_all_does_not(fitted: Fitted, tmp_path: Path) -> None:
    fleet, common = fitted.bundle, fit_recipe(recipe(None), plant(3), tmp_path / "common").bundle
    later = plant(3, seed=1)
    caught = []
    for bundle in (fleet, common):
        scored = score_dataset(bundle, later)
        assert scored.positive is not None
        assert scored.assets is not None
        caught.append([(scored.above & scored.positive)[scored.assets == name].mean() for name in later.assets])
    assert min(caught[0]) > 0.05
    assert sum(share > 0.05 for share in caught[1]) <= 1


def test_a_machine_that_training_never_saw_is_found_by_its_first_steps(fitted: Fitted) -> None:
    four = plant(4, seed=2)
    scored = score_dataset(fitted.bundle, four)
    assert scored.assets is not None
    rows = {name: int((scored.assets == name).sum()) for name in four.assets}
    assert rows["m0"] - rows["m3"] >= 30 - 5
    stranger = [alarm for alarm in scored.alarms if alarm.asset == "m3" and alarm.state == "raised"]
    assert {alarm.provisional for alarm in stranger} == {True, False}
    assert not any(alarm.provisional for alarm in scored.alarms if alarm.asset != "m3")


def test_notebooks_score_each_machine_as_trainer_score_does(fitted: Fitted) -> None:
    import pandas as pd

    data = plant(4, seed=2)
    frame = pd.DataFrame(data.values, columns=list(SENSORS))
    frame["time"], frame["machine"] = data.times, np.array(data.assets)[data.asset_rows]
    quiet = replace(data, labels=None)
    detector = Detector(fitted.bundle)
    found = detector.score(frame, time="time", asset="machine")
    assert found["score"].tolist() == score_dataset(fitted.bundle, quiet).score.tolist()
    with pytest.raises(DataError, match="asset="):
        detector.score(frame[frame["machine"] == "m0"], time="time")


def test_a_backtest_scales_each_machine_and_sees_strangers_as_strangers() -> None:
    data = plant(3)
    # The third machine is new in the second half.
    kept = (data.asset_rows != 2) | (data.times >= BEGIN + 300 * STEP)
    data = data.take(kept)
    fold = Fold(BEGIN + 300 * STEP, BEGIN + ROWS * STEP)
    (found,) = run_backtest([method_of(recipe(FLEET))], data, [fold])
    assert data.asset_rows is not None
    machine = data.asset_rows[found.scored.rows]
    assert np.bincount(machine)[0] - np.bincount(machine)[2] > 20
    assert found.saving is not None
    assert found.saving > 0.3


def test_a_machine_with_few_rows_to_learn_from_stays_a_stranger(tmp_path: Path) -> None:
    data = plant(2)
    assert data.asset_rows is not None
    few = data.take((data.asset_rows == 0) | (data.times < BEGIN + 40 * STEP))
    manifest = fit_recipe(recipe(FLEET), few, tmp_path / "bundle").bundle.manifest
    assert manifest.fleet is not None
    assert manifest.fleet.assets == ("m0",)


OWN = {"threshold": {"policy": "cost-optimal", "own_least_events": 5}}


def unlike() -> Dataset:
    """In m1 wild readings announce nothing, and of m2 hardly a break was written down."""
    data, rng = plant(3), np.random.default_rng(4)
    assert data.asset_rows is not None
    assert data.labels is not None
    gain = 7.0 ** -data.asset_rows.astype(float)
    wild = (data.asset_rows == 1) & (rng.random(len(data.times)) < 0.3)
    values = data.values + np.where(wild, 4.0, 0.0)[:, None] * gain[:, None]
    labels = data.labels & ((data.asset_rows != 2) | (data.times < BEGIN + 320 * STEP))
    return replace(data, values=values, labels=labels)


def test_a_machine_with_events_enough_of_its_own_has_a_threshold_of_its_own_everywhere(tmp_path: Path) -> None:
    import pandas as pd

    data = unlike()
    bundle = fit_recipe(recipe(FLEET, **OWN), data, tmp_path / "bundle").bundle
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert manifest.own_thresholds.keys() == {"m0", "m1"}
    wanted = {name: manifest.alarm_threshold_of(name) for name in data.assets}
    assert len(set(wanted.values())) == 3
    assert wanted["m2"] == manifest.alarm_threshold == manifest.alarm_threshold_of("a stranger")

    scored = score_dataset(bundle, data)
    assert scored.assets is not None
    assert scored.threshold.tolist() == [wanted[name] for name in scored.assets]
    assert {(alarm.asset, alarm.threshold) for alarm in scored.alarms} == set(wanted.items())
    table = score_table(manifest, data, scored)
    assert table["threshold"].tolist() == scored.threshold.tolist()
    assert set(table["alarm"] == (table["score"] > table["threshold"])) == {True}

    frame = pd.DataFrame(data.values, columns=list(SENSORS))
    frame["time"], frame["machine"] = data.times, np.array(data.assets)[data.asset_rows]
    found = Detector(bundle).score(frame, time="time", asset="machine")
    assert dict(zip(found["asset"], found["threshold"], strict=True)) == wanted


def test_a_backtest_chooses_each_machine_s_threshold_as_a_fit_does() -> None:
    fold = Fold(BEGIN + 400 * STEP, BEGIN + ROWS * STEP)
    (found,) = run_backtest([method_of(recipe(FLEET, **OWN))], unlike(), [fold])
    data = unlike()
    assert data.asset_rows is not None
    of_machine = [set(found.scored.threshold[data.asset_rows[found.scored.rows] == number]) for number in range(3)]
    assert [len(each) for each in of_machine] == [1, 1, 1]
    assert of_machine[0] != of_machine[1]


def test_no_machine_has_a_threshold_where_the_common_one_does_not_pay(tmp_path: Path) -> None:
    dear = {"costs": {"fp": 99.0, "tp": 99.0}}
    manifest = fit_recipe(recipe(FLEET, **OWN, **dear), plant(3), tmp_path / "bundle").bundle.manifest
    assert not manifest.raises_alarms
    assert manifest.own_thresholds == {}
    assert manifest.alarm_threshold_of("m0") == np.inf


def test_a_fit_that_learns_from_every_row_has_none_to_judge_on(tmp_path: Path) -> None:
    whole = {"split": {"train": 1.0, "validation": 0.0}}
    fitted = fit_recipe(recipe(FLEET, **whole), plant(2), tmp_path / "bundle")
    assert len(fitted.test) == 0


def test_scores_that_are_standardised_are_so_by_the_newest_windows_of_each_machine(tmp_path: Path) -> None:
    bundle = fit_recipe(recipe(FLEET, score={"standardise": True}), plant(2), tmp_path / "bundle").bundle
    assert load_bundle(tmp_path / "bundle").fleet is not None
    assert bundle.fleet is not None
    assert bundle.fleet.common.usual_error is not None


def test_what_a_fleet_lacks_is_said_in_a_sentence(tmp_path: Path) -> None:
    one = replace(plant(1), asset_rows=None, assets=(), parts=None)
    with pytest.raises(DataError, match="asset_column"):
        fit_recipe(recipe(FLEET), one, tmp_path / "a")
    data = plant(2)
    assert data.asset_rows is not None
    with pytest.raises(DataError, match=r"no machine has fleet\.least_steps = 30 .* the most are"):
        fit_recipe(recipe(FLEET), data.take(data.times < BEGIN + 40 * STEP), tmp_path / "b")
    for sections, said in (
        ({"scaler": {"kind": "none"}}, "scales nothing"),
        ({"grid": {"kind": "table", "step_seconds": 1}, "window": {"steps": 1}}, "of none"),
        ({"head": {"kind": "calibrated"}, "threshold": {"policy": "probability"}}, "one machine"),
        ({"threshold": {"policy": "max-f1", "own_least_events": 3}}, "cost-optimal"),
    ):
        with pytest.raises(RecipeError, match=said):
            recipe(FLEET, **sections)
    with pytest.raises(RecipeError, match="least_steps = 30 is more than provisional_steps = 20"):
        recipe({"provisional_steps": 20, "least_steps": 30})
