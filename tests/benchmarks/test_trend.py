"""The verdict on a curve of memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.broker.trend import sparkline, trend

EVERY_SECONDS = 10.0


def times(count: int) -> list[float]:
    return [EVERY_SECONDS * (number + 1) for number in range(count)]


def test_a_steady_leak_is_not_flat_and_its_slope_is_found() -> None:
    seconds = times(180)
    noise = np.random.default_rng(1).normal(0, 0.3, 180)
    found = trend(seconds, [600 + 90 * second / 3600 + wobble for second, wobble in zip(seconds, noise, strict=True)])
    assert found.low < 90 < found.high
    assert found.mb_per_hour == pytest.approx(90, abs=3)
    assert not found.flat


def test_what_grows_only_while_it_warms_up_is_flat() -> None:
    seconds = times(180)
    noise = np.random.default_rng(2).normal(0, 0.3, 180)
    curve = [min(600.0, 400 + second) + wobble for second, wobble in zip(seconds, noise, strict=True)]
    assert trend(seconds, curve).flat


def test_a_curve_that_says_little_is_not_called_flat() -> None:
    wandering = 600 + np.cumsum(np.random.default_rng(3).normal(0, 8, 40))
    assert not trend(times(40), wandering.tolist()).flat


def test_samples_that_resemble_their_neighbours_widen_the_interval() -> None:
    draw = np.random.default_rng(4).normal(0, 1, 180)
    alike = np.repeat(draw[:18], 10)
    narrow, wide = trend(times(180), (600 + draw).tolist()), trend(times(180), (600 + alike).tolist())
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_curve_without_any_change_is_flat() -> None:
    found = trend(times(40), [600.0] * 40)
    assert (found.mb_per_hour, found.low, found.high) == (0, 0, 0)
    assert found.flat


@pytest.mark.parametrize("count", [0, 1, 12])
def test_too_few_samples_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="at least 10 are wanted"):
        trend(times(count), [600.0] * count)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=70))
def test_a_sparkline_has_a_mark_for_each_value_and_keeps_their_order(values: list[float]) -> None:
    line = sparkline(values)
    assert len(line) == len(values)
    if max(values) > min(values):
        assert (line[values.index(min(values))], line[values.index(max(values))]) == ("▁", "█")
    # The marks' code points go up with them.
    marks = [mark for _, mark in sorted(zip(values, line, strict=True))]
    assert marks == sorted(marks)
