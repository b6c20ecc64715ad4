"""A machine that stands, and one in planned downtime: from readings on a real broker to people, metrics and ledger."""

import json
import random
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream_detector.__main__ import main
from stream_detector.detection.config import OperatingConfig
from stream_detector.messages import LoggedEvent, to_iso
from tests.streaming.feeds.test_forwarding import Forwarder, ids, until
from tests.support.plant import SENSORS, STEP_SECONDS, small_bundle
from tests.support.stack.http_receiver import HttpReceiver
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

WAIT_SECONDS = 200.0

RUNS, STANDS = 3.0, -1.0
"""What the first sensor reads; every step of a machine that runs is above the threshold, and so would noise be."""


def test_a_machine_that_stands_and_one_in_planned_downtime_trouble_nobody_and_cost_nothing(
    kafka: Kafka | ExistingKafka,
    unique_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = time.time() // STEP_SECONDS * STEP_SECONDS - 3_600
    calendar = tmp_path / "calendar.toml"
    window = f"from = {to_iso(base - 3_600)}\nuntil = {to_iso(base + 7_200)}"
    calendar.write_text(f'[[window]]\nassets = "pm-2"\nwhat = "boiler inspection"\n{window}\n')
    monkeypatch.setenv("STREAM_DETECTOR_CALENDAR_FILE", str(calendar))
    bundle = small_bundle(tmp_path / "bundle", operating=OperatingConfig(when="s1 > 0", hold_steps=2))
    noise = random.Random(1)
    with HttpReceiver() as receiver:
        forwarder = Forwarder(kafka.bootstrap, unique_name, tmp_path, WEBHOOK_URLS=receiver.url)
        create_topic(kafka.bootstrap, f"{unique_name}-readings", partitions=2)
        topics = {name: value for name, value in forwarder.environment.items() if "_TOPIC_" in name}
        worker = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "worker.log", environment=topics)

        def send(asset: str, steps: range, speed: float) -> None:
            for step in steps:
                values = {sensor: noise.gauss(0.0, 3.0) for sensor in SENSORS} if speed == STANDS else {}
                values = {**dict.fromkeys(SENSORS, RUNS), **values, "s1": speed}
                row = json.dumps({"time": base + step * STEP_SECONDS, "values": values})
                forwarder.producer.produce(f"{unique_name}-readings", row, key=asset.encode())
            assert forwarder.producer.flush(20) == 0

        def shown(name: str) -> dict[str, float]:
            families = text_string_to_metric_families(worker.get("/metrics")[1])
            found = [
                sample for family in families for sample in family.samples if sample.name == f"stream_detector_{name}"
            ]
            return {sample.labels["asset"]: sample.value for sample in found}

        def missed() -> tuple[float | None, float | None]:
            """What the console says, and the forwarder's gauge."""
            with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/console/api/stream", timeout=10) as stream:
                lines = (line.decode() for line in stream if line.startswith(b"data: "))
                told: dict[str, Any] = next(json.loads(line[6:]) for line in lines if '"ledger"' in line)
            gauge = forwarder.metric("ledger_events_missed").values()
            return told["ledger"]["total"].get("missed"), sum(gauge) if gauge else None

        def settled() -> bool:
            """Both say so for a while: a console that began before the worker made its topics looks for them later."""
            for _ in range(4):
                if missed() != (1, 1):
                    return False
                time.sleep(1.0)
            return True

        try:
            worker.start()
            forwarder.start()
            for asset in ("pm-1", "pm-2"):
                send(asset, range(12), RUNS)
            until(lambda: len(ids(receiver)) == 1, WAIT_SECONDS)
            until(lambda: shown("alarms_raised_total") == {"pm-1": 1.0, "pm-2": 1.0}, WAIT_SECONDS)
            until(lambda: set(shown("score")) == {"pm-1", "pm-2"}, WAIT_SECONDS)
            send("pm-1", range(12, 200), STANDS)
            send("pm-2", range(12, 200), STANDS)
            until(lambda: shown("not_running") == {"pm-1": 1.0, "pm-2": 1.0}, WAIT_SECONDS)
            until(lambda: len(ids(receiver)) == 2, WAIT_SECONDS)
            assert shown("score") == {}
            for step in (0, 100):  # the first one is missed: no window is full then
                forwarder.send("events", LoggedEvent(asset="pm-1", time=to_iso(base + step * STEP_SECONDS), event="e"))
            until(settled, WAIT_SECONDS)
            assert shown("alarms_raised_total") == {"pm-1": 1.0, "pm-2": 1.0}, "noise on a standing machine"
        finally:
            worker.stop()
            forwarder.stop()
        assert f"metrics, console on http://127.0.0.1:{worker.port}/\n" in worker.log_text()
        told = {(body["alarm"]["asset"], body["status"]) for body in receiver.bodies}
        assert told == {("pm-1", "firing"), ("pm-1", "resolved")}
    for name, value in topics.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    assert main(["ledger", "--bootstrap", kafka.bootstrap, "--json", "-"]) == 0
    ledger = json.loads(capsys.readouterr().out)
    assert (ledger["alarms"], [each["asset"] for each in ledger["per_asset"]]) == (1, ["pm-1"])
    assert main(["ledger", "--bootstrap", kafka.bootstrap, "--with-planned", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["alarms"] == 2
    for options, events in (([], 1), (["--bundle", str(bundle)], 1), (["--with-standing"], 2)):
        assert main(["ledger", "--bootstrap", kafka.bootstrap, *options, "--json", "-"]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["events"] == events
        assert ("1 events before which the machine did not run do not count" in said.err) == (events == 1)
    monkeypatch.setenv("STREAM_DETECTOR_BUNDLE", str(bundle))
    page = ["report", "--bootstrap", kafka.bootstrap, "--since", to_iso(base), "--out", str(tmp_path / "report.html")]
    assert main(page) == 0
    assert "0 of 1 events announced" in capsys.readouterr().out
