"""Machines of a fleet: those that training knows, and strangers that are provisional at first."""

from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from stream_detector.detection.config import EpisodeConfig
from stream_detector.engine.assets.snapshots import largest_bytes, load, most_window_bytes
from stream_detector.engine.engine import Engine, Limits, Outcome
from stream_detector.engine.offline import score_frame
from tests.engine.test_engine import BASE, LIMITS, SENSORS, STEP, Record, batches, make_fleet, make_rules
from tests.support.timelines import LargestValue

RULES = make_rules(
    fleet=make_fleet(("known",), provisional_steps=12, least_steps=4),
    scorer=LargestValue(), threshold=100.0, window={"steps": 2}, episode=EpisodeConfig(hold_steps=1, max_steps=1),
)  # fmt: skip


def rows(machine: str, count: int, begin: int = 0, wild: Sequence[int] = (), seed: int = 1) -> list[Record]:
    """A row a step; `wild`: steps that any scale finds far away."""
    rng = np.random.default_rng(seed)
    log: list[Record] = []
    for step in range(begin, begin + count):
        values = 1e4 * (step in wild) + 500 + 10 * rng.normal(size=3)
        message = {"time": BASE + step * STEP, "values": dict(zip(SENSORS, values.tolist(), strict=True))}
        log.append((machine.encode(), orjson.dumps(message), int((BASE + 1e6) * 1000)))
    return log


def read(engine: Engine, log: list[Record], begin: int = 0) -> Outcome:
    return engine.process(batches(log, [], begin)[0], publish_scores=True)


def test_a_strange_machine_warms_up_is_provisional_and_then_known() -> None:
    log = rows("new", 40, wild=(10, 30))
    engine = Engine(RULES, Limits())
    outcome = read(engine, log[:12])
    (status,) = engine.status()
    assert status.provisional
    assert not status.warming_up
    assert (status.scale_steps, status.scale_steps_wanted) == (11, 12)
    raised = [alarm for alarm in outcome.alarms if alarm.state == "raised"]
    assert [alarm.provisional for alarm in raised] == [True]
    assert outcome.closed.warming_up == 1 + 4, "the window, and then the least steps of a scale"
    outcome = read(engine, log, 12)
    assert [alarm.provisional for alarm in outcome.alarms if alarm.state == "raised"] == [False]
    (status,) = engine.status()
    assert not status.provisional
    assert status.scale_steps_wanted == 0


def test_a_machine_that_training_knows_is_never_provisional() -> None:
    outcome = read(Engine(RULES, Limits()), rows("known", 10, wild=(5,)))
    assert outcome.closed.scored == 9
    assert not any(alarm.provisional for alarm in outcome.alarms)


def test_machines_are_held_to_thresholds_of_their_own_and_say_so() -> None:
    rules = replace(RULES, own_thresholds={"known": 1e9})
    engine = Engine(rules, Limits())
    outcome = read(engine, rows("known", 12, wild=(8,)) + rows("new", 12, wild=(10,)))
    assert {(alarm.asset, alarm.threshold) for alarm in outcome.alarms} == {("new", 100.0)}
    assert {(score.asset, score.threshold) for score in outcome.scores} == {("new", 100.0), ("known", 1e9)}
    assert {(status.asset, status.threshold) for status in engine.status()} == {("new", 100.0), ("known", 1e9)}


def test_only_provisional_alarms_say_so() -> None:
    outcome = read(Engine(RULES, Limits()), rows("new", 40, wild=(10, 30)))
    assert ["provisional" in alarm.model_dump() for alarm in outcome.alarms] == [True, True, False, False]


@pytest.mark.parametrize("restart", [False, True])
def test_an_evicted_machine_that_comes_back_has_its_scale_still(restart: bool) -> None:
    """Else a machine that was overhauled for a week would begin as a stranger."""
    log = rows("new", 14) + rows("known", 200, begin=200)
    engine = Engine(RULES, LIMITS)
    before = read(engine, log)
    assert before.counts.assets_evicted == 1
    if restart:
        kept = {name: data for name, data in before.snapshots if data is not None}
        engine = Engine(RULES, LIMITS)
        engine.restore(0, kept, silent_until=len(log))
    back = read(engine, log + rows("new", 4, begin=400), len(log))
    assert back.closed.warming_up == 1, "its window alone"
    assert back.closed.scored == 3
    data = dict(back.snapshots)["new"]
    snapshot = load(data) if data is not None else None
    assert snapshot is not None
    assert snapshot.scale is not None


def test_a_file_is_scored_as_the_stream_is() -> None:
    log = rows("new", 60, wild=(10, 30, 31))
    values = np.array([list(orjson.loads(value or b"")["values"].values()) for _, value, _ in log])
    times = BASE + np.arange(60) * STEP
    outcome = read(Engine(RULES, Limits()), log)
    frame = score_frame(RULES, times, values, asset="new")
    assert [score.score for score in outcome.scores] == frame.steps.score.tolist()
    assert [alarm.model_dump() for alarm in outcome.alarms] == [alarm.model_dump() for alarm in frame.alarms]
    known = score_frame(RULES, times, values, asset="known")
    assert known.steps.score.tolist() != frame.steps.score.tolist()


def test_what_a_strange_machine_keeps_has_room_in_a_snapshot() -> None:
    rules = make_rules(fleet=make_fleet((), provisional_steps=5000, least_steps=4), window={"steps": 2})
    outcome = read(Engine(rules, Limits()), rows("new", 1000))
    ((_, data),) = outcome.snapshots
    assert data is not None
    assert 4000 < len(data) < largest_bytes(rules, Limits())
    assert most_window_bytes(rules, Limits()) > most_window_bytes(make_rules(window={"steps": 2}), Limits()) + 4000
