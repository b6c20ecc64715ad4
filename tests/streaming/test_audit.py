import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stream_detector.__main__ import main
from stream_detector.streaming.audit import audit
from stream_detector.streaming.audit.report import Audit, OnTheWay
from tests.support.paths import ROOT
from tests.support.plant import BASE, SENSORS, STEP_SECONDS, Record, make_log, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import (
    WorkerProcess,
    caught_up,
    produce,
    read_topic,
    topic,
    topic_environment,
    wait_for,
)

METRICS = """\
# HELP stream_detector_readings_received_total Readings received
stream_detector_readings_received_total{{partition="0"}} {received}
stream_detector_readings_windowed_total{{partition="0"}} 90.0
stream_detector_readings_late_total{{partition="0"}} 4.0
stream_detector_readings_duplicate_total{{partition="0"}} 3.0
stream_detector_readings_dead_lettered_total{{partition="0"}} 2.0
stream_detector_readings_held{{partition="0"}} 1.0
"""


@pytest.fixture
def metrics(request: pytest.FixtureRequest) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS.format(received=request.param).encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()


@pytest.mark.parametrize("metrics", ["99.0"], indirect=True)
def test_counters_that_add_up_are_accounted_for(metrics: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--metrics", metrics]) == 0
    assert (
        "99 received = 90 windowed + 4 late + 3 duplicate + 2 dead-lettered + 0 ignored; 1 held aside"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("metrics", ["100.0"], indirect=True)
def test_a_reading_that_is_nowhere_fails_the_audit(metrics: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--metrics", metrics]) == 1
    assert "NOT accounted for" in capsys.readouterr().out


@pytest.mark.parametrize(("lost", "code", "said"), [([], 75, "as far as it can be judged"), (["a/raised"], 1, "NOT")])
def test_an_audit_that_cannot_judge_everything_yet_says_so(
    lost: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async def found(*_: object, **__: object) -> Audit:
        return Audit(on_the_way=[OnTheWay(1, 20, 50)], alarms_lost=lost)

    monkeypatch.setattr(audit, "audit_log", found)
    out = tmp_path / "audit.json"
    bundle = small_bundle(tmp_path / "bundle")
    assert main(["audit", "--bundle", str(bundle), "--bootstrap", "none:1", "--json", str(out)]) == code
    printed = capsys.readouterr().out
    assert "partition 1: offsets 20 to 50 cannot be judged yet" in printed
    assert said in printed
    assert json.loads(out.read_bytes())["on_the_way"] == [{"partition": 1, "begin": 20, "end": 50}]


def test_an_audit_needs_a_bundle_or_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 2
    assert "--bundle" in capsys.readouterr().err


def audited(bootstrap: str, prefix: str, bundle: Path, folder: Path, alarms: str) -> dict[str, Any]:
    """What `stream-detector audit --json` says of the topics with that prefix."""
    environment = {**os.environ, **topic_environment(prefix), "STREAM_DETECTOR_TOPIC_ALARMS": alarms}
    out = folder / "audit.json"
    done = subprocess.run(
        [sys.executable, "-m", "stream_detector", "audit", "--bundle", str(bundle), "--bootstrap", bootstrap,
         "--json", str(out)],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(out.read_text())
    assert done.returncode == (0 if result["good"] else 1), done.stdout + done.stderr
    return result


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["principal-components", "recurrent-autoencoder"])
def test_an_audit_gives_the_alarms_of_a_killed_worker_whatever_the_model(
    kind: str, kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path
) -> None:
    sensors = tuple(f"s{number}" for number in range(60))
    bundle = small_bundle(tmp_path / "bundle", sensors=sensors, kind=kind)
    readings = topic(unique_name, "readings")
    create_topic(kafka.bootstrap, readings, 1)
    rng, log = random.Random(5), []
    for place in range(100 * 20):
        values = {sensor: round(rng.gauss(0, 1), 3) for sensor in sensors}
        row = {"time": BASE + place // 20 * STEP_SECONDS, "values": values}
        log.append(Record(0, f"machine-{place % 20}".encode(), json.dumps(row).encode()))
    worker = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "log", "w").start()
    try:
        # Sent in pieces, so that the worker's batches are others than the audit's; killed between two of them.
        for start in range(0, len(log), 130):
            produce(kafka.bootstrap, readings, log[start : start + 130])
            time.sleep(0.2)
            if start in (390, 1_040):
                worker.kill()
                worker.start()
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    finally:
        worker.kill()
    found = audited(kafka.bootstrap, unique_name, bundle, tmp_path, topic(unique_name, "alarms"))
    assert found["alarms"] > 100, "few alarms prove little"
    assert found["good"], {key: found[key] for key in ("alarms_lost", "alarms_different", "alarms_invented")}


@pytest.mark.kafka
@pytest.mark.slow
def test_the_audit_finds_what_was_invented_and_what_was_lost(
    kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 4)
    produce(kafka.bootstrap, topic(unique_name, "readings"), make_log(5, steps=80))
    worker = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "log").start()
    try:
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    finally:
        worker.kill()

    def audit(alarms: str) -> dict[str, Any]:
        return audited(kafka.bootstrap, unique_name, bundle, tmp_path, alarms)

    alarms = topic(unique_name, "alarms")
    true = audit(alarms)
    assert true["good"], true
    published = [record.value for record in read_topic(kafka.bootstrap, alarms)]
    first = json.loads(published[0])
    forged = topic(unique_name, "forged")
    create_topic(kafka.bootstrap, forged, 1)
    altered = [{**first, "score": first["score"] + 1}, {**first, "id": "invented"}]
    values = [json.dumps(body).encode() for body in altered] + published[2:]
    produce(kafka.bootstrap, forged, [Record(0, b"k", value) for value in values])
    false = audit(forged)
    assert not false["good"]
    assert (len(false["alarms_lost"]), len(false["alarms_different"])) == (1, 1)
    assert false["alarms_invented"] == ["invented/" + first["state"]]


@pytest.mark.kafka
@pytest.mark.slow
def test_an_audit_takes_the_limits_of_the_group_and_a_worker_with_others_ends(
    kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path
) -> None:
    """With room for one asset a partition, the readings of the second one are dead letters."""
    bundle = small_bundle(tmp_path / "bundle")
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 4)
    produce(kafka.bootstrap, topic(unique_name, "readings"), make_log(5, steps=80))
    narrow = {"STREAM_DETECTOR_MAX_ASSETS": "1"}
    worker = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "log", environment=narrow).start()
    try:
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    finally:
        worker.kill()
    done = subprocess.run(
        [sys.executable, "-m", "stream_detector", "audit", "--bundle", str(bundle), "--bootstrap", kafka.bootstrap],
        env={**os.environ, **topic_environment(unique_name)}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dead letters: 0 published" not in done.stdout

    wide = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "wide").start()
    try:
        assert wide.wait(60) == 2, wide.log_text()
    finally:
        wide.kill()
    assert "STREAM_DETECTOR_MAX_ASSETS is 20000 here and 1 in the group" in wide.log_text()
    assert "Traceback" not in wide.log_text()


def run_audit(
    kafka: Kafka | ExistingKafka, prefix: str, bundle: Path, out: Path, *more: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream_detector", "audit", "--bundle", str(bundle), "--bootstrap", kafka.bootstrap,
         "--json", str(out), *more],
        env={**os.environ, **topic_environment(prefix), **settings},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.kafka
@pytest.mark.slow
def test_a_mapped_log_with_junk_beside_it_is_accounted_for_and_a_group_that_knows_nothing_is_no_witness(
    kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path
) -> None:
    bundle, mapping = small_bundle(tmp_path / "bundle"), tmp_path / "mapping.json"
    mapping.write_text('{"time": "ts", "sensor": "tag", "value": "val"}')
    mapped = {"STREAM_DETECTOR_FIELD_MAPPING_FILE": str(mapping)}
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 1)
    readings = [
        Record(0, b"m1", json.dumps({"tag": sensor, "ts": BASE + step * STEP_SECONDS, "val": value}).encode())
        for step in range(60)
        for sensor in SENSORS
        for value in (0.1 if step % 20 < 12 else 99.0,)
    ]
    produce(kafka.bootstrap, topic(unique_name, "readings"), readings)
    worker = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "log", environment=mapped).start()
    try:
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    finally:
        worker.kill()
    junk = [b"junk", b"[]", b"{}", b"\xff"]
    for part in ("alarms", "dead_letters"):
        name = topic(unique_name, part)
        produce(kafka.bootstrap, name, [Record(0, b"k", value) for value in junk])
    done = run_audit(kafka, unique_name, bundle, tmp_path / "audit.json", **mapped)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "audit.json").read_text())
    assert (found["partitions"][0]["windowed"], found["alarms"] > 0) == (len(readings), True)
    other = run_audit(kafka, unique_name, bundle, tmp_path / "none.json", "--group", f"{unique_name}-other", **mapped)
    assert other.returncode == 2, other.stdout
    assert "has committed nothing" in other.stderr
    assert f"one of: {unique_name}" in other.stderr
    assert not (tmp_path / "none.json").exists()
