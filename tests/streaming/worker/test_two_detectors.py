"""Two bundles on one topic, each for its machines, as docs/deploy.md says: two detectors, or one with a table."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stream_detector.decoding.control_records import Order
from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.orders import send_switch
from tests.streaming.worker.conftest import Start
from tests.support.paths import ROOT
from tests.support.plant import make_log, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import (
    alarms_of,
    caught_up,
    committed_offsets_of,
    ends_of,
    produce,
    topic,
    topic_environment,
    wait_for,
)

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MACHINES = {"a": {"machine-0", "machine-1"}, "b": {"machine-2", "machine-3", "machine-4"}}


def require_good(bootstrap: str, bundle: Path, environment: dict[str, str]) -> None:
    """The command `audit` finds no fault with the group that the environment names."""
    audit = subprocess.run(
        [sys.executable, "-m", "stream_detector", "audit", "--bundle", str(bundle), "--bootstrap", bootstrap],
        env={**os.environ, **environment},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_each_decides_on_its_machines_by_its_bundle_and_both_keep_the_promise(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, tmp_path: Path
) -> None:
    readings = f"{unique_name}.readings"
    create_topic(kafka.bootstrap, readings, 4)
    bundles = {
        "a": small_bundle(tmp_path / "a"),
        "b": small_bundle(tmp_path / "b", sensors=("s1", "s3"), kind="principal-components"),
    }
    environments = {
        name: {"STREAM_DETECTOR_TOPIC_READINGS": readings, "STREAM_DETECTOR_ALLOWED_ASSETS": ",".join(sorted(machines))}
        for name, machines in MACHINES.items()
    }
    groups = {name: f"{unique_name}-{name}" for name in MACHINES}
    for name, group in groups.items():
        start(kafka.bootstrap, group, bundle=bundles[name], environment=environments[name])
    produce(kafka.bootstrap, readings, make_log(7, steps=150))
    ends = {(readings, number): end for number, end in ends_of(kafka.bootstrap, readings).items() if end}
    for name, group in groups.items():
        wait_for(lambda g=group: committed_offsets_of(kafka.bootstrap, g) == ends, 90, "all is committed")  # type: ignore[misc]
        alarms = alarms_of(kafka.bootstrap, group)
        assert {json.loads(content)["asset"] for content in alarms.values()} == MACHINES[name]
        require_good(kafka.bootstrap, bundles[name], {**topic_environment(group), **environments[name]})


TABLE = """
[[bundles]]
assets = "machine-*"
bundle = "first"
[[bundles]]
assets = "machine-[135]"
bundle = "second"
"""
KILLS = 3


def test_one_worker_with_a_table_of_both_keeps_the_promise_though_it_is_killed_under_load(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, tmp_path: Path
) -> None:
    small_bundle(tmp_path / "first")
    small_bundle(tmp_path / "second", threshold=1.5, sensors=("s3", "s1"), step_seconds=20.0)
    table, chance, name = tmp_path / "plant.toml", random.Random(unique_name), topic(unique_name, "readings")
    table.write_text(TABLE)
    create_topic(kafka.bootstrap, name, 2)
    log = make_log(7, steps=400, partitions=2)
    sending = threading.Thread(target=produce, args=(kafka.bootstrap, name, log, 800))
    sending.start()
    for _ in range(KILLS):
        worker = start(kafka.bootstrap, unique_name, instance="w", bundle=table)
        wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 90, "ready")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 2))
        worker.kill()
    sending.join()
    last = start(kafka.bootstrap, unique_name, instance="w", bundle=table)
    wait_for(lambda: last.get("/readyz")[0] == 200 and caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    assert last.metric("stream_detector_bundle_info") == len(("first", "second"))
    assert last.stop() == 0
    alarms = [json.loads(content) for content in alarms_of(kafka.bootstrap, unique_name).values()]
    bundles = {(alarm["asset"][-1] in "135", alarm["bundle"]) for alarm in alarms}
    assert len(bundles) == len({bundle for _, bundle in bundles}) == len(("first", "second"))
    require_good(kafka.bootstrap, table, topic_environment(unique_name))
    settings = Settings(bootstrap=kafka.bootstrap, group=unique_name, topic_readings=name)
    with pytest.raises(UsageError, match="decides by a table of bundles"):
        send_switch(settings, Order("", unique_name, "0123456789abcdef"), lambda: None, lambda: None)
