"""A fleet on a real broker: a machine that training knows, and a stranger whose first steps are cut by kills."""

import json
import random
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.bundle.bundle import load_bundle, write_bundle
from stream_detector.bundle.manifest import FleetRecord, ThresholdRecord
from stream_detector.detection.config import EpisodeConfig, GridConfig, ModelConfig, ScalerConfig
from stream_detector.detection.fleet.fleet import Fleet
from stream_detector.detection.models.registry import build
from stream_detector.detection.scaling import Scaler
from stream_detector.engine.assets.snapshots import load
from stream_detector.engine.engine import Engine, RecordBatch
from stream_detector.messages import to_bytes
from tests.streaming.worker.conftest import Start
from tests.streaming.worker.test_two_detectors import require_good
from tests.support.bundles import small_manifest
from tests.support.plant import BASE, SENSORS, STEP_SECONDS, Record
from tests.support.stack.kafka import Kafka, create_topic
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

LEVELS = {"known": (50.0, 3.0), "stranger": (2000.0, 40.0)}
"""(level, deviation) of every sensor."""
STEPS, PROVISIONAL, LEAST = 400, 200, 30
KILLED_AFTER = (90, 150, 300)
"""Steps; two of them while the stranger is provisional."""


def write_fleet(folder: Path) -> Path:
    config, sensors = ModelConfig(kind="mahalanobis"), len(SENSORS)
    manifest = small_manifest(
        sensors=SENSORS, grid=GridConfig(step_seconds=STEP_SECONDS, max_gap_steps=2), model=config,
        scaler=ScalerConfig(kind="standard"), episode=EpisodeConfig(hold_steps=2, max_steps=10),
        threshold=ThresholdRecord(value=2.5, policy="fixed", how="chosen so that noise raises alarms often"),
        fleet=FleetRecord(assets=("known",), provisional_steps=PROVISIONAL, least_steps=LEAST),
    )  # fmt: skip
    assert manifest.fleet is not None
    level, deviation = LEVELS["known"]
    common = Scaler(np.full(sensors, level), np.full(sensors, deviation))
    fleet = Fleet(
        manifest.fleet,
        manifest.scaler,
        manifest.transform,
        {"known": 0},
        common.center[None],
        common.scale[None],
        common,
    )
    probes = level + deviation * np.random.default_rng(0).normal(size=(4, 4, sensors))
    rows = np.zeros(4, np.int64)
    write_bundle(folder, manifest, build(config, 4, sensors), common, probes, fleet=fleet, probe_assets=rows)
    return folder


def rows(steps: range) -> Iterator[Record]:
    rng = random.Random(steps.start)
    for step in steps:
        for asset, (level, deviation) in LEVELS.items():
            values = {sensor: round(level + deviation * rng.gauss(0, 1), 3) for sensor in SENSORS}
            body = {"time": BASE + step * STEP_SECONDS, "values": values}
            yield Record(0, asset.encode(), json.dumps(body).encode())


def shown_of(worker: WorkerProcess, asset: str) -> dict[str, Any]:
    """What the console of the worker says first of the asset; empty where it does not know it yet."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/console/api/stream", timeout=10) as stream:
        lines = (line for line in stream if line.startswith(b"data: "))
        told = next(found for line in lines if "assets" in (found := json.loads(line[6:])))
    return next((each for each in told["assets"] if each["asset"] == asset), {})


@pytest.mark.kafka
def test_a_stranger_learns_its_scale_across_kills_as_if_there_had_been_none(
    kafka: Kafka, unique_name: str, start: Start, tmp_path: Path
) -> None:
    address, readings, bundle = kafka.bootstrap, topic(unique_name, "readings"), write_fleet(tmp_path / "bundle")
    create_topic(address, readings, 1)
    log: list[Record] = []
    worker = start(address, unique_name, instance="w", bundle=bundle)
    for begin, end in zip((0, *KILLED_AFTER), (*KILLED_AFTER, STEPS), strict=True):
        part = list(rows(range(begin, end)))
        log += part
        produce(address, readings, part)
        wait_for(lambda: caught_up(address, unique_name), 90, "everything is committed", each=0.3)
        wait_for(
            lambda end=end: worker.metric("stream_detector_provisional") == (end <= PROVISIONAL),  # type: ignore[misc]
            30,
            "the gauge says whether the stranger is provisional",
        )
        wanted_steps = PROVISIONAL if end <= PROVISIONAL else 0
        wait_for(
            lambda wanted=wanted_steps: shown_of(worker, "stranger").get("scale_steps_wanted") == wanted,  # type: ignore[misc]
            30,
            "the console says so too",
        )
        if end <= PROVISIONAL:
            assert shown_of(worker, "stranger")["state"] != "normal"
        worker.kill()
        if end < STEPS:
            worker.start()
            wait_for(lambda: worker.get("/readyz")[0] == 200, 90, "ready")

    columns = [each.key for each in log], [each.value for each in log]
    whole = Engine(load_bundle(bundle)).process(RecordBatch(readings, 0, range(len(log)), *columns, [-1] * len(log)))
    alarms = [alarm for alarm in whole.alarms if alarm.asset == "stranger"]
    assert {alarm.provisional for alarm in alarms} == {True, False}
    assert any(alarm.asset == "known" for alarm in whole.alarms)
    assert alarms_of(address, unique_name) == {(alarm.id, alarm.state): to_bytes(alarm) for alarm in whole.alarms}
    kept = [load(record.value) for record in read_topic(address, topic(unique_name, "state")) if record.value]
    scales = {snapshot.scale for snapshot in kept if snapshot is not None and snapshot.until == len(log)}
    wanted = {found.scale for _, data in whole.snapshots if data is not None and (found := load(data)) is not None}
    assert scales <= wanted
    require_good(address, bundle, topic_environment(unique_name))
