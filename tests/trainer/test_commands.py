"""The trainer's commands, as a user runs them: what they write, print and return."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stream_detector import Detector
from stream_detector.bundle.bundle import load_bundle
from trainer.__main__ import main
from trainer.data.simulate import Simulation, simulate, write


@pytest.fixture(scope="module")
def plant(fitted_plant: Path) -> Path:
    """A simulated history, a recipe, and the bundle fitted with it."""
    return fitted_plant


def fit(folder: Path, out: str, *more: str) -> int:
    files = ("--recipe", str(folder / "small.toml"), "--data", str(folder / "history.csv"), "--out", str(folder / out))
    return main(["fit", *files, *more])


def test_fit_writes_a_bundle_that_loads_and_a_report_beside_it(plant: Path) -> None:
    bundle = load_bundle(plant / "bundle")
    assert bundle.manifest.recipe == "small"
    assert bundle.manifest.training.epochs == 3
    report = (plant / "bundle.html").read_text()
    for heading in ("Training", "Cost against threshold", "Score over time", "Confusion", "Input against reconst"):
        assert heading in report
    assert "never alarm" in report
    assert 'src="http' not in report


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bundle_and_another_seed_another(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(plant, "again") == fit(plant, "other", "--seed", "9") == 0
    bundles = [load_bundle(plant / name).manifest.bundle_id for name in ("bundle", "again", "other")]
    assert bundles[0] == bundles[1] != bundles[2]


def test_score_writes_one_line_a_scorable_row_that_reads_back_exactly(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = plant / "scores.csv"
    assert (
        main(["score", "--bundle", str(plant / "bundle"), "--data", str(plant / "history.csv"), "--out", str(out)]) == 0
    )
    table = pd.read_csv(out, float_precision="round_trip")
    assert list(table.columns) == ["time", "score", "threshold", "alarm"]
    assert f"{len(table):,} of" in capsys.readouterr().out
    history = pd.read_csv(plant / "history.csv")
    assert not table["time"].duplicated().any()
    assert set(table["time"]) < set(history["time"][history["y"] == 0])
    assert ((table["score"] > table["threshold"]) == (table["alarm"] == 1)).all()
    detector = Detector.load(plant / "bundle")
    breaks = pd.to_datetime(history["time"][history["y"] == 1])
    found = detector.score(history[history["y"] == 0], time="time", events=breaks)
    assert np.array_equal(found["score"], table["score"])
    assert [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in found["time"]] == table["time"].tolist()


def test_score_gives_errors_per_sensor_where_asked_and_writes_parquet(plant: Path) -> None:
    out = plant / "scores.parquet"
    files = ("--bundle", str(plant / "bundle"), "--data", str(plant / "history.csv"), "--out", str(out))
    assert main(["score", *files, "--errors"]) == 0
    table = pd.read_parquet(out)
    sensors = load_bundle(plant / "bundle").manifest.sensors
    assert [name for name in table.columns if name.startswith("error:")] == [f"error:{name}" for name in sensors]


@pytest.mark.slow
def test_evaluate_judges_on_rows_that_nothing_was_chosen_on_and_says_so(
    plant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--bundle", str(plant / "bundle"), "--data", str(plant / "history.csv"))
    assert main(["evaluate", *files, "--json", str(plant / "e.json"), "--report", str(plant / "e.html")]) == 0
    assert "nothing was chosen on" in capsys.readouterr().out
    found = json.loads((plant / "e.json").read_text())
    wanted = "auroc average_precision accuracy precision recall f1 frr far ie threshold threshold_policy confusion cost"
    assert {*wanted.split(), "never_cost", "saving"} <= set(found)
    assert "Confusion matrix" in (plant / "e.html").read_text()
    assert main(["evaluate", *files, "--rows", "all", "--json", str(plant / "all.json")]) == 0
    assert "this flatters it" in capsys.readouterr().out
    assert json.loads((plant / "all.json").read_text())["rows"] > found["rows"]


@pytest.mark.slow
def test_the_threshold_can_be_chosen_on_a_file_of_its_own(plant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(simulate(Simulation(days=3, seed=4)), plant / "validation.csv")
    assert fit(plant, "validated", "--validation", str(plant / "validation.csv")) == 0
    first, second = (load_bundle(plant / name).manifest for name in ("bundle", "validated"))
    assert first.threshold.value != second.threshold.value
    assert first.files["weights.safetensors"] == second.files["weights.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("fit --recipe nonsense --data {plant}/history.csv", "no recipe 'nonsense'"),
        ("fit --recipe paper-mill --data {plant}/absent.csv", "not there"),
        ("fit --recipe paper-mill --data {plant}/history.csv", "2026-01-05T00:00:00Z"),
        (
            "fit --recipe {plant}/small.toml --data {plant}/history.csv --label-column broken",
            "no label column 'broken'",
        ),
        ("fit --recipe {plant}/small.toml --data {plant}/history.csv --out {plant}/history.csv", "is no bundle"),
        ("fit --recipe {plant}/small.toml --data {plant}/history.csv --out {plant}/history.csv/b", "it is no folder"),
        ("score --bundle {plant}/absent --data {plant}/history.csv --out x.csv", "no such folder"),
        ("score --bundle {plant}/bundle --data {plant}/history.csv --out {plant}/x.xlsx", "should end in one of"),
        ("evaluate --bundle {plant}/bundle --data {plant}/small.toml", "no time column"),
        ("sign --bundle {plant}/bundle --key {plant}/small.toml", "not an Ed25519 key"),
        ("score --bundle {plant}/bundle", "Missing option '--data'"),
        ("fit --recipe {plant}/small --data {plant}/history.csv", "small.toml"),
        ("frobnicate", "No such command"),
    ],
)
def test_a_users_mistake_ends_with_code_2_one_message_and_no_traceback(
    plant: Path, capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    assert main(arguments.format(plant=plant).split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_fault_of_our_own_ends_with_code_70(
    plant: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trainer.recipe.recipe_names", lambda: 1 / 0)
    assert main(["recipes"]) == 70
    assert "fault of the trainer itself" in capsys.readouterr().err


def test_recipes_lists_all_and_prints_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["recipes", "--json", str(tmp_path / "r.json")]) == 0
    assert "paper-mill" in capsys.readouterr().out
    assert "paper-mill" in [recipe["name"] for recipe in json.loads((tmp_path / "r.json").read_text())]
    assert main(["recipes", "paper-mill"]) == 0
    assert 'drop_columns = ["x61"]' in capsys.readouterr().out


@pytest.mark.slow
def test_help_needs_none_of_the_slow_libraries() -> None:
    script = (
        "import sys\nfrom trainer.__main__ import main\ncode = main(['--help'])\n"
        "slow = {'torch', 'pandas', 'plotly', 'sklearn', 'scipy', 'faust'} & set(sys.modules)\n"
        "sys.exit(f'{slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fit" in done.stdout
