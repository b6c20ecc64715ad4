"""Batches of several partitions that are handled at once: each outcome is as if its partition were alone."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_detector.engine.engine import Engine, Limits
from stream_detector.engine.table_engine import TableEngine
from tests.engine.test_engine import ANY_LIMITS, GRIDS, LIMITS, Record, batches, random_log
from tests.engine.test_table_engine import mixed_log, table_of
from tests.engine.together import check_together
from tests.support.properties import examples, fast_first

quick = settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow])
seeds, chaos = st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.3])
names = st.sampled_from(sorted(GRIDS))


def logs_of(seed: int, length: int, amount: float) -> list[list[Record]]:
    """Three partitions whose assets have the same names: as where they were moved, or keys were not hashed."""
    return [random_log(seed + number, length, amount) for number in range(3)]


@quick
@given(seeds, st.integers(1, 120), chaos, names, ANY_LIMITS)
def test_partitions_that_are_read_together_decide_as_each_would_alone(
    seed: int, length: int, amount: float, name: str, limits: Limits
) -> None:
    check_together(
        lambda: Engine(GRIDS[name], limits, keep_steps=True), logs_of(seed, length, amount), random.Random(seed)
    )


@pytest.mark.parametrize("name", fast_first(sorted(GRIDS), 5))
def test_so_they_do_on_long_logs(name: str) -> None:
    engines, logs = lambda: Engine(GRIDS[name], LIMITS, keep_steps=True), logs_of(7, 700, 0.02)
    assert check_together(engines, logs, random.Random(7)) > 10, "logs without alarms prove little"


@quick
@given(seeds, st.integers(1, 120), chaos, names, names, ANY_LIMITS)
def test_so_does_every_bundle_of_a_table(
    seed: int, length: int, amount: float, one: str, other: str, limits: Limits
) -> None:
    logs = [mixed_log(seed + number, length, amount) for number in range(3)]
    check_together(lambda: TableEngine(table_of((one, other)), limits), logs, random.Random(seed))


def test_slots_of_a_partition_that_is_given_away_are_taken_by_the_next_assets() -> None:
    engine, log = Engine(GRIDS["plain"], LIMITS), random_log(3, 60, 0.0)
    [of_one], [of_other] = batches(log, []), [replace(batch, partition=1) for batch in batches(log, [])]
    engine.process_all([of_one, of_other])
    capacity = engine.partitions[0][1].grid.capacity
    for _ in range(5):
        engine.forget(1)
        engine.process(of_other)
    assert engine.partitions[0][1].grid.capacity == capacity
