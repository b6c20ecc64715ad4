"""A fit in MLflow, read back from its file store by MLflow's own client."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.registry import Registry
from trainer.__main__ import main
from trainer.reports.tracking import flat


@pytest.fixture
def plant(fitted_plant: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return fitted_plant


def only_run(store: Path, experiment: str = "small") -> Any:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=str(store))
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return client, run


@pytest.mark.slow
def test_a_fit_is_a_run_with_parameters_metrics_report_and_a_bundle_that_loads(
    plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out, figures = tmp_path / "runs", tmp_path / "bundle", tmp_path / "fit.json"
    files = ["--recipe", plant / "small.toml", "--data", plant / "history.csv", "--out", out, "--json", figures]
    assert main(["fit", *map(str, files), "--mlflow", str(store)]) == 0
    client, run = only_run(store)
    assert f"mlflow: run {run.info.run_id} at {store}" in capsys.readouterr().out
    assert run.info.status == "FINISHED"
    wanted = json.loads(figures.read_text())
    assert run.info.run_name == run.data.tags["stream_detector.bundle"] == wanted["bundle_id"]
    assert (run.data.params["window.steps"], run.data.params["model.options.hidden"]) == ("4", "[8,4]")
    assert run.data.params["training.data_sha256"] == wanted["training"]["data_sha256"]
    assert run.data.metrics["test.auroc"] == wanted["test"]["auroc"]
    assert run.data.metrics["test.fp"] == wanted["test"]["confusion"][0][1]
    losses = client.get_metric_history(run.info.run_id, "loss.held_out")
    assert [loss.step for loss in losses] == list(range(1, wanted["training"]["epochs"] + 1))
    copied = Path(client.download_artifacts(run.info.run_id, "bundle"))
    assert load_bundle(copied).manifest.bundle_id == wanted["bundle_id"]
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == {"bundle", "bundle.html"}


@pytest.mark.slow
def test_a_round_of_renewal_is_tracked_with_its_verdict_and_goes_on_where_that_fails(
    plant: Path, tmp_path: Path
) -> None:
    rules = ["--every", "1d", "--judge", "1d", "--least-days", "1", "--least-events", "1"]
    place = ["--recipe", str(plant / "small.toml"), "--data", str(plant / "history.csv"), "--once"]
    for registry, store in (("kept", str(tmp_path / "runs")), ("untracked", "http://127.0.0.1:1")):
        arguments = ["renew", "--registry", str(tmp_path / registry), *place, *rules]
        assert main([*arguments, "--json", str(tmp_path / f"{registry}.json"), "--mlflow", store]) == 0
        decision = json.loads((tmp_path / f"{registry}.json").read_text())
        assert Registry(tmp_path / registry).ids() == [decision["candidate"]]
    _, run = only_run(tmp_path / "runs")
    assert run.data.tags["renewal.round"] == decision["round"]
    assert any(name.startswith("renewal.") for name in run.data.metrics)


@pytest.mark.slow
@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "ftp://historian/runs", "http://kim:secret@127.0.0.1:1"])
def test_an_address_that_cannot_be_used_is_named_before_the_fit(
    plant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    files = ["--recipe", plant / "small.toml", "--data", plant / "history.csv", "--out", tmp_path / "bundle"]
    assert main(["fit", *map(str, files), "--mlflow", address]) == 2
    said = capsys.readouterr().err
    assert re.match(rf"error: --mlflow {address.replace('secret', '...')} cannot be used: \S.*\n", said)
    assert "secret" not in said
    assert not (tmp_path / "bundle").exists()


def test_a_table_whose_keys_are_names_of_a_plant_stays_one_parameter() -> None:
    tables = {"window": {"steps": 4}, "least": {"flow/%": 0.5}, "none": {}}
    assert dict(flat(tables)) == {"window.steps": 4, "least": {"flow/%": 0.5}, "none": {}}
