"""Random logs: what several assets send in every form, and everything that goes wrong with it on the way."""

import json
import random
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from stream_detector.detection.config import GridConfig
from stream_detector.engine.limits import Limits
from tests.engine.test_engine import Record

EPOCH = 1.7e9
POISON = (None, b"", b"{nonsense", b"[1, 2]", b'"text"', b"\xff\xfe", b"{}")
WORDS: tuple[Any, ...] = (float("nan"), float("inf"), True, "12.5", "RUNNING")
"""What stands where a number ought to be."""
HUGE = (1e7, 1e154, -1e300)
MISSING = 0.08
"""Share of cells without a value."""


@dataclass(frozen=True)
class Weather:
    """How bad a log is: shares of records, each drawn once for a log."""

    odd: float
    event: float
    gap: float
    foreign: float
    fanned: float
    jittered: bool
    may_fall_silent: bool

    @classmethod
    def draw(cls, rng: random.Random) -> "Weather":
        return cls(
            odd=rng.choice([0.0, 0.05, 0.2, 0.4]),
            event=rng.choice([0.01, 0.05, 0.15]),
            gap=rng.choice([0.005, 0.03]),
            foreign=rng.choice([0.0, 0.0, 0.1, 0.6]),
            fanned=rng.choice([0.0, 0.0, 0.2]),
            jittered=rng.random() < 0.3,
            may_fall_silent=rng.random() < 0.3,
        )


def random_limits(rng: random.Random, step_seconds: float) -> Limits:
    """Roomy and narrow ones, with rings of several lengths and evictions after a few steps; half have windows in
    snapshots at random moments."""
    limits = rng.choice(
        [
            Limits(),
            Limits(slack_steps=5),
            Limits(slack_steps=40, slack_cells=90),
            Limits(max_assets=2, evict_after_seconds=40 * step_seconds, evict_after_records=80, slack_steps=5),
            Limits(max_assets=3, evict_after_seconds=20 * step_seconds, evict_after_records=60, slack_steps=5),
        ]
    )
    if rng.random() < 0.3:
        limits = replace(limits, allowed_assets=("m0", "m[!1]"))
    if rng.random() < 0.5:
        return limits
    return replace(
        limits,
        window_lag_records=rng.choice([3, 8, 30]),
        window_lag_spans=rng.choice([0.0, 1.0]),
        window_bytes_per_record=rng.choice([1e9, 50.0]),
    )


def random_log(rng: random.Random, grid: GridConfig, sensors: tuple[str, ...], length: int) -> list[Record]:
    """A log of one to four assets, each at its own pace."""
    weather, step = Weather.draw(rng), grid.step_seconds
    assets = rng.choice([1, 2, 3, 4])
    pace = [0] * assets
    parts_of_a_step = rng.choice([1, 2, 4])
    dead: list[set[int]] = [set() for _ in range(assets)]
    # The first asset goes on, so that the log has an end.
    silent_from = [
        rng.randrange(length) if asset and weather.may_fall_silent and rng.random() < 0.5 else length
        for asset in range(assets)
    ]
    begin = round(EPOCH / step) * step
    log: list[Record] = []
    while len(log) < length:
        asset = rng.randrange(assets)
        if len(log) >= silent_from[asset]:
            asset = 0
        pace[asset] += rng.choice([0, 0, 0, 1, 1, 1, 2, 4])
        if rng.random() < weather.gap:
            pace[asset] += rng.randint(4, 100)
        if rng.random() < 0.02:
            dead[asset] ^= {rng.randrange(len(sensors))}
        lag = rng.choice([1, 2, 4, 8, 16, 40, -30, -100, -400, -410, -400]) if rng.random() < weather.odd else 0
        time = begin + (pace[asset] - lag) * step / parts_of_a_step
        if weather.jittered:
            time += rng.choice([0.0, 0.0, 1e-7, -1e-7, step / 7, -step * 1e-3])
        ahead = 0.0 if rng.random() < 0.02 else 1e6 * max(1.0, step / 60)
        stamp = int((begin + pace[asset] * step / parts_of_a_step + ahead) * 1000)
        alive = [name for index, name in enumerate(sensors) if index not in dead[asset]]
        # Not orjson: some producers write NaN, which is no JSON.
        value: bytes | None = json.dumps(_message(rng, weather, grid, time, sensors, alive)).encode()
        key: bytes | None = f"m{asset}".encode()
        fate = rng.random()
        if fate < weather.odd / 6:
            value = rng.choice(POISON)
        elif fate < weather.odd / 5:
            key = None
        elif fate < weather.odd / 3 and log:
            key, value, _ = log[rng.randrange(max(0, len(log) - 10), len(log))]
        log.append((key, value, stamp))
    return log


def _item(
    rng: random.Random, time: float, step_seconds: float, sensors: tuple[str, ...], number: Any
) -> dict[str, Any]:
    """One of several readings in a record."""
    item: dict[str, Any] = {"sensor": rng.choice([*sensors, "other"]), "value": number}
    if rng.random() < 0.5:
        item["time"] = time + rng.choice([-1, 0, 0.5, 1]) * step_seconds
    if rng.random() < 0.2:
        item["asset"] = rng.choice(["m0", "m1", "m2"])
    if rng.random() < 0.05:
        item["quality"] = "bad"
    return item


def _message(
    rng: random.Random,
    weather: Weather,
    grid: GridConfig,
    time: float,
    sensors: tuple[str, ...],
    alive: list[str],
) -> dict[str, Any]:
    def number() -> Any:
        if rng.random() < weather.odd / 20:
            return rng.choice(WORDS)
        if rng.random() < weather.odd / 100:
            return rng.choice(HUGE)
        return None if rng.random() < MISSING else round(rng.gauss(0, 3), 3)

    if rng.random() < weather.odd / 40:
        time = rng.choice([1e300, -1e12, 8e9])
    kind = rng.random()
    message: dict[str, Any] = {"time": time}
    if rng.random() < weather.foreign:
        return message | {"sensor": rng.choice(["other", "things"]), "value": number()}
    if rng.random() < weather.fanned:
        return message | {"readings": [_item(rng, time, grid.step_seconds, sensors, number()) for _ in range(5)]}
    if rng.random() < weather.event:
        return message | {"event": "break"}
    if kind < 0.5 and alive:
        quality = {"quality": "bad"} if rng.random() < 0.03 else {}
        return message | {"sensor": rng.choice(alive), "value": number()} | quality
    if kind < 0.9:
        unknown = {"nonsense": 1.0} if rng.random() < weather.odd / 3 else {}
        return message | {"values": {name: number() for name in alive} | unknown}
    if grid.kind == "samples":
        return message | {
            "sensor": rng.choice(sensors),
            "step_seconds": grid.step_seconds,
            "values": [number() for _ in range(rng.choice([1, 5, 30]))],
        }
    return message | {"sensor": sensors[0], "value": number()}
