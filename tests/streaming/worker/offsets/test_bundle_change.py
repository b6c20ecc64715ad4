"""Bundles take turns in one group, on real Kafka: killed in the midst of alarms, forth and back."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.streaming.worker.conftest import Start
from tests.support.paths import ROOT
from tests.support.plant import BASE, SENSORS, STEP_SECONDS, Record, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import alarms_of, caught_up, produce, topic, topic_environment, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ASSETS = 12
PER_SECOND = 500
ROUNDS = 4


def plant(ending: threading.Event) -> Iterator[Record]:
    """Assets whose alarms come and go all the time, and end quiet."""
    step = 0
    quiet = 0
    while quiet < 40:
        quiet += ending.is_set()
        for number in range(ASSETS):
            value = 9.0 if not quiet and (step // 4 + number) % 5 == 0 else 0.1
            body = {"time": BASE + step * STEP_SECONDS, "values": dict.fromkeys(SENSORS, value)}
            yield Record(number % 2, f"m{number}".encode(), json.dumps(body).encode())
        step += 1


def audit(bootstrap: str, prefix: str, folder: Path, *bundles: Path) -> dict[str, object]:
    out = folder / "audit.json"
    named = [word for bundle in bundles for word in ("--bundle", str(bundle))]
    command = [sys.executable, "-m", "stream_detector", "audit", *named, "--bootstrap", bootstrap, "--json", str(out)]
    subprocess.run(command, env={**os.environ, **topic_environment(prefix)}, cwd=ROOT, check=False)
    found: dict[str, object] = json.loads(out.read_bytes())
    return found


def test_bundles_that_take_turns_leave_no_alarm_open_and_the_audit_follows_them(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start, tmp_path: Path
) -> None:
    first, second = small_bundle(tmp_path / "first", threshold=2.75), small_bundle(tmp_path / "second", threshold=2.76)
    name, chance, ending = topic(unique_name, "readings"), random.Random(unique_name), threading.Event()
    create_topic(kafka.bootstrap, name, 2)
    sending = threading.Thread(target=produce, args=(kafka.bootstrap, name, plant(ending), PER_SECOND))
    sending.start()
    try:
        for number in range(ROUNDS):
            worker = start(kafka.bootstrap, unique_name, instance="w", bundle=(first, second)[number % 2])
            wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 90, "ready")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 2))
            worker.kill()
    finally:
        ending.set()
        sending.join()
    last = start(kafka.bootstrap, unique_name, instance="w", bundle=first)
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
    last.kill()

    alarms = alarms_of(kafka.bootstrap, unique_name)  # asserts that no alarm has two contents
    raised, cleared = ({id_ for id_, state in alarms if state == wanted} for wanted in ("raised", "cleared"))
    assert raised == cleared
    both = audit(kafka.bootstrap, unique_name, tmp_path, first, second)
    found = both
    assert both["good"], str(found)[-12000:]
    assert both["alarms"] == len(alarms)
    assert not both["not_judged"]
    one = audit(kafka.bootstrap, unique_name, tmp_path, second)
    assert one["good"]
    assert one["not_judged"]
