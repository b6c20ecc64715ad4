"""Control records in the topic of readings: from them on another bundle decides, whatever is killed, and nobody begins
again."""

import asyncio
import json
import random
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.decoding.control_records import ANNOUNCE, KEY, SWITCH, WITHDRAW, Order, to_value
from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.local.clients import local_log_reader
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.topics.checks import TopicNeeds
from stream_detector.streaming.worker.bundle_watch import BundleWatch
from stream_detector.streaming.worker.worker import Worker
from tests.streaming.test_local_audit import audit
from tests.support.event_loop import in_event_loop
from tests.support.plant import CALIBRATED, SENSORS, Record, make_log, small_bundle
from tests.support.properties import fast_first
from tests.support.stack.local_workers import SETTINGS, Plant, until
from tests.support.switches import decided_by_log, engines_from

LOG = make_log(7, steps=60)
OTHER_SENSORS = SENSORS[:3]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The first bundle, one with another threshold, one with other sensors, one with a head."""
    folder = tmp_path_factory.mktemp("bundles")
    registry = Registry.create(folder / "registry")
    for name, made in (
        ("a", partial(small_bundle, threshold=2.75)),
        ("b", partial(small_bundle, threshold=2.45)),
        ("c", partial(small_bundle, threshold=1.9, sensors=OTHER_SENSORS)),
        ("head", partial(small_bundle, threshold=0.2, kind=CALIBRATED)),
    ):
        bundle_id = add_bundle(registry, made(folder / name), 1_780_000_000.0, "Kim").manifest.bundle_id
        registry.promote(f"the-{name}", bundle_id, "2026-11-01T00:00:00Z", "Kim")
    return registry


@dataclass
class Site:
    """A plant whose workers fetch bundles from a registry. `missing`: ids that have not arrived there yet."""

    registry: Registry
    plant: Plant = field(default_factory=lambda: Plant(partitions=2))
    missing: set[str] = field(default_factory=set)

    def id_of(self, name: str) -> str:
        return self.registry.resolve(f"the-{name}")

    def bundle(self, name: str) -> Bundle:
        return load_bundle(self.registry.folder_of(self.id_of(name)))

    def fetch(self, bundle_id: str) -> Bundle:
        place = self.registry.folder_of(bundle_id)
        return load_bundle(place.with_name("none") if bundle_id in self.missing else place)

    def worker(self, name: str = "a", bundle_watch: BundleWatch | None = None) -> Worker:
        return self.plant.worker(self.bundle(name), load_bundle=self.fetch, bundle_watch=bundle_watch)

    def order(self, name: str, control: str = SWITCH, group: str = SETTINGS.group, numbers: Iterable[int] = ()) -> None:
        value = to_value(Order(control, group, self.id_of(name), "2026-11-01T00:00:00Z", "Kim", "it saves more"))
        for number in numbers or range(self.plant.partitions):
            self.plant.broker.append(SETTINGS.topic_readings, value, KEY, number)

    def send(self, *parts: str, log: list[Record] = LOG) -> None:
        """The log in as many parts as there are names and one more; between two of them that bundle takes over."""
        size = len(log) // (len(parts) + 1) + 1
        for place in range(len(parts) + 1):
            self.plant.send(log[place * size : (place + 1) * size])
            if place < len(parts):
                self.order(parts[place])

    async def audited(self) -> bool:
        return (await audit(self.plant, *(self.bundle(name) for name in ("a", "b", "c", "head")))).good


def truth(site: Site, first: str = "a") -> set[bytes]:
    """What plain engines make of the log."""
    records = site.plant.broker.records(SETTINGS.topic_readings)

    said = decided_by_log(records, SETTINGS.group, site.id_of(first), engines_from(site.registry, SETTINGS))
    return set(said.alarms.values())


async def run_and_kill(plant: Plant, start: Callable[[], Worker], rng: random.Random) -> None:
    """One or two workers are killed eight times, while the broker acknowledges late and out of order."""
    for _ in range(8):
        await plant.kill_some(start, rng)
        plant.forget_held()


async def run_to_the_end(site: Site, name: str = "a") -> Worker:
    worker = site.worker(name)
    running = asyncio.create_task(worker.run())
    await until(site.plant.caught_up)
    worker.stop()
    assert (await running, worker.begins_again) == (0, False)
    return worker


def bundles_in(said: set[bytes]) -> set[str]:
    return {json.loads(alarm)["bundle"] for alarm in said}


@in_event_loop
async def test_from_a_control_record_on_another_bundle_decides_in_the_same_process(registry: Registry) -> None:
    site = Site(registry)
    site.send("b", "c", "a")
    await run_to_the_end(site)
    assert site.plant.alarms() == truth(site)
    assert bundles_in(site.plant.alarms()) == {site.id_of(name) for name in "abc"}
    assert await site.audited()


@in_event_loop
async def test_all_partitions_change_over_by_one_connection_to_the_log(registry: Registry) -> None:
    opened = []
    for names in ((), ("b", "c", "b")):
        site, readers = Site(registry), list[LogReader]()

        def open_log(settings: Settings, site: Site = site, readers: list[LogReader] = readers) -> LogReader:
            readers.append(local_log_reader(site.plant.broker, settings))
            return readers[-1]

        site.send(*names)
        await site.plant.run_to_the_end(site.bundle("a"), load_bundle=site.fetch, open_log=open_log)
        opened.append(len(readers))
    assert opened[1] == opened[0] + 1


@in_event_loop
async def test_a_record_that_names_who_decides_already_changes_nothing(registry: Registry) -> None:
    site = Site(registry)
    site.send("a", "a")
    alone = Site(registry)
    alone.plant.send(LOG)
    await run_to_the_end(site)
    await run_to_the_end(alone)
    assert site.plant.alarms() == alone.plant.alarms()


@in_event_loop
async def test_announcements_orders_to_others_and_damaged_ones_switch_nothing(registry: Registry) -> None:
    site = Site(registry)
    site.plant.send(LOG[: len(LOG) // 2])
    site.order("b", ANNOUNCE)
    site.order("b", "of-a-later-version")
    site.order("b", group="another")
    value = to_value(Order(SWITCH, SETTINGS.group, site.id_of("b"))).replace(b'"who":""', b'"who":"x"')
    site.plant.broker.append(SETTINGS.topic_readings, value, KEY, 0)
    site.plant.send(LOG[len(LOG) // 2 :])
    await run_to_the_end(site)
    assert bundles_in(site.plant.alarms()) == {site.id_of("a")}
    letters = [json.loads(letter or b"") for letter in site.plant.broker.values(SETTINGS.topic_dead_letters)]
    assert [letter["raw"] for letter in letters if letter["key"] == b64encode(KEY).decode()] == [
        b64encode(value).decode()
    ]
    assert await site.audited()


@pytest.mark.parametrize("seed", fast_first(range(3), 1))
@in_event_loop
async def test_whenever_workers_are_killed_the_alarms_are_those_of_the_log_and_its_switches(
    registry: Registry, seed: int
) -> None:
    rng, site = random.Random(seed), Site(registry)
    site.send(*rng.choices("abc", k=4))
    await run_and_kill(site.plant, site.worker, rng)
    await run_to_the_end(site)
    assert site.plant.alarms() == truth(site)
    assert await site.audited()


async def stands_before_b(site: Site) -> tuple[Worker, asyncio.Task[int]]:
    """A worker in the middle of the log, at a record that names the bundle b, which has not arrived; and its run."""
    site.missing.add(site.id_of("b"))
    site.send("b")
    worker = site.worker()
    running = asyncio.create_task(worker.run())
    await until(lambda: site.id_of("b") in (worker.lifecycle.why_not_ready() or ""))
    return worker, running


@in_event_loop
async def test_a_worker_stands_before_the_record_until_the_bundle_is_there_and_says_so(registry: Registry) -> None:
    site = Site(registry)
    worker, running = await stands_before_b(site)
    at = [next(r.offset for r in site.plant.broker.between(site.plant.tp(n), 0)[0] if r.key == KEY) for n in (0, 1)]
    await until(lambda: any(site.plant.committed(number) == at[number] for number in (0, 1)))
    assert bundles_in(site.plant.alarms()) == {site.id_of("a")}
    site.missing.clear()
    await until(site.plant.caught_up)
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    worker.stop()
    assert await running == 0
    assert site.plant.alarms() == truth(site)


@pytest.mark.slow
@in_event_loop
async def test_a_bundle_whose_snapshots_its_topic_would_not_take_is_waited_for(registry: Registry) -> None:
    site, largest = Site(registry), [0]

    async def check_topics(_: Settings, needs: TopicNeeds) -> None:
        if needs.snapshot_bytes > largest[0]:
            raise BrokerError(f"topic state takes {largest[0]} bytes, wanted are {needs.snapshot_bytes}")

    worker = site.plant.worker(site.bundle("a"), load_bundle=site.fetch, check_topics=check_topics)
    site.send("b")
    running = asyncio.create_task(worker.run())
    await until(lambda: "topic state takes 0 bytes" in (worker.lifecycle.why_not_ready() or ""))
    largest[0] = 1_000_000
    await until(site.plant.caught_up)
    worker.stop()
    assert await running == 0
    assert site.plant.alarms() == truth(site)


@pytest.mark.slow
@in_event_loop
async def test_a_record_that_is_taken_back_lets_a_worker_that_stands_before_it_go_on(registry: Registry) -> None:
    site = Site(registry)
    worker, running = await stands_before_b(site)
    site.order("b", WITHDRAW)
    site.order("a")
    site.plant.send(LOG)
    await until(site.plant.caught_up)
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    worker.stop()
    assert await running == 0
    assert bundles_in(site.plant.alarms()) == {site.id_of("a")}
    assert site.plant.alarms() == truth(site)
    assert await site.audited()


@in_event_loop
async def test_a_record_that_is_taken_back_is_passed_over_by_who_has_the_bundle_too(registry: Registry) -> None:
    site = Site(registry)
    site.send("b", "c")
    site.order("c", WITHDRAW)
    site.plant.send(LOG[:100])
    await run_to_the_end(site)
    assert bundles_in(site.plant.alarms()) == {site.id_of("a"), site.id_of("b")}
    assert site.plant.alarms() == truth(site)
    assert await site.audited()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@in_event_loop
async def test_whenever_workers_that_stand_are_killed_what_was_taken_back_stays_so(
    registry: Registry, seed: int
) -> None:
    rng, site = random.Random(seed), Site(registry)
    worker, running = await stands_before_b(site)
    site.order("b", WITHDRAW)
    site.order("c")
    site.plant.send(LOG)
    for _ in range(5):
        await asyncio.sleep(rng.uniform(0.0, 0.2))
        site.plant.streams[-1].kill()
        running.cancel()
        # It may have come by now: that changes nothing.
        site.missing = site.missing if rng.random() < 0.5 else set()
        worker = site.worker()
        running = asyncio.create_task(worker.run())
    await until(site.plant.caught_up)
    worker.stop()
    assert await running == 0
    assert site.id_of("b") not in bundles_in(site.plant.alarms())
    assert site.plant.alarms() == truth(site)
    assert await site.audited()


@in_event_loop
async def test_what_was_obeyed_before_it_was_taken_back_is_history(registry: Registry) -> None:
    site = Site(registry)
    site.send("b")
    await run_to_the_end(site)
    said = site.plant.alarms()
    site.order("b", WITHDRAW)
    site.order("a")
    await run_to_the_end(site)
    assert said <= site.plant.alarms()
    assert site.id_of("b") in bundles_in(site.plant.alarms())
    assert await site.audited()


@in_event_loop
async def test_a_worker_that_stands_before_a_record_ends_in_order_and_lets_others_go_on(registry: Registry) -> None:
    site = Site(registry)
    first, running = await stands_before_b(site)
    # The other one has the bundle.
    second = site.plant.worker(site.bundle("a"), load_bundle=Site(registry).fetch)
    other = asyncio.create_task(second.run())
    await until(lambda: len(second.pipeline.partitions) == 1)
    first.stop()
    assert await running == 0
    await until(site.plant.caught_up)
    second.stop()
    assert await other == 0
    assert site.plant.alarms() == truth(site)


@in_event_loop
async def test_a_later_start_with_the_bundle_of_before_goes_by_the_log_and_one_with_a_third_takes_over(
    registry: Registry,
) -> None:
    site = Site(registry)
    site.send("b", log=LOG[: len(LOG) // 3])
    await run_to_the_end(site)
    site.plant.send(LOG[len(LOG) // 3 : 2 * len(LOG) // 3])
    await run_to_the_end(site, "a")
    assert site.plant.alarms() == truth(site)
    site.plant.send(LOG[2 * len(LOG) // 3 :])
    await run_to_the_end(site, "c")
    assert site.id_of("c") in bundles_in(site.plant.alarms())
    assert await site.audited()


def aliased(site: Site, tmp_path: Path, group: str | None) -> Callable[[], Worker]:
    """Starts a worker by an alias that came to stand for b, together with a record in this group's log."""
    copy = Registry(Path(shutil.copytree(site.registry.folder, tmp_path / "registry")))
    copy.promote("champion", site.id_of("a"), "2026-11-01T00:00:00Z", "Kim")
    copy.promote("champion", site.id_of("b"), "2026-11-02T00:00:00Z", "Kim", "", group)
    alias = copy.folder / "champion"

    def start() -> Worker:
        bundle = load_bundle(alias)
        watch = BundleWatch(alias, bundle.manifest.bundle_id, lambda: None, lambda: 0.0, SETTINGS.group)
        return site.plant.worker(bundle, load_bundle=site.fetch, bundle_watch=watch)

    return start


@pytest.mark.parametrize("in_log", [True, False])
@in_event_loop
async def test_a_worker_that_starts_by_the_alias_waits_for_the_record_where_there_is_one(
    registry: Registry, tmp_path: Path, in_log: bool
) -> None:
    site = Site(registry)
    site.plant.send(LOG[: len(LOG) // 3])
    await run_to_the_end(site)
    worker = aliased(site, tmp_path, SETTINGS.group if in_log else None)()
    running = asyncio.create_task(worker.run())
    site.plant.send(LOG[len(LOG) // 3 : 2 * len(LOG) // 3])
    await until(site.plant.caught_up)
    before = bundles_in(site.plant.alarms())
    site.order("b")
    site.plant.send(LOG[2 * len(LOG) // 3 :])
    await until(site.plant.caught_up)
    worker.stop()
    assert (await running, worker.begins_again) == (0, False)
    assert (site.id_of("b") in before) == (not in_log)
    if in_log:
        assert site.plant.alarms() == truth(site)
    assert await site.audited()


@in_event_loop
async def test_a_worker_that_cannot_read_the_registry_does_not_take_over_before_the_record(
    registry: Registry, tmp_path: Path
) -> None:
    site = Site(registry)
    site.plant.send(LOG[: len(LOG) // 3])
    await run_to_the_end(site)
    worker = aliased(site, tmp_path, SETTINGS.group)()
    shutil.move(tmp_path / "registry", tmp_path / "away")
    site.plant.send(LOG[len(LOG) // 3 :])
    assert await worker.run() == 75
    assert bundles_in(site.plant.alarms()) == {site.id_of("a")}


@in_event_loop
async def test_offsets_that_are_set_back_across_switches_raise_nothing_anew(registry: Registry) -> None:
    site = Site(registry)
    site.send("b", "c", "a")
    await run_to_the_end(site)
    said, rng = list(site.plant.broker.values(SETTINGS.topic_alarms)), random.Random(1)
    for _ in range(4):
        for number in (0, 1):
            end = site.plant.broker.end(site.plant.tp(number))
            site.plant.commit_of_another(rng.randrange(end), number=number)
        await run_to_the_end(site)
    assert set(said) == site.plant.alarms()
    assert site.plant.alarms() == truth(site)


@pytest.mark.parametrize("orders", [[], [ANNOUNCE, ANNOUNCE]], ids=["the switch", "the switch and announcements"])
@in_event_loop
async def test_a_commit_right_behind_the_record_leaves_heads_as_they_had_read_on(
    registry: Registry, orders: list[str]
) -> None:
    """No reading lies behind the record yet, so no batch has told of the assets that the bundle has read of."""
    site = Site(registry)
    log = make_log(7, steps=100)  # longer than windows reach back
    site.plant.send(log[: len(log) // 2])
    site.order("head")
    for control in orders:
        site.order("c", control)
    await run_to_the_end(site)
    site.plant.send(log[len(log) // 2 :])
    await run_to_the_end(site)
    assert site.id_of("head") in bundles_in(site.plant.alarms())
    assert site.plant.alarms() == truth(site)
    assert await site.audited()


@in_event_loop
async def test_ids_behind_a_switch_do_not_tell_that_a_worker_died_before_its_first_commit(registry: Registry) -> None:
    site = Site(registry)
    site.plant.send(LOG[: len(LOG) // 3])
    for _ in range(2):
        await run_to_the_end(site)
        site.plant.broker.committed.clear()  # its snapshots lie in the topic of state
    site.order("b")
    site.plant.send(LOG[len(LOG) // 3 :])
    await run_to_the_end(site)
    assert site.plant.alarms() == truth(site)
    assert await site.audited()


@in_event_loop
async def test_a_group_that_begins_anew_follows_the_switches_of_the_log(registry: Registry) -> None:
    site = Site(registry)
    site.send("b", "c", "a")
    await run_to_the_end(site)
    said = site.plant.alarms()
    site.plant.broker.committed.clear()
    site.plant.broker.delete_topic(SETTINGS.topic_state)
    site.plant.broker.delete_topic(SETTINGS.topic_alarms)
    await run_to_the_end(site)
    assert site.plant.alarms() == said == truth(site)
