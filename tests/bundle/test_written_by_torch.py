"""A bundle of format 1 that was written, and whose alarms were raised, when torch ran the network.

`alarms.jsonl` is what the detector of that time sent for `records.jsonl.gz`, three days of a simulated machine.
"""

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_detector.bundle.bundle import load_bundle
from stream_detector.engine.engine import Engine, RecordBatch
from stream_detector.messages import to_bytes

FOLDER = Path(__file__).parent / "written-by-torch"
ROUNDING = 1e-5
"""Relative: two libraries add up the same float32 products in another order."""


def raised_now() -> list[dict[str, Any]]:
    lines = gzip.decompress((FOLDER / "records.jsonl.gz").read_bytes()).splitlines()
    count = len(lines)
    batch = RecordBatch("plant.readings", 0, range(count), [b"pm-1"] * count, lines, [-1] * count)
    outcome = Engine(load_bundle(FOLDER / "bundle")).process(batch)
    return [orjson.loads(to_bytes(alarm)) for alarm in outcome.alarms]


def same_but_for_rounding(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=ROUNDING)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_but_for_rounding(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_but_for_rounding, one, other))
    return bool(one == other)


def test_a_bundle_from_the_time_of_torch_raises_the_alarms_that_it_raised_then() -> None:
    then = [orjson.loads(line) for line in (FOLDER / "alarms.jsonl").read_bytes().splitlines()]
    now = raised_now()
    assert len(then) == len(now) == 12
    for before, after in zip(then, now, strict=True):
        assert same_but_for_rounding(before, after), (before, after)


def test_the_comparison_sees_another_sensor_and_another_score() -> None:
    alarm = raised_now()[0]
    assert not same_but_for_rounding(alarm, alarm | {"score": alarm["score"] * (1 + 10 * ROUNDING)})
    assert not same_but_for_rounding(alarm, alarm | {"top_sensors": alarm["top_sensors"][::-1]})
