"""A small plant for tests on Kafka: a bundle that is made in a moment, and logs with everything that real ones have."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stream_detector.bundle.manifest import Manifest
    from stream_detector.detection.config import HeadConfig
    from stream_detector.detection.fleet.fleet import Fleet
    from stream_detector.detection.scaling import Scaler

SENSORS = tuple(f"s{number}" for number in range(1, 6))
STEP_SECONDS = 10.0
LATENESS_SECONDS = 30.0
BASE = 1_700_000_000.0 - 1_700_000_000.0 % STEP_SECONDS

CALIBRATED = "calibrated-head"
HEAD_INTERCEPT = -2.0
"""Low enough that noise is below the threshold for a part of the time."""

FLEET = "fleet"
FLEET_MACHINES = ("machine-0", "machine-3")
"""That training knows; the others of `make_log` learn their scale for most of a log of 250 steps."""


def small_bundle(
    folder: Path,
    threshold: float = 2.75,
    sensors: tuple[str, ...] = SENSORS,
    kind: str = "mahalanobis",
    step_seconds: float = STEP_SECONDS,
    **changes: Any,
) -> Path:
    """A bundle on a grid of 10 s, as a rule; its score is the distance from zero, so that noise raises alarms often.

    With another `kind` of model it has learnt noise, and half of the windows of noise are above its threshold. The kind
    `CALIBRATED` has a probability head with random weights beside the score, the kind `FLEET` a scale for each machine.
    `changes` replace parts of the manifest.
    """
    from stream_detector.bundle.bundle import write_bundle
    from stream_detector.bundle.manifest import FleetRecord, ThresholdRecord
    from stream_detector.detection.config import EpisodeConfig, GridConfig, ModelConfig, ScalerConfig
    from stream_detector.detection.models.registry import Learner, build, needs_labels
    from stream_detector.detection.scaling import Scaler
    from stream_detector.detection.scoring import Scorer
    from tests.support.bundles import small_manifest

    head = _some_head(sensors) if kind == CALIBRATED else None
    if kind == FLEET:
        record = FleetRecord(assets=FLEET_MACHINES, provisional_steps=160, least_steps=12)
        changes = {"scaler": ScalerConfig(kind="standard"), "fleet": record, **changes}
    kind = "mahalanobis" if kind in (CALIBRATED, FLEET) else kind
    config = ModelConfig(kind=kind, options={})
    parts = {
        "sensors": sensors,
        "grid": GridConfig(
            step_seconds=step_seconds,
            lateness_seconds=LATENESS_SECONDS * step_seconds / STEP_SECONDS,
            staleness_steps=6,
            max_gap_steps=2,
        ),
        "scaler": ScalerConfig(kind="none"),
        "model": config,
        "episode": EpisodeConfig(hold_steps=2, max_steps=10),
        "threshold": ThresholdRecord(value=threshold, policy="fixed", how="chosen so that noise raises alarms often"),
    }
    manifest = small_manifest(**(parts | changes))
    scaler = Scaler(np.zeros(len(sensors)), np.ones(len(sensors)))
    probes = np.random.default_rng(0).normal(size=(4, 4, len(sensors)))
    model = build(config, 4, len(sensors))
    if kind != "mahalanobis":
        noise = np.random.default_rng(1).normal(size=(600, 4, len(sensors)))
        if isinstance(model, Learner):
            learnt = noise[:400].astype(np.float32)
            labels = (np.arange(len(learnt)) % 5 == 0) & needs_labels(model)
            model.learn(learnt, np.ones(learnt.shape, bool), labels, seed=0)
        scores = Scorer(manifest.transform, scaler, model, manifest.score).score(noise[400:]).score
        fixed = manifest.threshold.model_copy(update={"value": float(np.median(scores))})
        manifest = manifest.model_copy(update={"threshold": fixed})
    if head is not None:
        manifest = manifest.model_copy(
            update={"head": head[0], "threshold": manifest.threshold.model_copy(update={"policy": "probability"})}
        )
    fleet = None if manifest.fleet is None else _some_fleet(manifest, scaler)
    rows = None if fleet is None else np.arange(len(probes)) % len(fleet.machines)
    write_bundle(
        folder, manifest, model, scaler, probes, None if head is None else head[1], fleet=fleet, probe_assets=rows
    )
    return folder


def _some_fleet(manifest: "Manifest", common: "Scaler") -> "Fleet":
    """Machines that swing differently, each by a scale of its own."""
    from stream_detector.detection.fleet.fleet import Fleet

    assert manifest.fleet is not None
    names = manifest.fleet.assets
    spread = np.linspace(0.8, 1.2, len(names))[:, None] * common.scale
    return Fleet(
        manifest.fleet, manifest.scaler, manifest.transform, {name: row for row, name in enumerate(names)},
        np.tile(common.center, (len(names), 1)), spread, common,
    )  # fmt: skip


def _some_head(sensors: tuple[str, ...]) -> tuple["HeadConfig", dict[str, Any]]:
    """A logistic head whose clocks and rates run; (its config, its arrays)."""
    from stream_detector.detection.config import HeadConfig, LeadConfig
    from stream_detector.detection.head.calibrated_head import fresh_state, head_arrays, read_options
    from stream_detector.detection.head.calibration import RateTracker
    from stream_detector.detection.head.ensemble import Ensemble, Linear
    from stream_detector.detection.head.features import Features

    config = HeadConfig(kind="calibrated", options={"features": {"lags": [1, 3], "volatility_steps": [4]}})
    options = read_options(config)
    features, tracker = Features(options.features, sensors), RateTracker(options.calibration, LeadConfig())
    size = len(features.names)
    weights = np.random.default_rng(2).normal(scale=0.4, size=size)
    linear = Linear(np.zeros(size), np.ones(size), weights, HEAD_INTERCEPT)
    ensemble = Ensemble(np.zeros(size, np.float32), linear, 1.0, ())
    return config, head_arrays(ensemble, 0.0, fresh_state(features, tracker))


@dataclass(frozen=True)
class Record:
    """One record of a log, in the order of the log."""

    partition: int
    key: bytes | None
    value: bytes | None


def make_log(seed: int, steps: int, assets: int = 6, partitions: int = 4) -> list[Record]:
    """`steps` steps of every asset, as a plant sends them: late, twice, missing, broken, with events and dead sensors.

    The order within a partition, and so every alarm, depends on the arguments alone.
    """
    rng = random.Random(seed)
    timed: list[tuple[float, int, Record]] = []
    for asset in range(assets):
        for moment, record in _asset_log(rng, asset, steps, partitions):
            timed.append((moment, len(timed), record))
    timed.sort(key=lambda entry: entry[:2])
    return [record for _, _, record in timed]


def _asset_log(rng: random.Random, asset: int, steps: int, partitions: int) -> Iterator[tuple[float, Record]]:
    key, partition = f"machine-{asset}".encode(), asset % partitions
    dead: dict[str, int] = {}
    trouble = 0.0
    for step in range(steps):
        time = BASE + step * STEP_SECONDS
        if rng.random() < 0.01:
            dead[rng.choice(SENSORS)] = step + rng.randint(3, 30)
        trouble = trouble * 0.9 + (rng.random() < 0.02) * rng.uniform(0.5, 3.0)
        values = {sensor: round(rng.gauss(trouble, 1.0), 4) for sensor in SENSORS if dead.get(sensor, -1) < step}
        if rng.random() < 0.005:
            yield time, _record(partition, key, {"time": time, "event": "break"})
        if rng.random() < 0.3:
            yield time + rng.uniform(0, 5), _record(partition, key, {"time": time, "values": values})
        else:
            for sensor, value in values.items():
                late = rng.uniform(0, LATENESS_SECONDS) if rng.random() < 0.1 else rng.uniform(0, 5)
                late += 60.0 * (rng.random() < 0.01)
                body: dict[str, Any] = {"sensor": sensor, "time": time + rng.uniform(0, 9), "value": value}
                if rng.random() < 0.01:
                    body["quality"] = "bad"
                record = _record(partition, key, body)
                yield time + late, record
                if rng.random() < 0.01:
                    yield time + late + 1, record
        if rng.random() < 0.02:
            yield time, Record(partition, key, rng.choice(POISON))


def _record(partition: int, key: bytes, body: dict[str, Any]) -> Record:
    return Record(partition, key, json.dumps(body).encode())


POISON: tuple[bytes | None, ...] = (
    None,
    b"",
    b"{",
    b"\xff\xfe",
    b"[1, 2, 3]",
    b'{"sensor":{"name":"s1"},"time":1700000000,"value":2.5}',
    b'{"sensor":["s1"],"time":1700000000,"value":1}',
    b'{"sensor":"nobody","time":1700000000,"value":1}',
    b'{"sensor":"s1","time":1e300,"value":1}',
    b'{"sensor":"s1","time":"tomorrow","value":1}',
    b'{"sensor":"s1","time":99999999999,"value":1}',
    b"[" * 5_000,
    b'{"sensor":"s1","time":1700000000,"value":1,"note":"' + b"x" * 20_000 + b'"}{"again":1}',
)
