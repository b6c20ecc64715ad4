"""A machine that stops for good, on a real broker: a restart reads what the others need, and no more."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_detector.bundle.bundle import load_bundle
from stream_detector.engine.engine import Engine, RecordBatch
from stream_detector.messages import to_bytes
from tests.streaming.worker.conftest import Start
from tests.support.plant import BASE, SENSORS, STEP_SECONDS, Record
from tests.support.stack.kafka import Kafka, create_topic
from tests.support.stack.workers import WorkerProcess, alarms_of, caught_up, produce, topic, wait_for

STEPS = 55_000
"""Of two machines, a week at ten seconds: more records than an asset may hold a restart back for."""

MOST_READ_AGAIN = 10_000
"""What came between two looks at who holds a restart back; without the stopped machine about a hundred records."""


def rows(assets: tuple[str, ...], steps: range) -> Iterator[Record]:
    rng = random.Random(steps.start)
    for step in steps:
        for asset in assets:
            values = {sensor: round(rng.gauss(0, 1), 3) for sensor in SENSORS}
            body = {"time": BASE + step * STEP_SECONDS, "values": values}
            yield Record(0, asset.encode(), json.dumps(body).encode())


def read_again_by(worker: WorkerProcess) -> int:
    found = re.findall(r"from (\d+), in silence up to (\d+)", worker.log_text())
    assert found
    begin, end = map(int, found[-1])
    return end - begin


@pytest.mark.kafka
@pytest.mark.slow
def test_a_restart_reads_back_no_more_for_the_machine_that_stands_still(
    kafka: Kafka, unique_name: str, bundle: Path, start: Start
) -> None:
    address, readings = kafka.bootstrap, topic(unique_name, "readings")
    create_topic(address, readings, 1)
    before = [*rows(("stopped", "m1", "m2"), range(50)), *rows(("m1", "m2"), range(50, STEPS))]
    # It comes back in the midst of its run: the windows of before are part of its first ones.
    after = list(rows(("stopped",), range(50, 150)))
    worker = start(address, unique_name)
    produce(address, readings, before)
    wait_for(lambda: caught_up(address, unique_name), 120, "everything is committed", each=1.0)
    wait_for(
        lambda: worker.metric("stream_detector_rebuild_records") < MOST_READ_AGAIN, 60, "windows lie in a snapshot"
    )
    worker.kill()
    worker.start()
    wait_for(lambda: worker.get("/readyz")[0] == 200, 60, "ready")
    assert read_again_by(worker) < MOST_READ_AGAIN
    produce(address, readings, after)
    wait_for(lambda: caught_up(address, unique_name), 60, "everything is committed", each=0.5)
    assert worker.stop() == 0

    log = [*before, *after]
    whole = RecordBatch(
        readings, 0, range(len(log)), [each.key for each in log], [each.value for each in log], [-1] * len(log)
    )
    wanted = Engine(load_bundle(bundle)).process(whole).alarms
    assert any(alarm.asset == "stopped" for alarm in wanted)
    assert alarms_of(address, unique_name) == {(alarm.id, alarm.state): to_bytes(alarm) for alarm in wanted}
