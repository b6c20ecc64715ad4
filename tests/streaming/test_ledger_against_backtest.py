"""The development paper-mill file through real Kafka: the ledger and the offline pricing agree to the cent."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime

import pytest

from stream_detector.__main__ import main
from stream_detector.bundle import load_bundle
from stream_detector.detection.event_cost import event_cost
from stream_detector.frames import score_frame
from tests.kafka import create_topic, free_port
from trainer.__main__ import main as trainer
from trainer.dataset import read_dataset
from trainer.examples import row_steps
from trainer.score import bundle_data
from trainer.worth import alarm_intervals, run_numbers

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DAY = 86_400.0
PARTS = ("readings", "events", "alarms", "feedback", "state", "alarm_states", "dead_letters", "scores")


@pytest.fixture(scope="module")
def bundle(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "paper-mill"
    file = shared_data / "papermill" / "process_data_dev.csv.gz"
    assert trainer(["fit", "--recipe", "paper-mill", "--data", str(file), "--out", str(folder)]) == 0
    return folder, file


def backtest_cost(folder, file, since, until):
    """What the bundle's scores and the file's breaks of these days cost, by the backtest's own episodes and prices."""
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    dataset = read_dataset(file, bundle_data(manifest), manifest.sensors)
    found = score_frame(bundle, dataset.times, dataset.values, dataset.times[dataset.events])
    steps = row_steps(dataset, manifest.grid)
    run = run_numbers(dataset, steps, manifest.grid.max_gap_steps)[found.row]
    alarms = alarm_intervals(found.step, found.above, run, manifest.episode)
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
    kafka, unique_name, bundle, tmp_path, monkeypatch
):
    folder, file = bundle
    for part in PARTS:
        create_topic(kafka.bootstrap, f"{unique_name}-{part}", partitions=2)
        monkeypatch.setenv(f"STREAM_DETECTOR_TOPIC_{part.upper()}", f"{unique_name}-{part}")
    monkeypatch.setenv("STREAM_DETECTOR_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("STREAM_DETECTOR_GROUP", unique_name)
    # Whole days; the last steps of the file still wait for a reading after them.
    since = datetime(1999, 5, 5, tzinfo=UTC).timestamp()
    until = datetime(1999, 5, 23, tzinfo=UTC).timestamp()
    port = free_port()
    command = [sys.executable, "-m", "stream_detector", "run", "--bundle", str(folder), "--metrics-port", str(port)]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, env=os.environ, stdout=log, stderr=log)
    try:
        assert main(["replay", "--data", str(file), "--bundle", str(folder), "--asset", "pm-1", "--speed", "max"]) == 0
        ready = f"http://127.0.0.1:{port}/metrics"
        deadline, before = time.monotonic() + 240, -1.0
        while True:
            assert worker.poll() is None, (tmp_path / "worker.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the worker does not come to the end of the readings"
            scored = _metric(ready, "stream_detector_steps_scored_total")
            if scored > 10_000 and scored == before:
                break
            before = scored
            time.sleep(3)
        result = tmp_path / "ledger.json"
        days = ["--since", "1999-05-05", "--until", "1999-05-23"]
        assert main(["ledger", *days, "--json", str(result)]) == 0
    finally:
        worker.terminate()
        worker.wait(20)
    ledger = json.loads(result.read_text())
    expected = backtest_cost(folder, file, since, until)
    assert expected["caught"] > 0
    assert {name: ledger[name] for name in expected} == expected
    assert ledger["saved"] == expected["never_cost"] - expected["cost"]


def _metric(url, name):
    try:
        text = urllib.request.urlopen(url, timeout=5).read().decode()
    except OSError:
        return -1.0
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))
