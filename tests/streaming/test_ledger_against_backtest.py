"""The development paper-mill file through real Kafka: the ledger and the offline pricing agree to the cent."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_detector.__main__ import main
from stream_detector.bundle.bundle import load_bundle
from stream_detector.detection.episodes import episodes
from stream_detector.detection.event_cost import event_cost
from stream_detector.engine.offline import score_frame
from tests.support.bundles import recipe_with
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import TOPICS, WorkerProcess, topic, topic_environment
from trainer.__main__ import main as trainer
from trainer.data.dataset import read_dataset
from trainer.data.examples import not_running, row_steps, run_numbers
from trainer.evaluation.score import bundle_data

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DAY = 86_400.0


@pytest.fixture(scope="module")
def bundle(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bundle") / "paper-mill"
    file = shared_data / "papermill" / "process_data_dev.csv.gz"
    recipe = folder.with_name("paper-mill.toml")
    # On this file no threshold is shown to pay; alarms that lose money must agree to the cent as well.
    unguarded = 'policy = "cost-optimal"\nguard = false'
    # Two epochs: whatever was learnt raises alarms that the two have to agree about.
    changes = {'policy = "cost-optimal"': unguarded, "epochs = 15": "epochs = 2"}
    recipe.write_text(recipe_with("paper-mill", changes))
    assert trainer(["fit", "--recipe", str(recipe), "--data", str(file), "--out", str(folder)]) == 0
    return folder, file


def backtest_cost(folder: Path, file: Path, since: float, until: float) -> dict[str, float]:
    """What the bundle's scores and the file's breaks of these days cost, by the backtest's own episodes and prices."""
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    dataset = read_dataset(file, bundle_data(manifest), manifest.sensors)
    found = score_frame(bundle, dataset.times, dataset.values, dataset.times[dataset.events])
    steps = row_steps(dataset, manifest.grid)
    idle = not_running(dataset, manifest.grid, manifest.operating_rule)
    run = run_numbers(dataset, steps, manifest.grid.max_gap_steps, idle)[found.rows]
    alarms = episodes(found.steps.step, found.steps.above, run, manifest.episode)
    priced = event_cost(alarms, steps[dataset.events], manifest.lead, manifest.costs)
    raised, breaks = alarms[:, 0] * manifest.grid.step_seconds, dataset.times[dataset.events]
    paid, counted = (raised >= since) & (raised < until), (breaks >= since) & (breaks < until)
    return {
        "events": int(counted.sum()),
        "caught": int(priced.match.caught[counted].sum()),
        "alarms": int(paid.sum()),
        "cost": float(priced.event_costs[counted].sum() + priced.alarm_costs[paid].sum()),
        "never_cost": float(manifest.costs.fn * counted.sum()),
    }


def test_the_ledger_of_the_replayed_days_costs_what_the_backtest_says(
    kafka: Kafka | ExistingKafka,
    unique_name: str,
    bundle: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, file = bundle
    for name in TOPICS:
        policy = "compact" if name == "state" else "delete"
        create_topic(kafka.bootstrap, topic(unique_name, name), partitions=2, cleanup_policy=policy)
    for variable, value in topic_environment(unique_name).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("STREAM_DETECTOR_BOOTSTRAP", kafka.bootstrap)
    # Whole days; the last steps of the file still wait for a reading after them.
    since = datetime(1999, 5, 5, tzinfo=UTC).timestamp()
    until = datetime(1999, 5, 23, tzinfo=UTC).timestamp()
    worker = WorkerProcess(kafka.bootstrap, unique_name, folder, tmp_path / "worker.log").start()
    try:
        files = ["--data", str(file), "--bundle", str(folder)]
        assert main(["replay", *files, "--asset", "pm-1", "--as", "rows", "--speed", "max"]) == 0
        deadline, before = time.monotonic() + 240, -1.0
        while True:
            assert worker.alive, worker.log_text()[-3000:]
            assert time.monotonic() < deadline, "the worker does not come to the end of the readings"
            scored = worker.metric("stream_detector_steps_scored_total")
            if scored > 10_000 and scored == before:
                break
            before = scored
            time.sleep(3)
        result = tmp_path / "ledger.json"
        days = ["--since", "1999-05-05", "--until", "1999-05-23"]
        assert main(["ledger", *days, "--json", str(result)]) == 0
    finally:
        worker.stop()
    ledger = json.loads(result.read_text())
    expected = backtest_cost(folder, file, since, until)
    assert expected["caught"] > 0
    assert {name: ledger[name] for name in expected} == expected
    assert ledger["saved"] == expected["never_cost"] - expected["cost"]
