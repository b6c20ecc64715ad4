"""A rest that was over before the next scored step holds nothing back: strides, and empty steps within a run."""

import numpy as np
import pytest

from stream_detector.detection.config import EpisodeConfig
from stream_detector.engine import Engine
from stream_detector.messages import from_iso
from tests.test_engine import BASE, STEP, batches, make_rules
from tests.test_rests import NewestValueScorer, log_of
from trainer.worth import alarm_intervals

EPISODE = EpisodeConfig(hold_steps=2, max_steps=2, rest_steps=1)


def test_the_backtest_raises_an_alarm_at_the_first_scored_step_after_the_rest() -> None:
    steps = np.arange(0, 15, 3)
    always = np.ones(len(steps), np.bool_)
    alarms = alarm_intervals(steps, always, np.zeros(len(steps), np.int64), EPISODE)
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
