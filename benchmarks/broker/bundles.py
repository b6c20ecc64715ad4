"""Bundles for the benchmarks: real models with random weights, because speed does not depend on what they learnt."""

from pathlib import Path

import numpy as np

from benchmarks.broker.load import Load
from stream_detector.bundle.bundle import write_bundle as write
from stream_detector.bundle.manifest import Manifest, ThresholdRecord, TrainingRecord
from stream_detector.detection.config import (
    CostConfig,
    EpisodeConfig,
    GridConfig,
    LeadConfig,
    ModelConfig,
    ScalerConfig,
    ScoreConfig,
    TransformConfig,
    WindowConfig,
)
from stream_detector.detection.models.registry import build
from stream_detector.detection.scaling import Scaler

QUANTILE = 0.999

DEFAULT_EPISODE = EpisodeConfig()

ALARM_EVERY_STEP = EpisodeConfig(hold_steps=1, max_steps=1)
"""An asset that stays far from normal raises an alarm at each of its steps."""


def write_bundle(
    folder: Path,
    load: Load,
    window_steps: int,
    episode: EpisodeConfig = DEFAULT_EPISODE,
    grid: GridConfig | None = None,
) -> Path:
    """An LSTM autoencoder (32-16 and back) for the load's sensors; for blocks, 500-250-125 and back.

    grid: instead of the one that the load has.

    The threshold lets one window in thousands through, so that alarms are part of the work.
    """
    blocks = load.form == "blocks"
    sensors = load.sensors
    model_config = (
        ModelConfig(kind="dense-autoencoder", options={"hidden": [250, 125]})
        if blocks
        else ModelConfig(options={"hidden": [32, 16]})
    )
    model = build(model_config, window_steps, sensors)
    scaler = Scaler(np.zeros(sensors), np.ones(sensors), None)
    grid = grid or GridConfig(kind="samples" if blocks else "time", step_seconds=load.step_seconds, staleness_steps=5)
    manifest = Manifest(
        recipe="benchmark",
        sensors=tuple(load.sensor_names),
        grid=grid,
        window=WindowConfig(steps=window_steps, stride=window_steps if blocks else 1),
        transform=TransformConfig(),
        scaler=ScalerConfig(kind="none"),
        model=model_config,
        score=ScoreConfig(),
        costs=CostConfig(),
        lead=LeadConfig(),
        episode=episode,
        threshold=ThresholdRecord(value=0.0, policy="fixed", how="not chosen yet"),
        training=TrainingRecord(data_name="none", data_sha256="0" * 64, rows=0, windows=0, epochs=0, seed=7),
    )
    windows = np.random.default_rng(7).normal(0.0, 1.0, (256, window_steps, sensors))
    bundle = write(folder, manifest, model, scaler, windows[:8])
    value = float(np.quantile(bundle.scorer.score(windows).score, QUANTILE)) * 1.05
    record = ThresholdRecord(value=value, policy="fixed", how="rarely exceeded by noise")
    write(folder, manifest.model_copy(update={"threshold": record}), model, scaler, windows[:8])
    return folder
