"""What every list of alarms keeps to, whatever the steps were like."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detection.config import EpisodeConfig
from stream_detector.detection.episodes import episodes

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def scored_steps(draw: st.DrawFn) -> Drawn:
    """Steps (B,) with some left out, whether each is above, and their runs."""
    drawn = draw(st.lists(st.tuples(st.sampled_from([1, 1, 1, 2, 5]), st.booleans(), st.integers(0, 9)), max_size=60))
    steps = 100 + np.cumsum(np.array([ahead for ahead, _, _ in drawn], np.int64))
    above = np.array([is_above for _, is_above, _ in drawn], np.bool_)
    runs = np.cumsum(np.array([begins == 0 for _, _, begins in drawn], np.int64))
    return steps, above, runs


configs = st.builds(
    lambda hold, longer, rest: EpisodeConfig(hold_steps=hold, max_steps=hold + longer, rest_steps=rest),
    st.integers(1, 4), st.integers(0, 6), st.integers(0, 5),
)  # fmt: skip


@given(scored_steps(), configs)
def test_alarms_are_raised_above_the_threshold_last_as_long_as_they_may_and_rest(
    drawn: Drawn, config: EpisodeConfig
) -> None:
    steps, above, runs = drawn
    place = {step: index for index, step in enumerate(steps.tolist())}
    alarms = episodes(steps, above, runs, config).tolist()
    for raised, over in alarms:
        assert above[place[raised]]
        assert 1 <= over - raised <= config.max_steps
        of_run = steps[runs == runs[place[raised]]]
        if over <= of_run[-1]:
            assert over - raised >= min(config.hold_steps, config.max_steps), "its run went on"
    for (first, over), (raised, _) in pairwise(alarms):
        assert raised >= over
        if runs[place[first]] == runs[place[raised]]:
            assert raised >= over + config.rest_steps


@given(scored_steps(), configs)
def test_no_step_above_the_threshold_is_without_an_alarm_or_its_rest(drawn: Drawn, config: EpisodeConfig) -> None:
    steps, above, runs = drawn
    alarms = episodes(steps, above, runs, config).tolist()
    for step, run in zip(steps[above].tolist(), runs[above].tolist(), strict=True):
        of_run = [alarm for alarm in alarms if runs[np.searchsorted(steps, alarm[0])] == run]
        assert any(raised <= step < over + config.rest_steps for raised, over in of_run), step
