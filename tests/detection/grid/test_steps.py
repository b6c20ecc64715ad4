"""Times to steps against their definition in exact arithmetic, for steps from 70 microseconds to a day."""

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from stream_detector.detection.config import GridConfig
from stream_detector.detection.grid.steps import Steps

LENGTHS = st.sampled_from([7e-5, 1 / 12_000, 0.1, 1 / 3, 0.7, 1.0, 15.0, 60.0, 3600.0, 86_400.0])
TIMES = st.floats(1.6e9, 1.8e9)
LATENESS = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.25, 10.0])
NEAR = Fraction(3, 10**6)
"""Seconds from a boundary within which floats and their tolerance may decide either way."""


def steps_of(length: float, lateness: float = 0.0, kind: str = "time") -> Steps:
    return Steps(GridConfig(kind=kind, step_seconds=length, lateness_seconds=lateness * length))


@given(LENGTHS, TIMES)
def test_a_time_lies_in_its_step(length: float, time: float) -> None:
    step = int(steps_of(length).step_of(np.array([time]))[0])
    assert step * Fraction(length) - NEAR <= Fraction(time) < (step + 1) * Fraction(length) + NEAR


@given(LENGTHS, TIMES)
def test_a_sample_is_the_nearest(length: float, time: float) -> None:
    sample = int(steps_of(length, kind="samples").step_of(np.array([time]))[0])
    assert abs(Fraction(time) - sample * Fraction(length)) <= Fraction(length) / 2 + NEAR


@given(LENGTHS, st.integers(2 * 10**4, 2 * 10**4 + 10**9), st.sampled_from(["time", "samples"]))
def test_a_step_begins_where_it_is_said_to(length: float, step: int, kind: str) -> None:
    steps = steps_of(length, kind=kind)
    assert steps.step_of(np.array([steps.start_of(step)])).tolist() == [step]


@given(LENGTHS, LATENESS, TIMES)
def test_a_step_is_past_its_lateness_once_its_end_and_the_lateness_lie_behind_the_watermark(
    length: float, lateness: float, time: float
) -> None:
    steps = steps_of(length, lateness)
    watermark = np.array([time])
    horizon = int(steps.horizon_of(watermark, steps.step_of(watermark))[0])

    def past_by(step: int) -> Fraction:
        return Fraction(time) - (step + 1 + Fraction(lateness)) * Fraction(length)

    assert past_by(horizon - 1) >= -NEAR
    assert past_by(horizon) < NEAR


@given(LENGTHS, LATENESS, TIMES, st.floats(0, 1e6))
def test_steps_and_horizons_never_go_back_as_time_goes_on(
    length: float, lateness: float, time: float, later: float
) -> None:
    steps = steps_of(length, lateness)
    times = np.array([time, time + later])
    of_times = steps.step_of(times)
    horizons = steps.horizon_of(times, of_times)
    assert of_times[0] <= of_times[1]
    assert horizons[0] <= horizons[1]
    assert (horizons <= of_times).all()
    assert (of_times - horizons < steps.lateness_steps).all()


@given(LENGTHS, st.integers(-3, 40), st.floats(-16.5, -9.0), st.sampled_from([-1.0, 1.0]))
@example(0.1, 17, -13.57, 1.0)
def test_samples_from_a_first_one_on_lie_on_steps_that_follow_near_the_epoch_too(
    length: float, sample: int, exponent: float, sign: float
) -> None:
    steps, count = steps_of(length, kind="samples"), 2_048
    first = (sample + 0.5 + sign * 10.0**exponent) * length  # just beside the middle between two samples of the grid
    begin, even = steps.first_of_even(np.array([first]), np.array([length]), np.array([count]))
    found = steps.step_of(first + np.arange(count) * length)
    assert not even[0] or (found == begin[0] + np.arange(count)).all()


@given(LENGTHS, TIMES, st.integers(1, 2_048))
def test_samples_of_our_days_that_lie_on_the_grid_surely_follow_each_other(
    length: float, time: float, count: int
) -> None:
    steps = steps_of(length, kind="samples")
    sample = steps.step_of(np.array([time]))
    begin, even = steps.first_of_even(sample * length, np.array([length]), np.array([count]))
    assert even.all()
    assert begin.tolist() == sample.tolist()
