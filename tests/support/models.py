"""A small scorer of any kind of model, for tests that every kind must pass: a new kind is in them by itself."""

from typing import Any, Literal, get_args, get_origin

import numpy as np

from stream_detector.detection.config import ModelConfig, ScoreConfig, TransformConfig
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import KINDS, Learner, build, model_class, needs_labels
from stream_detector.detection.scaling import Scaler, transformed_steps
from stream_detector.detection.scoring import Scorer

ALL_KINDS = sorted(KINDS)
TRANSFORMS = [TransformConfig(kind=kind) for kind in ("levels", "differences", "centred", "instance")] + [
    TransformConfig(smooth_steps=2)
]


def some_options(kind: str, rng: np.random.Generator) -> dict[str, Any]:
    """A choice for every option that is a yes, a no or one of a few names; the others keep their defaults."""
    chosen: dict[str, Any] = {}
    for name, field in model_class(kind).Options.model_fields.items():
        values = (False, True) if field.annotation is bool else get_args(field.annotation)
        if field.annotation is bool or get_origin(field.annotation) is Literal:
            chosen[name] = values[rng.integers(len(values))]
    return chosen


def some_scorer(kind: str, steps: int, sensors: int, seed: int) -> Scorer | None:
    """A scorer of windows (B, steps, sensors); networks have random weights. None: no such size exists."""
    rng = np.random.default_rng(seed)
    config = TRANSFORMS[rng.integers(len(TRANSFORMS))]
    left = transformed_steps(config, steps)
    if left < 1:
        return None
    try:
        model = build(ModelConfig(kind=kind, options=some_options(kind, rng)), left, sensors)
    except ValueError:
        return None
    if isinstance(model, Learner):
        windows = rng.normal(size=(90, left, sensors)).astype(np.float32)
        labels = (np.arange(90) % 5 == 0) & needs_labels(model)
        model.learn(windows, np.ones(windows.shape, bool), labels, seed)
    if isinstance(model, Network):
        model.restore(model.untrained(rng))
    scaler = Scaler(rng.normal(size=sensors), rng.uniform(0.5, 2.0, size=sensors), 4.0)
    return Scorer(config, scaler, model, ScoreConfig(error=rng.choice(["squared", "absolute"])))
