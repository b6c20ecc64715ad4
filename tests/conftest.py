"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.properties import examples
from tests.support.public_data import public_data
from tests.support.stack.kafka import ExistingKafka, Kafka, kafka_for_tests, why_no_kafka

# Several tests run at once on few cores. A thread that spins at a barrier keeps from its core the one that it waits
# for: on a busy machine a fit of a second took minutes. Libraries read this when they are loaded, and none is so far.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A test's broker lives for seconds: what Java spends on compiling it well and on verifying its classes, more than half
# of its time, never comes back.
os.environ.setdefault(
    "JDK_JAVA_OPTIONS",
    "-XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions -XX:+IgnoreUnrecognizedVMOptions "
    "-XX:-BytecodeVerificationRemote",
)

# A busy machine is no fault of the code: only wrong answers fail a property. Nor does luck: the suite draws the same
# examples every time, and `make properties` draws others, many of them.
settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=examples(100))
settings.register_profile(
    "seeded", deadline=None, database=None, max_examples=examples(100), suppress_health_check=list(HealthCheck)
)
settings.load_profile("fixed")

FIRST = ("kafka", "browser", "prometheus", "slow")
"""Files with tests of these marks come before the others, in this order."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes come first: one that came last would run while other processes have nothing to do."""
    turns: dict[Path, int] = {}
    for item in items:
        turn = next((place for place, mark in enumerate(FIRST) if item.get_closest_marker(mark)), len(FIRST))
        turns[item.path] = min(turn, turns.get(item.path, len(FIRST)))
    items.sort(key=lambda item: turns[item.path])


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka | ExistingKafka]:
    """A real broker for the whole session: use topics and groups with names of your own (`unique_name`)."""
    reason = why_no_kafka()
    if reason is not None and not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        pytest.skip(reason)
    with kafka_for_tests() as running:
        yield running


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    """A broker of the test's own, to be killed and restarted at will."""
    reason = why_no_kafka()
    if reason is not None:
        pytest.skip(reason)
    with Kafka() as running:
        yield running


@pytest.fixture
def unique_name() -> str:
    """A name that no other test uses, for topics and groups."""
    return f"test-{os.urandom(5).hex()}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public data sets that lie beside the checkout; the tests that need them skip where they are absent."""
    folder = public_data()
    if not folder.is_dir():
        pytest.skip(f"no public data at {folder}; name its folder with STREAM_DETECTOR_DATA")
    return folder


@pytest.fixture(scope="session")
def fitted_plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a simulated history, a recipe and the bundle fitted with it (see `fit_small_plant`)."""
    from tests.support.bundles import fit_small_plant

    folder = tmp_path_factory.mktemp("plant")
    fit_small_plant(folder)
    return folder
