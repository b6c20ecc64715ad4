"""Several bundles in one worker, whole on a local broker: kills, restarts, other tables, and what an audit says."""

import asyncio
import json
import logging
import random
from pathlib import Path

import pytest

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.bundle_table import AnyBundle, BundleTable
from stream_detector.decoding.control_records import KEY, SWITCH, Order, to_value
from stream_detector.messages import Alarm
from tests.streaming.test_local_audit import audit
from tests.support.event_loop import in_event_loop
from tests.support.plant import Record, make_log, small_bundle
from tests.support.properties import fast_first
from tests.support.stack.local_workers import SETTINGS, Plant, alarms_of_log, until

LOG = make_log(7, steps=60)
LINES = {"machine-*": "first", "machine-[135]": "second"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """On different grids, and of different sensors."""
    folder = tmp_path_factory.mktemp("bundles")
    first = small_bundle(folder / "first")
    second = small_bundle(folder / "second", threshold=1.5, sensors=("s3", "s1"), step_seconds=20.0)
    return {"first": load_bundle(first), "second": load_bundle(second)}


@pytest.fixture(scope="module")
def table(bundles: dict[str, Bundle]) -> BundleTable:
    return BundleTable.of((glob, bundles[name]) for glob, name in LINES.items())


def said(plant: Plant) -> list[Alarm]:
    return [Alarm.model_validate_json(value) for value in plant.alarms()]


@in_event_loop
async def test_each_bundle_decides_about_its_assets_and_all_is_accounted_for(
    table: BundleTable, bundles: dict[str, Bundle]
) -> None:
    plant = Plant(partitions=2)
    plant.send(LOG)
    await plant.run_to_the_end(table)
    alone = {
        name: {
            alarm
            for alarm in alarms_of_log(bundle, plant)
            if (json.loads(alarm)["asset"][-1] in "135") == (name == "second")
        }
        for name, bundle in bundles.items()
    }
    assert min(map(len, alone.values())) > 5
    assert plant.alarms() == alone["first"] | alone["second"]
    found = await audit(plant, table)
    assert found.good
    assert not found.not_judged
    assert sum(part.received for part in found.partitions) == sum(part.settled for part in found.partitions) > 1000


@pytest.mark.parametrize("seed", fast_first(range(3), 1))
@in_event_loop
async def test_whenever_a_worker_is_killed_the_alarms_are_those_of_the_log(table: BundleTable, seed: int) -> None:
    rng, plant = random.Random(seed), Plant(partitions=2)
    plant.send(LOG)
    for _ in range(6):
        await plant.run_and_kill(table, rng, 30)
    await plant.run_to_the_end(table)
    assert plant.alarms() == alarms_of_log(table, plant)
    assert (await audit(plant, table)).good


@in_event_loop
async def test_the_same_lines_in_another_order_are_the_same_table(
    table: BundleTable, bundles: dict[str, Bundle]
) -> None:
    plant, again = Plant(), BundleTable.of((glob, bundles[name]) for glob, name in reversed(LINES.items()))
    plant.send(LOG[: len(LOG) // 2])
    await plant.run_to_the_end(table)
    plant.send(LOG[len(LOG) // 2 :])
    await plant.run_to_the_end(again)
    assert again.manifest.bundle_id == table.manifest.bundle_id
    assert plant.alarms() == alarms_of_log(table, plant)


@pytest.mark.slow
@pytest.mark.parametrize("seed", fast_first(range(4), 1))
@in_event_loop
async def test_tables_and_bundles_that_take_turns_under_kills_say_nothing_that_an_audit_cannot_follow(
    table: BundleTable, bundles: dict[str, Bundle], seed: int
) -> None:
    other = BundleTable.of([("machine-[0-2]", bundles["second"]), ("machine-[3-5]", bundles["first"])])
    turns: list[AnyBundle] = [table, other, bundles["first"]]
    rng, plant = random.Random(seed), Plant(partitions=2)
    plant.send(LOG)
    for _ in range(8):
        await plant.run_and_kill(rng.choice(turns), rng, 60)
    await plant.run_to_the_end(table)
    found = await audit(plant, *turns)
    assert found.good, (found.alarms_lost, found.alarms_different, found.alarms_invented)
    contents: dict[tuple[str, str], bytes] = {}
    for value in plant.alarms():
        alarm = Alarm.model_validate_json(value)
        assert contents.setdefault((alarm.id, alarm.state), value) == value, "one alarm, two contents"
    raised = {alarm.id for alarm in said(plant) if alarm.state == "raised"}
    assert len(raised) > 5


@in_event_loop
async def test_what_another_table_decided_is_judged_by_its_lines_or_neither_judged_nor_invented_where_a_bundle_lacks(
    table: BundleTable, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    third = load_bundle(small_bundle(tmp_path / "third", threshold=2.2))
    other = BundleTable.of([("machine-*", bundles["second"]), ("machine-4", third)])
    plant = Plant(partitions=2)
    plant.send(LOG[: len(LOG) // 2])
    await plant.run_to_the_end(other)
    plant.send(LOG[len(LOG) // 2 :])
    await plant.run_to_the_end(table)
    found = await audit(plant, table, *bundles.values())
    assert found.good, (found.alarms_lost, found.alarms_different, found.alarms_invented)
    assert {span.bundle for span in found.not_judged} == {other.manifest.bundle_id}
    assert found.alarms > 5
    found = await audit(plant, table, third)
    assert found.good, (found.alarms_lost, found.alarms_different, found.alarms_invented)
    assert not found.not_judged


@in_event_loop
async def test_a_table_does_not_obey_a_control_record_and_says_so(
    table: BundleTable, bundles: dict[str, Bundle], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    plant = Plant()
    order = Order(SWITCH, SETTINGS.group, bundles["first"].manifest.bundle_id)
    plant.send([*LOG[:200], Record(0, KEY, to_value(order)), *LOG[200:]])
    worker = plant.worker(table, load_bundle=lambda _: bundles["first"])
    running = asyncio.create_task(worker.run())
    await until(plant.caught_up)
    worker.stop()
    assert await running == 0
    assert f"the record at 200 wants bundle {order.bundle} to decide, and is not obeyed" in caplog.text
    assert plant.alarms() == alarms_of_log(table, plant)
    assert (await audit(plant, table)).good


def test_the_reach_of_a_table_is_the_longest_of_its_bundles(table: BundleTable, bundles: dict[str, Bundle]) -> None:
    from stream_detector.streaming.worker.composition import needs_of, rewind_seconds

    each, of_all = [needs_of(bundle, SETTINGS) for bundle in bundles.values()], needs_of(table, SETTINGS)
    assert of_all.rewind_seconds == max(needs.rewind_seconds for needs in each)
    assert of_all.snapshot_bytes == max(needs.snapshot_bytes for needs in each)
    assert rewind_seconds(table.manifest) == rewind_seconds(bundles["second"].manifest)


def test_a_table_of_a_file_is_that_of_its_lines(table: BundleTable, tmp_path: Path) -> None:
    from stream_detector.bundle.table_file import load_table

    small_bundle(tmp_path / "first")
    small_bundle(tmp_path / "second", threshold=1.5, sensors=("s3", "s1"), step_seconds=20.0)
    path = tmp_path / "plant.toml"
    path.write_text("\n".join(f'[[bundles]]\nassets = "{glob}"\nbundle = "{name}"' for glob, name in LINES.items()))
    assert load_table(path, load_bundle).manifest.bundle_id == table.manifest.bundle_id
