"""Alarms that rest, where the engine and the backtest have to agree about how long."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detection.config import EpisodeConfig
from stream_detector.detection.episodes import episodes
from stream_detector.detection.scaling import Scaler
from stream_detector.detection.scoring import ScoredWindows
from stream_detector.detection.window_rows import WindowRows
from stream_detector.engine.engine import Engine, Limits
from stream_detector.messages import from_iso
from tests.engine.test_engine import BASE, SENSORS, STEP, Record, batches, check_restart, make_rules


class NewestValueScorer:
    """The score is the newest step's first value."""

    def score(self, windows: WindowRows, scaler: Scaler | None = None) -> ScoredWindows:
        newest = windows.newest
        return ScoredWindows(newest[:, 0], newest, newest)


def log_of(values: dict[int, float]) -> list[Record]:
    """One record a step; `values`: {step after the first: what every sensor says}."""
    return [
        (
            b"m",
            orjson.dumps({"time": BASE + step * STEP, "values": dict.fromkeys(SENSORS, value)}),
            int((BASE + 1e6) * 1000),
        )
        for step, value in values.items()
    ]


@pytest.mark.parametrize("stop", range(2, 20, 3))
def test_a_rest_longer_than_what_a_restart_reads_again_is_not_forgotten(stop: int) -> None:
    """A lead of an hour in steps of a minute has a rest of 59 steps: more than windows need of the log."""
    rules = make_rules(
        threshold=0.5,
        scorer=NewestValueScorer(),
        episode=EpisodeConfig(hold_steps=1, max_steps=1, rest_steps=59),
        window={"steps": 3, "min_steps": 1},
    )
    log = log_of(dict.fromkeys(range(120), 1.0))
    check_restart(rules, Limits(), log, list(range(5, 120, 5)), stop, 0)


@pytest.mark.parametrize(
    ("above", "window", "max_gap_steps", "rest_steps"),
    [
        # An empty step within the run; the alarm of step 2 ends in it.
        ({0: 0, 1: 0, 2: 1, 3: 0, 5: 0, 6: 1, 7: 0, 8: 0}, {"steps": 1}, 1, 2),
        # Every third step is scored; a rest of four steps after the two that an alarm is held for.
        ({step: int(step in (1, 4, 7, 10)) for step in range(16)}, {"steps": 1, "stride": 3}, 0, 4),
    ],
)
def test_the_stream_rests_as_long_as_the_backtest(
    above: dict[int, int], window: dict[str, int], max_gap_steps: int, rest_steps: int
) -> None:
    episode = EpisodeConfig(hold_steps=2, max_steps=2, rest_steps=rest_steps)
    rules = make_rules(
        threshold=0.5, scorer=NewestValueScorer(), episode=episode, window=window, grid={"max_gap_steps": max_gap_steps}
    )
    last = max(above)
    outcome = Engine(rules).process(batches(log_of({**above, last + 1: 0, last + 2: 0}), [])[0], publish_scores=True)
    raised = [round(from_iso(alarm.raised_at) / STEP) for alarm in outcome.alarms if alarm.state == "raised"]
    steps = np.array([round(from_iso(score.time) / STEP) for score in outcome.scores])
    called = np.array([score.alarm for score in outcome.scores])
    wanted = episodes(steps, called, np.zeros(len(steps), np.int64), episode)[:, 0]
    assert raised == wanted.tolist()


# A rest that was over before the next scored step holds nothing back: strides, and empty steps within a run.
EPISODE = EpisodeConfig(hold_steps=2, max_steps=2, rest_steps=1)


def test_the_backtest_raises_an_alarm_at_the_first_scored_step_after_the_rest() -> None:
    steps = np.arange(0, 15, 3)
    always = np.ones(len(steps), np.bool_)
    alarms = episodes(steps, always, np.zeros(len(steps), np.int64), EPISODE)
    assert alarms[:, 0].tolist() == steps.tolist(), "each was over at +2, and its rest at +3"


@pytest.mark.parametrize(
    ("steps", "window", "max_gap_steps"),
    [(range(16), {"steps": 1, "stride": 3}, 0), (range(0, 16, 3), {"steps": 1}, 2)],
)
def test_the_stream_raises_an_alarm_at_the_first_scored_step_after_the_rest(
    steps: range, window: dict[str, int], max_gap_steps: int
) -> None:
    rules = make_rules(
        threshold=0.5, scorer=NewestValueScorer(), episode=EPISODE, window=window, grid={"max_gap_steps": max_gap_steps}
    )
    outcome = Engine(rules).process(batches(log_of(dict.fromkeys(steps, 1.0)), [])[0], publish_scores=True)
    raised = [round((from_iso(alarm.raised_at) - BASE) / STEP) for alarm in outcome.alarms if alarm.state == "raised"]
    scored = [round((from_iso(score.time) - BASE) / STEP) for score in outcome.scores if score.alarm]
    assert len(scored) > 3
    assert raised == scored


@given(
    calls=st.lists(st.booleans(), min_size=1, max_size=60),
    gaps=st.sets(st.integers(0, 59), max_size=3),
    hold_steps=st.integers(1, 4),
    longer=st.integers(0, 5),
    rest_steps=st.integers(0, 3),
)
def test_a_backtest_prices_the_alarms_that_the_engine_gives(
    calls: list[bool], gaps: set[int], hold_steps: int, longer: int, rest_steps: int
) -> None:
    episode = EpisodeConfig(hold_steps=hold_steps, max_steps=hold_steps + longer, rest_steps=rest_steps)
    rules = make_rules(threshold=0.5, scorer=NewestValueScorer(), episode=episode, window={"steps": 1})
    runs = np.array([sum(gap <= place for gap in gaps) for place in range(len(calls))])
    # An empty step between two runs.
    at = np.arange(len(calls)) + runs
    log = log_of({**{int(step): float(call) for step, call in zip(at, calls, strict=True)}, int(at[-1]) + 2: 0.0})
    outcome = Engine(rules).process(batches(log, [])[0])
    found = []
    for alarm in outcome.alarms:
        step = round((from_iso(alarm.cleared_at or alarm.raised_at) - BASE) / STEP)
        if alarm.state == "raised":
            found.append([step, -1])
        else:
            found[-1][1] = step
    priced = episodes(at, np.array(calls), runs, episode).tolist()
    assert found[:-1] == priced[:-1]
    # The last one may still be up.
    assert [raised for raised, _ in found] == [raised for raised, _ in priced]


@pytest.mark.parametrize("stop", [7, 40, 111])
def test_a_lot_that_holds_alarms_back_falls_the_same_after_a_restart_and_on_all_that_go_on_from_one(stop: int) -> None:
    rules = make_rules(
        threshold=0.5,
        scorer=NewestValueScorer(),
        episode=EpisodeConfig(hold_steps=1, max_steps=3, held_back_share=0.5),
        window={"steps": 1},
    )
    log = log_of({step: float(step % 20 < 9) for step in range(160)})
    check_restart(rules, Limits(), log, list(range(5, 160, 5)), stop, 0)
    alarms = Engine(rules).process(batches(log, [])[0]).alarms
    raised = [alarm for alarm in alarms if alarm.state == "raised"]
    ends = {alarm.cleared_at: alarm for alarm in alarms if alarm.state == "cleared"}
    assert {alarm.held_back for alarm in raised} == {True, False}
    renewed = [alarm for alarm in raised if alarm.raised_at in ends]
    assert len(renewed) > 5
    assert all(alarm.held_back == ends[alarm.raised_at].held_back for alarm in renewed)
    assert all(alarm.held_back == next(a.held_back for a in raised if a.id == alarm.id) for alarm in alarms)
