"""The short form of `make chaos`, on every push."""

import random
from collections.abc import Iterator

import pytest

from tests.chaos.faults import Fault
from tests.chaos.suite import Suite, short
from tests.support.stack.kafka import why_no_kafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

SEED = random.randrange(1_000_000)


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    reason = why_no_kafka()
    if reason is not None:
        pytest.skip(reason)
    print(f"chaos seed {SEED}")
    with Suite(SEED) as running:
        yield running


@pytest.mark.parametrize(("number", "fault"), list(enumerate(short())), ids=[fault.name for fault in short()])
def test_no_alarm_is_lost_or_changed_by(suite: Suite, number: int, fault: Fault) -> None:
    result = suite.try_fault(fault, number)
    assert result.good, f"seed {SEED}: {result}"
