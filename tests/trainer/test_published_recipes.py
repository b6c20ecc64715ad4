"""The recipes that come with the trainer, each on a small file of the form it is meant for, and some on public data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.data.dataset import Dataset, read_dataset
from trainer.evaluation.evaluate import evaluate_rows
from trainer.evaluation.scored import score_dataset
from trainer.fitting.fit import Fitted, fit_recipe
from trainer.recipe import Recipe, load_recipe, recipe_names

FIXED_NAMES = {
    "paper-mill-dense",
    "lots-dense",
    "lots-deep",
    "bearing-cnn",
    "bearing-linear",
    "bearing-recurrent",
    "heartbeat",
    "environment",
    "prelabel",
    "water-loop",
    "water-network",
    "drinking-water",
    "chemical-plant",
    "oil-well",
}
RNG = np.random.default_rng(1)


def quick(name: str) -> Recipe:
    """The recipe with two epochs."""
    recipe = load_recipe(name)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 2})})


def fit_table(recipe: Recipe, table: pd.DataFrame, folder: Path, header: bool = True) -> tuple[Fitted, Dataset]:
    path = folder / "data.csv"
    table.to_csv(path, index=False, sep=recipe.data.separator or ",", header=header)
    dataset = read_dataset(path, recipe.data)
    return fit_recipe(recipe, dataset, folder / "bundle"), dataset


def test_every_published_recipe_is_there_and_says_what_was_published() -> None:
    assert set(recipe_names()) >= FIXED_NAMES
    for name in FIXED_NAMES:
        recipe = load_recipe(name)
        assert recipe.published
        assert recipe.title


@pytest.mark.parametrize("name", ["lots-dense", "lots-deep", "lots-supervised"])
def test_lots_have_no_time(name: str, tmp_path: Path) -> None:
    failed = RNG.random(300) < 0.2
    values = RNG.standard_normal((300, 6))
    values[failed, 0] += 4
    table = pd.DataFrame(values, columns=[f"sensor_{k}" for k in range(6)])
    table["label"] = np.where(failed, 1, -1)
    fitted, dataset = fit_table(quick(name), table, tmp_path)
    assert dataset.sensors == tuple(table.columns[:6])
    assert fitted.evaluation.auroc is not None
    assert fitted.evaluation.auroc > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heartbeat", "heartbeat-published"])
def test_beats_come_without_a_header_and_their_label_marks_the_normal_ones(name: str, tmp_path: Path) -> None:
    normal = RNG.random(400) < 0.6
    beats = np.sin(np.arange(140) / 10) + 0.1 * RNG.standard_normal((400, 140))
    beats[~normal] = np.cos(np.arange(140) / 5) + 0.1 * RNG.standard_normal((int((~normal).sum()), 140))
    table = pd.DataFrame(np.column_stack([beats, normal.astype(int)]))
    fitted, dataset = fit_table(quick(name), table, tmp_path, header=False)
    assert dataset.labels is not None
    assert (dataset.labels == ~normal).all()
    assert fitted.evaluation.auroc is not None
    assert fitted.evaluation.auroc > 0.9


@pytest.mark.slow
def test_a_file_without_labels_gets_them_from_the_forest(tmp_path: Path) -> None:
    values = RNG.standard_normal((600, 6))
    values[450:456] += 9
    values[520:526] += 9
    table = pd.DataFrame(values, columns=list("abcdef"))
    table.insert(0, "time", pd.date_range("2026-01-01", periods=600, freq="2min").strftime("%Y-%m-%dT%H:%M:%SZ"))
    fitted, dataset = fit_table(quick("prelabel"), table, tmp_path)
    assert dataset.labels is not None
    assert dataset.labels[450:456].all()
    assert dataset.labels.sum() <= 18
    assert fitted.bundle.manifest.threshold.policy == "precision-equals-recall"


def test_runs_whose_samples_start_again_never_share_a_window(tmp_path: Path) -> None:
    rows = 60
    table = pd.DataFrame(RNG.standard_normal((3 * rows, 4)), columns=list("abcd"))
    table.insert(0, "part", ["train"] * rows + ["test"] * 2 * rows)
    table.insert(1, "fault", [0] * 2 * rows + [1] * rows)
    table.insert(2, "sample", list(range(rows)) * 3)
    table["label"] = 0
    recipe = load_recipe("chemical-plant")
    fitted, dataset = fit_table(recipe, table, tmp_path)
    assert dataset.sensors == tuple("abcd")
    scored = score_dataset(fitted.bundle, dataset)
    expected = [start + row for start in (0, rows, 2 * rows) for row in range(recipe.window.steps - 1, rows)]
    assert scored.rows.tolist() == expected


def test_the_water_loop_learns_and_limits_on_its_first_rows_alone(tmp_path: Path) -> None:
    recipe = load_recipe("water-loop")
    rows = 700
    table = pd.DataFrame(RNG.standard_normal((rows, len(recipe.data.sensors))), columns=list(recipe.data.sensors))
    table.loc[600:, "Pressure"] += 5
    table.insert(0, "datetime", pd.date_range("2026-01-01", periods=rows, freq="s").strftime("%Y-%m-%d %H:%M:%S"))
    table["anomaly"] = (np.arange(rows) >= 600).astype(float)
    fitted, dataset = fit_table(recipe, table, tmp_path)
    assert fitted.bundle.manifest.training.rows == 400
    first, _ = fit_table(recipe, table.iloc[:400], tmp_path)
    assert first.bundle.manifest.threshold.value == fitted.bundle.manifest.threshold.value
    scored = score_dataset(first.bundle, dataset)
    assert not scored.above[scored.rows < 600].any()
    assert scored.above[scored.rows > 640].all()


@pytest.mark.slow
def test_a_water_network_under_attack_is_seen_after_a_tenth_of_the_fit(shared_data: Path, tmp_path: Path) -> None:
    from benchmarks.detection.water_network import of_recipe

    recipe = load_recipe("water-network")
    short = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 4})})
    ours = of_recipe(short, shared_data / "batadal", tmp_path)
    assert ours["S"] >= 0.9
    assert ours["found"] == "7 of 7"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_water_network_under_attack_scores_above_its_goal(shared_data: Path, tmp_path: Path) -> None:
    from benchmarks.detection.water_network import run

    tables = run(shared_data / "batadal", 1, tmp_path)
    ours = next(iter(tables.values()))[0]
    assert ours["S"] >= 0.92
    assert ours["found"] == "7 of 7"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_heart_beats_reach_their_goal_on_a_random_split(shared_data: Path, tmp_path: Path) -> None:
    recipe = load_recipe("heartbeat")
    fitted = fit_recipe(recipe, read_dataset(shared_data / "ecg5000" / "ecg.csv.gz", recipe.data), tmp_path / "bundle")
    (tn, fp), (fn, tp) = evaluate_rows(fitted.test, fitted.bundle.manifest).confusion or [[0, 0], [0, 0]]
    assert 2 * tn / (2 * tn + fp + fn) >= 0.97
    assert 2 * tp / (2 * tp + fp + fn) >= 0.965
