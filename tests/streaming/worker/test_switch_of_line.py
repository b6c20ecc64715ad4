"""Control records about one line of a table: from them on another bundle decides for its assets, and for no others."""

import asyncio
import json
import logging
import random
from collections.abc import Iterable

import pytest

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.bundle_table import BundleTable
from stream_detector.bundle.registry import Registry
from stream_detector.decoding.control_records import DROP_LINE, KEY, SWITCH_LINE, WITHDRAW_LINE, Order, to_value
from stream_detector.streaming.worker.worker import Worker
from tests.streaming.test_local_audit import audit
from tests.streaming.worker.test_switch_in_log import LOG, Site, bundles_in, registry, run_and_kill
from tests.support.event_loop import in_event_loop
from tests.support.plant import Record, make_log
from tests.support.properties import fast_first
from tests.support.stack.local_workers import SETTINGS, until
from tests.support.switches import Said, decided_by_table, engines_from

__all__ = ["registry"]

LINES = {"machine-*": "a", "machine-[135]": "b"}
GLOBS = ["machine-*", "machine-[135]", "machine-3", "machin*[0-3]", "machine-?"]


class TableSite(Site):
    """A plant whose workers are started with a table of the bundles a and b; fetch c, and whatever they lack."""

    def table(self, lines: dict[str, str] = LINES) -> BundleTable:
        return BundleTable.of((glob, self.bundle(name)) for glob, name in lines.items())

    def starts(self, lines: dict[str, str] = LINES) -> Worker:
        return self.plant.worker(self.table(lines), load_bundle=self.fetch)

    def line(self, glob: str, name: str, control: str = SWITCH_LINE, numbers: Iterable[int] = (0, 1)) -> None:
        order = Order(control, SETTINGS.group, self.id_of(name), "2026-11-01T00:00:00Z", "Kim", "it saves more", glob)
        for number in numbers:
            self.plant.broker.append(SETTINGS.topic_readings, to_value(order), KEY, number)

    def send_with(self, *changes: tuple[str, str], log: list[Record] = LOG) -> None:
        """The log in as many parts as there are changes (glob, bundle; "" = taken out) and one more."""
        size, now = len(log) // (len(changes) + 1) + 1, dict(LINES)
        for place in range(len(changes) + 1):
            self.plant.send(log[place * size : (place + 1) * size])
            if place < len(changes):
                glob, name = changes[place]
                self.line(glob, name or now.get(glob, "a"), SWITCH_LINE if name else DROP_LINE)
                now = {**now, glob: name} if name else {key: value for key, value in now.items() if key != glob}

    def truth(self) -> Said:
        lines = {glob: self.id_of(name) for glob, name in LINES.items()}
        records = self.plant.broker.records(SETTINGS.topic_readings)
        return decided_by_table(records, SETTINGS.group, lines, engines_from(self.registry, SETTINGS))

    async def is_audited(self, *others: BundleTable | Bundle) -> bool:
        found = await audit(self.plant, self.table(), *(self.bundle(name) for name in "abc"), *others)
        return found.good and not found.not_judged

    async def run_on(self, lines: dict[str, str] = LINES) -> None:
        await self.plant.run_to_the_end(self.table(lines), load_bundle=self.fetch)


def raised_by(said: set[bytes], name: str, site: Site) -> set[str]:
    """Assets that the bundle has raised alarms of."""
    alarms = [json.loads(alarm) for alarm in said]
    return {alarm["asset"] for alarm in alarms if alarm["bundle"] == site.id_of(name)}


@in_event_loop
async def test_from_the_record_on_another_bundle_decides_for_the_assets_of_the_line_alone(registry: Registry) -> None:
    site = TableSite(registry)
    site.send_with(("machine-[135]", "c"))
    await site.run_on()
    said = site.plant.alarms()
    assert said == set(site.truth().alarms.values())
    assert raised_by(said, "c", site) == {"machine-1", "machine-3", "machine-5"}
    assert raised_by(said, "a", site) == {"machine-0", "machine-4"}
    assert await site.is_audited()


@in_event_loop
async def test_assets_of_other_lines_are_not_disturbed(registry: Registry) -> None:
    site, alone = TableSite(registry), TableSite(registry)
    site.send_with(("machine-[135]", "c"), ("machine-5", "a"), ("machine-5", ""))
    alone.plant.send(LOG)
    await site.run_on()
    await alone.run_on()
    others = ("machine-0", "machine-2", "machine-4")
    mine, undisturbed = (
        {alarm for alarm in each.plant.alarms() if json.loads(alarm)["asset"] in others} for each in (site, alone)
    )
    assert len(mine) > 5
    assert mine == undisturbed


@in_event_loop
async def test_a_new_line_takes_its_assets_from_less_specific_ones_and_gives_them_back_when_it_is_taken_out(
    registry: Registry,
) -> None:
    site = TableSite(registry)
    site.send_with(("machine-3", "c"), ("machine-[135]", "a"), ("machine-3", ""), ("machine-*", "c"))
    await site.run_on()
    assert site.plant.alarms() == set(site.truth().alarms.values())
    assert await site.is_audited()


@pytest.mark.slow
@pytest.mark.parametrize("seed", fast_first(range(4), 1))
@in_event_loop
async def test_whenever_workers_are_killed_the_alarms_are_those_of_the_log_and_its_changes_of_lines(
    registry: Registry, seed: int
) -> None:
    rng, site = random.Random(seed), TableSite(registry)
    site.send_with(*[(rng.choice(GLOBS), rng.choice(["a", "b", "c", "c", ""])) for _ in range(6)])
    await run_and_kill(site.plant, site.starts, rng)
    await site.run_on()
    assert site.plant.alarms() == set(site.truth().alarms.values())
    assert await site.is_audited()


@pytest.mark.slow
@in_event_loop
async def test_offsets_that_are_set_back_across_changes_of_lines_raise_nothing_anew(registry: Registry) -> None:
    site, rng = TableSite(registry), random.Random(1)
    site.send_with(("machine-3", "c"), ("machine-*", "b"), ("machine-3", "a"))
    await site.run_on()
    for _ in range(4):
        for number in (0, 1):
            site.plant.commit_of_another(rng.randrange(site.plant.broker.end(site.plant.tp(number))), number=number)
        await site.run_on()
    assert site.plant.alarms() == set(site.truth().alarms.values())


@in_event_loop
async def test_a_commit_right_behind_the_record_leaves_heads_as_they_had_read_on(registry: Registry) -> None:
    """No reading lies behind the record yet, so no batch has told of the assets that the line's bundle has read of."""
    site, log = TableSite(registry), make_log(7, steps=100)  # longer than windows reach back
    site.plant.send(log[: len(log) // 2])
    site.line("machine-[135]", "head")
    await site.run_on()
    site.plant.send(log[len(log) // 2 :])
    await site.run_on()
    assert site.id_of("head") in bundles_in(site.plant.alarms())
    assert site.plant.alarms() == set(site.truth().alarms.values())
    assert await site.is_audited(site.bundle("head"))


@in_event_loop
async def test_a_worker_that_starts_with_the_table_of_before_goes_by_the_log_and_so_does_one_with_what_came_of_it(
    registry: Registry,
) -> None:
    site, third = TableSite(registry), len(LOG) // 3
    site.send_with(("machine-3", "c"), ("machine-[135]", "a"), log=LOG[:third])
    await site.run_on()
    site.plant.send(LOG[third : 2 * third])
    await site.run_on()
    site.plant.send(LOG[2 * third :])
    await site.run_on({**LINES, "machine-3": "c", "machine-[135]": "a"})
    assert site.plant.alarms() == set(site.truth().alarms.values())
    assert await site.is_audited()


@in_event_loop
async def test_a_file_that_says_something_new_takes_over(registry: Registry) -> None:
    site, half = TableSite(registry), len(LOG) // 2
    site.send_with(("machine-3", "c"), log=LOG[:half])
    await site.run_on()
    before = site.plant.alarms()
    site.plant.send(LOG[half:])
    await site.run_on({"machine-*": "b"})
    behind = [json.loads(alarm) for alarm in site.plant.alarms() - before]
    assert {alarm["bundle"] for alarm in behind if alarm["state"] == "raised"} == {site.id_of("b")}
    assert await site.is_audited(site.table({"machine-*": "b"}))


@pytest.mark.slow
@in_event_loop
async def test_a_worker_stands_before_the_record_until_the_bundle_is_there_or_the_record_is_taken_back(
    registry: Registry,
) -> None:
    site = TableSite(registry)
    site.missing.add(site.id_of("c"))
    site.send_with(("machine-3", "c"))
    worker = site.starts()
    running = asyncio.create_task(worker.run())
    await until(lambda: site.id_of("c") in (worker.lifecycle.why_not_ready() or ""))
    site.line("machine-1", "c", WITHDRAW_LINE)  # of another line
    site.line("machine-3", "c", WITHDRAW_LINE)
    site.plant.send(LOG[:200])
    await until(site.plant.caught_up)
    worker.stop()
    assert await running == 0
    assert bundles_in(site.plant.alarms()) == {site.id_of(name) for name in "ab"}
    assert site.plant.alarms() == set(site.truth().alarms.values())
    assert await site.is_audited()


@in_event_loop
async def test_a_line_that_would_contradict_another_is_passed_over_and_said(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    site = TableSite(registry)
    site.send_with(("machine-[1-5]", "c"))
    await site.run_on()
    assert "equally specific" in caplog.text
    assert bundles_in(site.plant.alarms()) == {site.id_of(name) for name in "ab"}
    assert await site.is_audited()


@in_event_loop
async def test_an_asset_whose_bundle_is_not_given_leaves_what_follows_unjudged(registry: Registry) -> None:
    site = TableSite(registry)
    site.send_with(("machine-3", "c"), ("machine-*", "b"))
    await site.run_on()
    found = await audit(site.plant, site.table())
    assert found.good, (found.alarms_lost, found.alarms_different, found.alarms_invented)
    assert {span.bundle[:6] for span in found.not_judged} == {"table-"}
