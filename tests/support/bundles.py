"""Small bundles for tests: a model that was never trained scores as deterministically as one that was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stream_detector.bundle.bundle import Bundle, write_bundle
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
from trainer.recipe import recipe_text

SENSORS = ("flow", "pressure", "speed")
STEPS = 4

RECIPE = """\
title = "Small"
[data]
label_column = "y"
labels_mark = "events"
drop_columns = ["grade", "broke_pump"]
[grid]
step_seconds = 120
lateness_seconds = 120
[window]
steps = 4
[transform]
kind = "differences"
[scaler]
kind = "robust"
clip = 8
[model]
options = { hidden = [8, 4] }
[score]
steps = "newest"
[train]
epochs = 3
"""
"""A recipe for simulated plants that fits in a second or two."""


def small_manifest(**changes: Any) -> Manifest:
    """A manifest of a small LSTM autoencoder over three sensors; `changes` replace its parts."""
    parts: dict[str, Any] = {
        "recipe": "small",
        "sensors": SENSORS,
        "grid": GridConfig(step_seconds=120, lateness_seconds=120),
        "window": WindowConfig(steps=STEPS),
        "transform": TransformConfig(),
        "scaler": ScalerConfig(),
        "model": ModelConfig(options={"hidden": [4, 2]}),
        "score": ScoreConfig(),
        "costs": CostConfig(),
        "lead": LeadConfig(),
        "episode": EpisodeConfig(),
        "threshold": ThresholdRecord(value=1.0, policy="fixed", how="given"),
        "training": TrainingRecord(data_name="d.csv", data_sha256="0" * 64, rows=9, windows=6, epochs=0, seed=1),
    }
    return Manifest(**{**parts, **changes})


def small_windows(count: int = 6, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(count, STEPS, 3) windows, a few cells masked."""
    generator = np.random.default_rng(seed)
    windows = generator.normal(size=(count, STEPS, len(SENSORS)))
    windows[generator.random(windows.shape) < 0.1] = np.nan
    return windows


def write_small_bundle(
    folder: Path,
    private_key: bytes | None = None,
    windows: np.ndarray[Any, np.dtype[np.float64]] | None = None,
    head_arrays: Mapping[str, np.ndarray[Any, Any]] | None = None,
    **changes: Any,
) -> Bundle:
    """Write a bundle with `small_manifest(**changes)` to `folder`; `windows` become its probe."""
    manifest = small_manifest(**changes)
    windows = small_windows() if windows is None else windows
    model = build(manifest.model, manifest.model_steps, len(manifest.sensors))
    scaler = Scaler.learn(manifest.scaler, windows.reshape(-1, len(SENSORS)))
    return write_bundle(folder, manifest, model, scaler, windows, head_arrays, private_key)


def fit_small_plant(folder: Path) -> None:
    """Six days of a simulated machine, `RECIPE` and the bundle fitted with it: history.csv, small.toml, bundle/."""
    from trainer.__main__ import main
    from trainer.data.simulate import Simulation, simulate, write

    write(simulate(Simulation(days=6, seed=3)), folder / "history.csv")
    (folder / "small.toml").write_text(RECIPE)
    files = ["--recipe", str(folder / "small.toml"), "--data", str(folder / "history.csv")]
    assert main(["fit", *files, "--out", str(folder / "bundle")]) == 0


def recipe_with(name: str, changes: Mapping[str, str]) -> str:
    """The TOML of a recipe that comes with the trainer, with texts (each there once) replaced."""
    text = recipe_text(name)
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
