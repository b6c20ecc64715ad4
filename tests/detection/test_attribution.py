"""Shares of the evidence, and which sensors are named, for any evidence."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detection.attribution import shares, top

EVIDENCE = st.lists(st.floats(allow_infinity=False), max_size=8)


@given(EVIDENCE)
def test_shares_are_of_what_speaks_for_an_alarm_and_sum_to_one(evidence: list[float]) -> None:
    found = shares(np.array(evidence))
    speaks = np.array([number > 0 for number in evidence], np.bool_)
    assert (found[~speaks] == 0).all()
    assert (found >= 0).all()
    assert np.isclose(found.sum(), float(speaks.any()))


@given(EVIDENCE, st.integers(0, 5))
def test_the_named_sensors_are_the_largest_shares_in_order(evidence: list[float], count: int) -> None:
    parts = shares(np.array(evidence))
    named = top(parts, count)
    assert len(named) == min(count, int((parts > 0).sum()))
    assert named == sorted(named, key=lambda sensor: (-parts[sensor], sensor))
    others = np.delete(parts, named)
    assert not named or (others <= parts[named[-1]]).all()
