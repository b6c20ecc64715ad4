"""The calibrated head on any steps: probabilities, and a state that survives its bytes in the middle of them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detection.head.head import StepInput
from tests.differential.specs import calibrated_head

NUMBERS = st.floats(allow_nan=True, allow_infinity=False)
STEPS = st.lists(
    st.tuples(
        st.integers(-3, 40), st.lists(NUMBERS, min_size=3, max_size=3), st.integers(0, 5), st.booleans(), st.booleans()
    ),
    max_size=15,
)
"""How far each goes ahead, what the sensors say, the position in its run, whether it is an event, and scorable."""


def inputs(drawn: list[Any]) -> list[StepInput]:
    step, found = 28_333_333, []
    for ahead, values, position, event, scorable in drawn:
        step += ahead
        sensors = np.full(3, np.nan) if event else np.array(values)
        found.append(StepInput(step, step * 60.0, sensors, position, event, scorable and not event))
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(STEPS, st.integers(0, 2), st.integers(0, 15))
def test_any_steps_give_probabilities_and_a_state_that_goes_on_exactly_from_its_bytes(
    drawn: list[Any], number: int, cut: int
) -> None:
    head = calibrated_head(number)
    whole, restored = head.fresh(), head.fresh()
    for index, step in enumerate(inputs(drawn)):
        if index == cut:
            restored = head.load(head.dump(restored))
        ours, theirs = head.advance(restored, step), head.advance(whole, step)
        assert ours.probability == theirs.probability
        assert (ours.probability is None) == (not step.scorable)
        assert ours.probability is None or 0 <= ours.probability <= 1
        assert np.isfinite(ours.attribution).all()
        assert math.isfinite(head.tracker.correction(whole.rate))
    assert head.dump(restored) == head.dump(whole)
