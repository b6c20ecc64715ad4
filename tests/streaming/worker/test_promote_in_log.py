"""`promote` and `rollback` with --bootstrap on real Kafka, under load: the same processes, and a short pause."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.decoding.control_records import Order
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.orders import send_switch
from stream_detector.streaming.feeds.service_history import read_service
from tests.streaming.worker.conftest import Start
from tests.streaming.worker.offsets.test_bundle_change import audit
from tests.streaming.worker.test_bundle_watch import decides_by
from tests.support.paths import ROOT
from tests.support.plant import SENSORS, Record, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import (
    WorkerProcess,
    alarms_of,
    caught_up,
    produce,
    read_topic,
    topic,
    topic_environment,
    wait_for,
)
from tests.support.switches import decided_by_log, engines_from

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

SILENT = "silent-machine"
PER_SECOND = 150
ASSETS = 12
STEP_SECONDS = ASSETS / PER_SECOND
"""Event time goes by as time does: a switch reads the log back by the time of its records."""


def plant(ending: threading.Event) -> Iterator[Record]:
    """Assets whose alarms come and go all the time, and end quiet, and one that is silent after its first step.

    A sender that is late leaves steps out: else its event time would fall behind the time of its records, by which a
    switch reads the log back.
    """
    begin, step, quiet = round(time.time() / STEP_SECONDS), 0, 0
    while quiet < 40:
        step = max(step, round(time.time() / STEP_SECONDS) - begin)
        quiet += ending.is_set()
        for number in range(ASSETS):
            value = 9.0 if not quiet and (step // 10 + number) % 5 == 0 else 0.1
            body = {"time": (begin + step) * STEP_SECONDS, "values": dict.fromkeys(SENSORS, value)}
            yield Record(number % 2, f"m{number}".encode(), json.dumps(body).encode())
            if step == 0 and number == 0:
                yield Record(0, SILENT.encode(), json.dumps(body).encode())
        step += 1


def _bundle(folder: Path, number: int) -> Path:
    return small_bundle(folder / f"b{number}", threshold=2.75 - 0.3 * number, step_seconds=STEP_SECONDS)


def test_promotion_and_rollback_in_the_log_switch_running_workers_with_a_short_pause(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry.create(tmp_path / "registry")
    old, new = (add_bundle(registry, _bundle(tmp_path, number), 1.78e9, "Kim") for number in range(2))
    registry.promote("champion", old.manifest.bundle_id, "2026-11-01T00:00:00Z", "Kim")
    name, ending = topic(unique_name, "readings"), threading.Event()
    create_topic(kafka.bootstrap, name, 2)
    alias = registry.folder / "champion"
    workers = [start(kafka.bootstrap, unique_name, instance=f"w{number}", bundle=alias) for number in range(2)]
    for worker in workers:
        wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 240, "ready")  # type: ignore[misc]
    ids = [worker.process.pid for worker in workers if worker.process is not None]
    sending = threading.Thread(target=produce, args=(kafka.bootstrap, name, plant(ending), PER_SECOND))
    sending.start()
    try:
        time.sleep(2)
        begun = time.time()
        for words, wanted in (
            (["promote", new.manifest.bundle_id], new),
            (["rollback"], old),
            (["promote", new.manifest.bundle_id], new),
        ):
            command = [sys.executable, "-m", "stream_detector", *words, "--registry", str(registry.folder)]
            command += ["--bootstrap", kafka.bootstrap, "--why", "a trial"]
            subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, **topic_environment(unique_name)})
            for worker in workers:
                wait_for(partial(decides_by, worker, wanted.manifest.bundle_id), 120, "switched")
    finally:
        ending.set()
        sending.join()
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    assert [worker.process.pid for worker in workers if worker.process is not None] == ids
    pauses = [float(found) for w in workers for found in re.findall(r"decisions paused for ([\d.]+) s", w.log_text())]
    print(f"pauses of decisions: {', '.join(f'{pause:.3f}' for pause in pauses)} s")
    for key, value in topic_environment(unique_name).items():
        monkeypatch.setenv(key, value)
    service = asyncio.run(read_service(Settings.load(bootstrap=kafka.bootstrap)))
    assert service is not None
    ids_of_bundles = [each.manifest.bundle_id for each in (old, new)]
    assert (service.at(begun), service.at(time.time())) == tuple(ids_of_bundles), "the ledger knows who was in service"
    assert service.between(None, None) == sorted(ids_of_bundles)
    assert len(pauses) == 6
    # No bundle but the first has ever heard it.
    gauge = re.compile(rf'^stream_detector_watermark_timestamp_seconds{{[^}}]*asset="{SILENT}"', re.MULTILINE)
    assert sum(len(gauge.findall(worker.get("/metrics")[1])) for worker in workers) == 1
    for worker in workers:
        assert worker.stop() == 0

    alarms = alarms_of(kafka.bootstrap, unique_name)  # asserts that no alarm has two contents
    engine_of = engines_from(registry, Settings())
    said = decided_by_log(read_topic(kafka.bootstrap, name), unique_name, old.manifest.bundle_id, engine_of)
    assert said.switches == 6
    assert alarms == said.alarms
    # It fetches by itself what else has decided.
    found = audit(kafka.bootstrap, unique_name, tmp_path, alias)
    assert found["good"], str(found)[-4000:]
    assert not found["not_judged"]


def test_workers_that_stand_before_a_record_end_in_order_rebalance_and_go_on_when_the_bundle_comes(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, tmp_path: Path
) -> None:
    registry, waiting = Registry.create(tmp_path / "registry"), tmp_path / "elsewhere"
    old = add_bundle(registry, _bundle(tmp_path, 0), 1.78e9, "Kim").manifest.bundle_id
    new = add_bundle(registry, _bundle(tmp_path, 1), 1.78e9, "Kim").manifest.bundle_id
    registry.folder_of(new).rename(waiting)  # on its way to this machine
    name, ending = topic(unique_name, "readings"), threading.Event()
    create_topic(kafka.bootstrap, name, 2)
    ending.set()
    produce(kafka.bootstrap, name, plant(ending))
    settings = Settings(bootstrap=kafka.bootstrap, topic_readings=name)
    send_switch(settings, Order("", unique_name, new, "", "Kim", "a trial"), lambda: None, lambda: None)
    produce(kafka.bootstrap, name, plant(ending))

    def stands(worker: WorkerProcess) -> bool:
        return new in worker.get("/readyz")[1]

    first = start(kafka.bootstrap, unique_name, instance="w0", bundle=registry.folder / old)
    wait_for(partial(stands, first), 240, "it stands before the record")
    assert first.stop() == 0
    first.start()
    wait_for(partial(stands, first), 240, "it stands there again")
    second = start(kafka.bootstrap, unique_name, instance="w1", bundle=registry.folder / old)
    wait_for(partial(stands, second), 240, "the other one has joined, and stands there too")
    waiting.rename(registry.folder_of(new))
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 120, "all is committed")
    for worker in (first, second):
        wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 60, "ready")  # type: ignore[misc]
        assert worker.stop() == 0
    found = audit(kafka.bootstrap, unique_name, tmp_path, registry.folder / old)
    assert found["good"], str(found)[-4000:]
    assert not found["not_judged"]
