"""What the ledger knows of the bundles in service is what workers wrote down, at the times of the readings there."""

import json

import pytest
from msgspec.structs import replace

from stream_detector.bundle.registry import Registry
from stream_detector.operations.ledger.service import Service
from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.feeds.service_history import lasting, service_of
from stream_detector.streaming.local.clients import local_log_reader
from stream_detector.streaming.state.group_facts import BundleSwitch
from tests.streaming.worker.test_switch_in_log import LOG, Site, registry, run_to_the_end
from tests.support.event_loop import in_event_loop
from tests.support.plant import BASE, SENSORS, Record
from tests.support.stack.local_workers import SETTINGS

__all__ = ["registry"]


def rows(first: int, count: int) -> list[Record]:
    """So many steps of one machine in each of two partitions."""
    return [
        Record(number, f"m{number}".encode(), json.dumps({"time": BASE + step, "values": {SENSORS[0]: 0.1}}).encode())
        for step in range(first, first + count)
        for number in range(2)
    ]


def odd(*values: bytes) -> list[Record]:
    return [Record(number, b"m0", value) for value in values for number in range(2)]


async def service(site: Site) -> Service | None:
    async with local_log_reader(site.plant.broker, SETTINGS) as reader:
        return await service_of(reader, SETTINGS)


@in_event_loop
async def test_switches_in_the_log_are_periods_in_event_time(registry: Registry) -> None:
    site = Site(registry)
    site.plant.send(rows(0, 20))
    site.order("b")
    site.plant.send(odd(b"no json", b'{"time": 4e9, "sensor": "x1", "value": 1}', b'{"time": "noon"}'))
    site.plant.send(rows(20, 20))
    site.order("a")
    site.plant.send(rows(40, 20))
    await run_to_the_end(site)
    found = await service(site)
    assert found is not None
    names = {None: "", site.id_of("a"): "a", site.id_of("b"): "b"}
    steps = (-1, 2, 19, 22, 39, 42, 10_000)
    assert "".join(names[found.at(BASE + step)] for step in steps) == "aabbaa"
    assert found.between(None, None) == sorted({site.id_of("a"), site.id_of("b")})


@in_event_loop
async def test_where_retention_removed_the_first_readings_of_a_bundle_it_decided_those_that_are_left(
    registry: Registry,
) -> None:
    site = Site(registry)
    site.plant.send(rows(0, 20))
    site.order("b")
    site.plant.send(rows(20, 20))
    await run_to_the_end(site)
    for number in range(2):
        site.plant.broker.remove_before(TopicPartition(SETTINGS.topic_readings, number), 10)
    found = await service(site)
    assert found is not None
    assert [found.at(BASE + step) for step in (12, 30)] == [site.id_of("a"), site.id_of("b")]


@in_event_loop
async def test_a_switch_behind_which_nothing_has_come_yet_counts_from_when_it_was_written(registry: Registry) -> None:
    site = Site(registry)
    site.plant.send(LOG)
    site.order("b")
    await run_to_the_end(site)
    found = await service(site)
    assert found is not None
    written = [record.timestamp for record in site.plant.broker.records(SETTINGS.topic_state)]
    assert found.at(min(written) / 1000.0 - 1.0) == site.id_of("a")
    assert found.at(max(written) / 1000.0 + 1.0) == site.id_of("b")


@in_event_loop
async def test_a_group_that_wrote_nothing_down_says_nothing(registry: Registry) -> None:
    assert await service(Site(registry)) is None


@pytest.mark.parametrize(
    ("offsets", "wanted"), [([0, 40, 90], [0, 40, 90]), ([0, 40, 90, 30], [0, 30]), ([0, 40, 40], [0, 40]), ([], [])]
)
def test_a_group_that_was_set_back_decides_anew_from_there_on(offsets: list[int], wanted: list[int]) -> None:
    switches = [replace(BundleSwitch(0, offset, "b"), term=term) for term, offset in enumerate(offsets)]
    kept = lasting(switches)
    assert [switch.offset for switch in kept] == wanted
    assert kept[-1:] == switches[-1:]
