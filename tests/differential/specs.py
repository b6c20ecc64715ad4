"""Random detectors over a cheap scorer: grids, windows, episodes and heads that no recipe of ours has."""

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from stream_detector.detection.config import (
    EpisodeConfig,
    GridConfig,
    HeadConfig,
    LeadConfig,
    OperatingConfig,
    SuppressionConfig,
    SuppressionRule,
    WindowConfig,
)
from stream_detector.detection.fleet.fleet import Fleet
from stream_detector.detection.head.calibrated_head import (
    CalibratedHead,
    build_head,
    fresh_state,
    head_arrays,
    read_options,
)
from stream_detector.detection.head.calibration import RateTracker
from stream_detector.detection.head.ensemble import Averaged, Ensemble, Linear
from stream_detector.detection.head.features import Features
from stream_detector.detection.head.forest import Forest
from stream_detector.engine.detector_spec import DetectorSpec
from tests.engine.test_engine import SENSORS, CountingHead, make_fleet, make_rules

TIME_STEPS = (60.0, 60.0, 15.0, 1.0, 0.1, 1 / 3, 0.7, 7e-5, 120.0, 3600.0, 86_400.0)
SAMPLE_STEPS = (15.0, 1.0, 0.1, 1 / 12_000, 7e-5)


def random_grid(rng: random.Random) -> GridConfig:
    """Steps from 70 microseconds to a day."""
    kind = "samples" if rng.random() < 0.2 else "time"
    step = rng.choice(SAMPLE_STEPS if kind == "samples" else TIME_STEPS)
    return GridConfig(
        kind=kind,
        step_seconds=step,
        lateness_seconds=rng.choice([0, 0, 0.5, 1, 1.5, 2, 3.25, 10]) * step,
        staleness_steps=rng.choice([1, 1, 2, 3, 5, 12]),
        max_gap_steps=rng.choice([0, 0, 1, 2, 5, 20]),
        close=rng.choice(["complete", "complete", "watermark"]),
        max_future_seconds=rng.choice([5, 20, 60, 1000]) * step,
    )


def random_window(rng: random.Random, steps: int) -> WindowConfig:
    shortest = rng.randint(1, steps) if rng.random() < 0.5 else None
    return WindowConfig(steps=steps, min_steps=shortest, stride=rng.choice([1, 1, 1, 2, 3, 5]))


def random_episode(rng: random.Random) -> EpisodeConfig:
    hold = rng.choice([1, 2, 3])
    return EpisodeConfig(
        hold_steps=hold, max_steps=hold + rng.choice([0, 1, 3, 8]), rest_steps=rng.choice([0, 0, 1, 3, 6])
    )


def random_operating(rng: random.Random, sensors: Sequence[str]) -> OperatingConfig | None:
    """Mostly none; else one of a few comparisons, so that the machine runs most of the time."""
    if rng.random() < 0.7:
        return None
    parts = [f"{rng.choice(sensors)} {rng.choice(['>', '>=', '!='])} {rng.choice([-4, -2, -1, 0])}"]
    if rng.random() < 0.5:
        parts += [f"not {rng.choice(sensors)} < -2", f"-5 < {rng.choice(sensors)} <= 3"][: rng.choice([1, 2])]
    return OperatingConfig(when=rng.choice([" or ", " and "]).join(parts), hold_steps=rng.choice([0, 0, 1, 3, 9, 40]))


def random_suppression(rng: random.Random, sensors: Sequence[str]) -> SuppressionConfig | None:
    """Mostly none; else a rule or two."""
    if rng.random() < 0.8:
        return None
    rules = tuple(
        SuppressionRule(
            sensors=rng.choice([*sensors, "*"]),
            direction=rng.choice([None, "up", "down"]),
            least_deviation=rng.choice([None, None, 0.5, 3.0]),
        )
        for _ in range(rng.choice([1, 1, 2]))
    )
    return SuppressionConfig(rules=rules, least_share=rng.choice([0.15, 0.45, 1.0]))


def random_fleet(rng: random.Random, window_steps: int) -> Fleet | None:
    """Mostly none; else of machines that training knows, or of strangers alone."""
    # From a copy: the logs of the cases that were once wrong are drawn after this.
    own = random.Random()
    own.setstate(rng.getstate())
    for _ in range(3):
        own.random()
    if own.random() < 0.8:
        return None
    least, kinds = own.choice([2, 3, 5]), ["levels", "centred", "differences"]
    known = own.choice([(), ("m0",), ("m0", "m2")])
    kind = own.choice(kinds if window_steps > 1 else kinds[:2])
    return make_fleet(known, least + own.choice([0, 1, 7, 40]), least, kind=kind)


def random_spec(rng: random.Random) -> DetectorSpec:
    parts: dict[str, Any] = {
        "grid": dict(random_grid(rng)),
        "window": dict(random_window(rng, rng.choice([1, 2, 3, 4, 8]))),
        "episode": random_episode(rng),
    }
    head = rng.random()
    if head < 0.3:
        parts |= {"head": CountingHead(), "threshold": rng.choice([0.3, 0.5, 0.7])}
    elif head < 0.45:
        parts |= {"head": calibrated_head(rng.randrange(3)), "threshold": rng.choice([0.05, 0.2])}
    else:
        parts |= {"threshold": rng.choice([1.0, 3.0, 6.0, 9.0])}
    operating = random_operating(rng, SENSORS)
    suppression = random_suppression(rng, SENSORS)
    fleet = random_fleet(rng, parts["window"]["steps"]) if "head" not in parts else None
    # Nothing is drawn for it: the logs of the cases that were once wrong are drawn after this.
    own = {} if fleet is None else {name: parts["threshold"] / (2 + row) for name, row in fleet.machines.items()}
    return make_rules(
        **parts,
        fleet=fleet,
        own_thresholds=own,
        operating=None if operating is None else operating.rule(SENSORS),
        suppression=None if suppression is None else suppression.for_sensors(SENSORS),
    )


@cache
def calibrated_head(number: int) -> CalibratedHead:
    """A head of logistic model and trees with random weights: what it says depends on all that it keeps."""
    rng, lead = np.random.default_rng(number), LeadConfig()
    bursts = {"half_life_days": 0.01, "share": 0.5, "prior_events": 1}
    config = HeadConfig(
        kind="calibrated",
        options={
            "features": {"lags": [1, 3], "volatility_steps": [2, 4], "clock": number != 1},
            "calibration": {"half_life_days": [0.001, 1], "bursts": bursts if number == 2 else None},
        },
    )
    options = read_options(config)
    features, tracker = Features(options.features, SENSORS), RateTracker(options.calibration, lead)
    size = len(features.names)
    node = np.arange(7, dtype=np.int32)
    forest = Forest(
        feature=rng.integers(0, size, 7).astype(np.int32),
        threshold=rng.normal(size=7),
        left=np.where(node < 3, 2 * node + 1, node).astype(np.int32),
        right=np.where(node < 3, 2 * node + 2, node).astype(np.int32),
        value=rng.uniform(0.01, 0.6, 7),
        roots=np.zeros(1, np.int32),
    )
    linear = Linear(np.zeros(size), np.ones(size), rng.normal(scale=0.4, size=size), -2.0)
    ensemble = Ensemble(np.zeros(size, np.float32), linear, 1.0, (Averaged(forest, 1.0, 0.0),))
    arrays = head_arrays(ensemble, -0.5, fresh_state(features, tracker))
    return build_head(config, arrays, SENSORS, lead)
