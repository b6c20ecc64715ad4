"""Sums of many columns at once have the bits of a loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.detection.ordered_sum import sum_in_order
from tests.support.properties import examples


@settings(max_examples=examples(200))
@given(
    seed=st.integers(0, 10_000),
    terms=st.sampled_from([1, 2, 3, 7, 8, 9, 16, 61, 129, 2000]),
    shape=st.sampled_from([(1,), (2,), (3,), (16,), (257,), (1, 1), (1, 2), (2, 1), (5, 3), (16, 61)]),
    moved=st.booleans(),
)
def test_the_terms_are_added_one_after_the_other(seed: int, terms: int, shape: tuple[int, ...], moved: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(terms, *shape)) * 10.0 ** rng.integers(-8, 9, size=(terms, *shape))
    if moved:
        # The same numbers, side by side in memory along the axis that is summed.
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    wanted = np.zeros(shape)
    for term in values:
        wanted = wanted + term
    assert sum_in_order(values).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 2)])
def test_no_terms_and_negative_zeros_are_zero(shape: tuple[int, ...]) -> None:
    for values in (np.zeros((0, *shape)), np.full((3, *shape), -0.0)):
        assert sum_in_order(values).tobytes() == np.zeros(shape).tobytes()
