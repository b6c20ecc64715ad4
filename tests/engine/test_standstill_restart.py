"""Whether a machine stands is the same after a restart at any record, also where it was told long ago."""

import json

import pytest

from stream_detector.engine.engine import Engine, RecordBatch
from stream_detector.engine.outcome import Outcome
from tests.engine.test_engine import STEP, make_rules, runs_when

FIRST = 1_000_000
SPEC = make_rules(
    grid={"staleness_steps": 5}, window={"steps": 2}, threshold=-1.0, operating=runs_when("x1 > 0 or x2 > 0")
)
"""Two drives; every step in which one of them runs is above the threshold."""


def row(step: int) -> bytes:
    """Both drives stop, the first one last, and say nothing more; the third sensor goes on."""
    told = {10: {"x1": 1.0, "x2": 0.0}, 12: {"x1": 1.0}, 14: {"x1": 0.0}}
    drives = {"x1": 1.0, "x2": 1.0} if step < 10 else told.get(step, {})
    return json.dumps({"time": (FIRST + step) * STEP, "values": {"x3": 0.1, **drives}}).encode()


def said_of(engine: Engine, begin: int, end: int) -> Outcome:
    offsets = list(range(begin, end))
    stamps = [int((FIRST + step) * STEP * 1000) for step in offsets]
    return engine.process(RecordBatch("r", 0, offsets, [b"m"] * len(offsets), [row(step) for step in offsets], stamps))


@pytest.mark.parametrize("cut", range(16, 40))
def test_a_machine_that_stands_and_says_no_more_of_it_stands_after_a_restart(cut: int) -> None:
    undisturbed, again = Engine(SPEC), Engine(SPEC)
    snapshots = dict(said_of(undisturbed, 0, cut).snapshots)
    again.restore(0, {asset: data for asset, data in snapshots.items() if data is not None}, cut)
    said_of(again, undisturbed.low(0) or 0, cut)
    assert said_of(again, cut, 50).alarms == said_of(undisturbed, cut, 50).alarms == []
    assert [each.not_running for each in again.status()] == [True]
