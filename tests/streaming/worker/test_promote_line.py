"""`promote --assets` and `rollback --assets` on real Kafka, under load, while workers are killed at random moments."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.settings import Settings
from tests.streaming.worker.conftest import Start
from tests.streaming.worker.test_promote_in_log import PER_SECOND, STEP_SECONDS, plant
from tests.streaming.worker.test_two_detectors import require_good
from tests.support.paths import ROOT
from tests.support.plant import SENSORS, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import (
    alarms_of,
    caught_up,
    produce,
    read_topic,
    topic,
    topic_environment,
    wait_for,
)
from tests.support.switches import decided_by_table, engines_from

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

NEW_LINE = "m1[01]"


def test_lines_of_a_table_change_and_go_back_in_running_workers_that_are_killed_meanwhile(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, tmp_path: Path
) -> None:
    registry, chance = Registry.create(tmp_path / "registry"), random.Random(unique_name)
    a, b, c = (
        add_bundle(registry, small_bundle(tmp_path / f"b{number}", **changes), 1.78e9, "Kim").manifest.bundle_id
        for number, changes in enumerate(
            [
                {"threshold": 2.75, "step_seconds": STEP_SECONDS},
                {"threshold": 2.45, "step_seconds": STEP_SECONDS * 2},
                {"threshold": 1.9, "step_seconds": STEP_SECONDS, "sensors": SENSORS[:3]},
            ]
        )
    )
    table, name, ending = tmp_path / "plant.toml", topic(unique_name, "readings"), threading.Event()
    lines = {"*": a, "m[0-4]": b}
    table.write_text(
        "".join(f'[[bundles]]\nassets = "{glob}"\nbundle = "registry/{its}"\n' for glob, its in lines.items())
    )
    create_topic(kafka.bootstrap, name, 2)
    workers = [start(kafka.bootstrap, unique_name, instance=f"w{number}", bundle=table) for number in range(2)]
    for worker in workers:
        wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 240, "ready")  # type: ignore[misc]
    sending = threading.Thread(target=produce, args=(kafka.bootstrap, name, plant(ending), PER_SECOND))
    sending.start()
    try:
        for words in (
            ["promote", c, "--assets", "m[0-4]"],
            ["promote", b, "--assets", NEW_LINE],
            ["rollback", "--assets", "m[0-4]"],
            ["rollback", "--assets", NEW_LINE],
        ):
            command = [sys.executable, "-m", "stream_detector", *words, "--registry", str(registry.folder)]
            environment = {**os.environ, **topic_environment(unique_name)}
            asked = subprocess.run([*command, "--bootstrap", kafka.bootstrap], cwd=ROOT, env=environment, check=False)
            killed = chance.choice(workers)
            time.sleep(chance.uniform(0.0, 1.5))
            killed.kill()
            assert asked.returncode == 0
            killed.start()
            wait_for(lambda w=killed: w.get("/readyz")[0] == 200, 240, "ready again")  # type: ignore[misc]
    finally:
        ending.set()
        sending.join()
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    for worker in workers:
        assert worker.stop() == 0

    alarms = alarms_of(kafka.bootstrap, unique_name)  # asserts that no alarm has two contents
    said = decided_by_table(read_topic(kafka.bootstrap, name), unique_name, lines, engines_from(registry, Settings()))
    assert said.switches == 8
    assert alarms == said.alarms
    require_good(kafka.bootstrap, table, topic_environment(unique_name))
