"""Two detectors with two bundles on one cluster, each for its machines, as docs/deploy.md says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.streaming.worker.conftest import Start
from tests.support.paths import ROOT
from tests.support.plant import make_log, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import alarms_of, committed_offsets_of, ends_of, produce, topic_environment, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MACHINES = {"a": {"machine-0", "machine-1"}, "b": {"machine-2", "machine-3", "machine-4"}}


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
        audit = subprocess.run(
            [sys.executable, "-m", "stream_detector", "audit", "--bundle", str(bundles[name])],
            env={
                **os.environ, **topic_environment(group), **environments[name],
                "STREAM_DETECTOR_BOOTSTRAP": kafka.bootstrap,
            },
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert audit.returncode == 0, audit.stdout + audit.stderr
