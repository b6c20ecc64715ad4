"""Every input that a decoder once tripped over, and random bytes, in every target: quick, without coverage guidance."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import SEEDS
from tests.fuzz.targets import TARGETS
from tests.support.properties import examples


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_known_nasty_input_is_decoded_or_refused_cleanly(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", sorted(TARGETS))
@given(data=st.binary(max_size=200))
@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
def test_random_bytes_are_decoded_or_refused_cleanly(name: str, data: bytes) -> None:
    TARGETS[name](data)
