"""A machine that is silent while bundles change stays known as silent, whatever is killed in between."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from stream_detector.bundle.bundle_table import BundleTable
from stream_detector.bundle.registry import Registry
from stream_detector.decoding.control_records import DROP_LINE, KEY, SWITCH_LINE, Order, to_value
from stream_detector.engine.outcome import AssetStatus
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.local.clients import local_log_reader
from stream_detector.streaming.state.group_facts import SILENT as SILENT_FACT
from stream_detector.streaming.state.group_facts import Silence, fact_message, parse_fact
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.worker import housekeeping, silences
from stream_detector.streaming.worker.housekeeping import moved_silences
from stream_detector.streaming.worker.silences import Review
from stream_detector.streaming.worker.worker import Worker
from tests.streaming.worker.health.test_worker_metrics import status
from tests.streaming.worker.test_housekeeping import house
from tests.streaming.worker.test_switch_in_log import Site, registry, run_and_kill
from tests.support.event_loop import in_event_loop
from tests.support.pipelines import Rig, ScriptedEngine, fetched, outcome_with
from tests.support.plant import BASE, SENSORS, STEP_SECONDS
from tests.support.properties import fast_first
from tests.support.stack.local_workers import SETTINGS, Plant, until
from tests.support.state_topic import StateTopic

__all__ = ["registry"]

SILENT = "machine-2"
OTHERS = ("machine-0", "machine-1")
FAR = 200
"""Steps, far more than windows and episodes of the bundles reach back."""
LAST = BASE + 9 * STEP_SECONDS
"""When the silent machine was heard last."""


@dataclass
class Watched:
    """A worker at work, and what its console is shown."""

    worker: Worker
    calm: int = 0
    """Shows in a row after which nothing was to be written down."""
    assets: list[AssetStatus] = field(default_factory=list)
    unheard: list[Silence] = field(default_factory=list)

    def observing(self, assets: Sequence[AssetStatus], unheard: Sequence[Silence], at_once: int) -> Iterator[None]:
        assert self.worker._housekeeping is not None
        # Of a worker that is not assigned its partitions yet nothing is shown.
        calm = self.worker.lifecycle.why_not_ready() is None and not self.worker._housekeeping._reviews
        self.calm = self.calm + 1 if calm else 0
        self.assets, self.unheard = list(assets), list(unheard)
        yield

    @property
    def silent(self) -> dict[str, float]:
        return {silence.asset: silence.heard for silence in self.unheard}

    @property
    def watched(self) -> set[str]:
        return {status.asset for status in self.assets}

    def watermark(self, asset: str = SILENT) -> float | None:
        registry = self.worker._recorder.metrics.registry
        return registry.get_sample_value("stream_detector_watermark_timestamp_seconds", {"asset": asset})

    def evicted(self) -> float | None:
        return self.worker._recorder.metrics.registry.get_sample_value("stream_detector_assets_evicted_total")

    async def settles(self) -> None:
        """It has shown everything as it stands, and written down who is silent."""
        self.calm = 0
        await until(lambda: self.calm > 2)


@dataclass
class SilentSite(Site):
    """Its records have the times of their readings, as a broker's do: windows are looked for by time."""

    plant: Plant = field(default_factory=Plant)
    sent: int = 0

    def rows(self, steps: int, *assets: str) -> None:
        """So many more steps of these machines."""
        rng = random.Random(self.sent)
        for step in range(self.sent, self.sent + steps):
            for asset in assets:
                at = BASE + step * STEP_SECONDS
                body = {"time": at, "values": {sensor: round(rng.gauss(0, 1), 3) for sensor in SENSORS}}
                topic, number = self.plant.settings.topic_readings, sum(asset.encode()) % self.plant.partitions
                self.plant.broker.append(
                    topic, json.dumps(body).encode(), asset.encode(), number, timestamp=round(1000 * at)
                )
        self.sent += steps

    def falls_silent(self) -> None:
        self.rows(10, SILENT, *OTHERS)
        self.rows(FAR, *OTHERS)

    def line(self, glob: str, name: str, control: str = SWITCH_LINE) -> None:
        order = Order(control, SETTINGS.group, self.id_of(name), "2026-11-01T00:00:00Z", "Kim", "it saves more", glob)
        self.plant.broker.append(SETTINGS.topic_readings, to_value(order), KEY, 0)

    def table(self) -> BundleTable:
        return BundleTable.of([("machine-*", self.bundle("a")), ("machine-2", self.bundle("b"))])

    async def run(
        self, start: Callable[[], Worker] | None = None, *then: Callable[[], object], kill: bool = False
    ) -> Watched:
        """A worker reads all there is, and what these send, one after another; then it ends, or is killed."""
        watched = Watched((start or self.worker)())
        watched.worker._console = watched
        running = asyncio.create_task(watched.worker.run())
        for send in (lambda: None, *then):
            send()
            await until(self.plant.caught_up)
            await watched.settles()
        if kill:
            self.plant.streams[-1].kill()
            running.cancel()
        else:
            watched.worker.stop()
            assert await running == 0
        return watched

    def written(self, number: int = 0) -> dict[str, float]:
        """{asset: since when it is silent}, as the group has written it down."""
        state = PartitionState(SETTINGS.group, 10**9)
        state.take(self.plant.broker.between(TopicPartition(SETTINGS.topic_state, number), 0)[0])
        return {asset: silence.heard for asset, silence in state.silences.items()}


def shown_as_silent(watched: Watched) -> None:
    assert watched.watched == set(OTHERS)
    assert watched.silent == {SILENT: LAST}
    assert watched.watermark() == LAST


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends nothing is written down at the next look, not after half a minute."""
    monkeypatch.setattr(silences, "LATEST_NOTED_SECONDS", 0.0)


@in_event_loop
async def test_a_control_record_leaves_a_silent_machine_known_and_so_do_restarts_and_further_ones(
    registry: Registry,
) -> None:
    site = SilentSite(registry)
    site.falls_silent()
    before = await site.run()
    assert (before.watched, before.silent, before.watermark()) == ({SILENT, *OTHERS}, {}, LAST)
    site.order("b")
    site.rows(20, *OTHERS)
    shown_as_silent(await site.run(kill=True))
    shown_as_silent(await site.run())
    site.order("c")
    shown_as_silent(await site.run(None, lambda: site.order("a"), lambda: site.rows(FAR, *OTHERS)))
    assert await site.audited()


@in_event_loop
async def test_a_worker_that_sees_the_record_in_the_midst_of_its_work_shows_the_machine_all_the_time(
    registry: Registry,
) -> None:
    site = SilentSite(registry)
    site.falls_silent()
    shown_as_silent(await site.run(None, lambda: site.order("b"), lambda: site.rows(20, *OTHERS)))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kill", [False, True])
@in_event_loop
async def test_a_restart_with_another_bundle_leaves_a_silent_machine_known(registry: Registry, kill: bool) -> None:
    site = SilentSite(registry)
    site.falls_silent()
    await site.run(kill=kill)
    for name in ("b", "b", "a"):
        site.rows(FAR, *OTHERS)
        shown_as_silent(await site.run(lambda name=name: site.worker(name), kill=kill))  # type: ignore[misc]
    assert await site.audited()


@in_event_loop
async def test_a_changed_line_of_a_table_leaves_its_silent_machine_known_until_nobody_decides_for_it(
    registry: Registry,
) -> None:
    site = SilentSite(registry)

    def start() -> Worker:
        return site.plant.worker(site.table(), load_bundle=site.fetch)

    site.falls_silent()
    assert (await site.run(start)).silent == {}
    site.line("machine-2", "c")
    site.rows(20, *OTHERS)
    shown_as_silent(await site.run(start))
    site.line("machine-2", "c", DROP_LINE)  # now it is of the other line
    shown_as_silent(await site.run(start))
    site.line("machine-[01]", "b")
    site.line("machine-*", "a", DROP_LINE)
    watched = await site.run(start)
    assert (watched.watched, watched.silent, watched.watermark()) == (set(OTHERS), {}, None)


@pytest.mark.usefixtures("at_once")
@in_event_loop
async def test_a_machine_that_is_heard_again_is_as_any_other_and_silent_again_later(registry: Registry) -> None:
    site = SilentSite(registry)
    site.falls_silent()
    site.order("b")
    shown_as_silent(await site.run())
    site.rows(1, SILENT, *OTHERS)
    watched = await site.run()
    last = BASE + (site.sent - 1) * STEP_SECONDS
    assert (watched.watched, watched.silent, watched.watermark()) == ({SILENT, *OTHERS}, {}, last)
    site.rows(FAR, *OTHERS)
    site.order("c")
    watched = await site.run()
    assert (watched.watched, watched.silent, watched.watermark()) == (set(OTHERS), {SILENT: last}, last)


@in_event_loop
async def test_a_machine_that_goes_on_sending_is_not_written_down(registry: Registry) -> None:
    site = SilentSite(registry)
    site.falls_silent()
    site.order("b")
    await site.run(None, lambda: site.rows(20, SILENT, *OTHERS))
    assert site.written() == {}


EVICTING = SETTINGS.model_copy(update={"evict_after_seconds": 3_000.0, "evict_after_records": 160})


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("switched", [False, True])
@in_event_loop
async def test_a_silent_machine_is_evicted_as_before_and_counted(registry: Registry, switched: bool) -> None:
    site = SilentSite(registry, Plant(settings=EVICTING))
    site.falls_silent()
    await site.run()
    if switched:
        site.order("b")
        assert (await site.run()).silent == {SILENT: LAST}
    site.rows(FAR, *OTHERS)
    watched = await site.run()
    assert (watched.watched, watched.silent, watched.watermark()) == (set(OTHERS), {}, None)
    assert watched.evicted() == 1
    assert SILENT not in site.written()
    site.order("c")
    assert (await site.run()).silent == {}


@pytest.mark.usefixtures("at_once")
@in_event_loop
async def test_a_machine_that_was_evicted_while_nobody_looked_does_not_come_back_as_silent(registry: Registry) -> None:
    site = SilentSite(registry, Plant(settings=EVICTING))
    site.falls_silent()
    await site.run(kill=True)
    site.rows(FAR, *OTHERS)
    site.order("b")
    assert (await site.run()).silent == {}
    assert SILENT not in site.written()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("seed", fast_first(range(6), 1))
@in_event_loop
async def test_whenever_workers_are_killed_a_silent_machine_stays_known(registry: Registry, seed: int) -> None:
    rng, site = random.Random(seed), SilentSite(registry, Plant(partitions=2))
    site.rows(10, SILENT, *OTHERS, "machine-3")
    site.rows(FAR, *OTHERS, "machine-3")
    await site.run()
    for name in ("b", "c"):
        site.order(name)
        site.rows(20, *OTHERS, "machine-3")
    await run_and_kill(site.plant, site.worker, rng)
    watched = await site.run(lambda: site.worker(rng.choice("ab")))
    assert watched.silent == {SILENT: LAST}
    assert watched.watermark() == LAST
    assert await site.audited()


@pytest.mark.parametrize("heard", ["NaN", "1e400", "-Infinity", -1e18, 1e15, None, "then", []])
def test_a_silence_since_no_time_that_can_be_shown_is_none(heard: object) -> None:
    key, body = json.dumps(["g", SILENT_FACT, 0, "m"]).encode(), {"heard": heard, "offset": 5}
    assert parse_fact(key, json.dumps(body | {"heard": LAST}).encode(), 0, "g") is not None
    assert parse_fact(key, json.dumps(body).encode(), 0, "g") is None


def test_a_machine_is_not_silent_where_another_partition_has_heard_it_later() -> None:
    states = {}
    for number, (snapshot, silence) in enumerate(
        [(False, LAST), (True, None), (False, LAST + 60), (False, LAST - 60), (False, None)]
    ):
        topic = StateTopic()
        if snapshot:
            topic.snapshot("A", "moved", 5)
        else:
            topic.snapshot("A", "stayed", 5)
        if silence is not None:
            settings = Settings.load(group="g")
            topic.write([fact_message(settings, Silence(0, asset, silence, 5)) for asset in ("moved", "noted")])
        states[number] = topic.read()
    here = {asset: Silence(0, asset, LAST, 5) for asset in ("moved", "noted", "alone")}
    assert [each.asset for each in moved_silences(here.values(), states)] == ["moved", "noted"]
    assert not moved_silences([Silence(2, "noted", LAST + 60, 5)], states)


@pytest.mark.parametrize("same_worker", [True, False])
@in_event_loop
async def test_a_machine_that_moved_to_another_partition_is_not_shown_as_silent_in_the_old_one(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, same_worker: bool
) -> None:
    site = SilentSite(registry)
    site.falls_silent()
    site.order("b")
    shown_as_silent(await site.run())
    monkeypatch.setattr(housekeeping._Quiet.__init__, "__defaults__", (None, 0.05, 0.0))  # looked for at once
    site.plant.broker.create_topic(SETTINGS.topic_readings, 2)
    site.plant.broker.create_topic(SETTINGS.topic_state, 2)
    site.plant.partitions = 2
    body = {"time": BASE + site.sent * STEP_SECONDS, "values": dict.fromkeys(SENSORS, 0.1)}
    site.plant.broker.append(SETTINGS.topic_readings, json.dumps(body).encode(), SILENT.encode(), 1)
    workers = [site.worker() for _ in range(1 if same_worker else 2)]
    watched = [Watched(worker) for worker in workers]
    for each in watched:
        each.worker._console = each
    running = [asyncio.create_task(worker.run()) for worker in workers]
    await until(lambda: site.plant.caught_up() and site.written() == {})
    for each in watched:
        await each.settles()
        each.worker.stop()
    assert await asyncio.gather(*running) == [0] * len(workers)
    assert set[str]().union(*(each.watched for each in watched)) == {SILENT, *OTHERS}
    assert [each.silent for each in watched] == [{}] * len(workers)


@in_event_loop
async def test_what_a_suspended_worker_writes_about_silence_or_takes_back_is_mended() -> None:
    rig = await Rig().start()
    rig.group_committed(12, '{"low":0}')
    rig.readings(20)
    await rig.pipeline.plan({0}, rig)
    progress, mine, theirs = rig.pipeline.partitions[0], Silence(0, "m", LAST, 12), Silence(0, "n", LAST, 3)
    progress.processed = 12
    await rig.pipeline.note_silences(0, progress, progress.term, Review(noted=[mine]))
    progress.silences["gone"] = gone = Silence(0, "gone", LAST, 3)
    for _ in range(2):
        await rig.pipeline.note_silences(0, progress, progress.term, Review(evicted=[gone]))
    assert [told for told in rig.observer.told if "evicted" in told] == ["evicted 1"]
    for late in (fact_message(rig.settings, mine, taken_back=True), fact_message(rig.settings, theirs)):
        rig.broker.append(late.topic, late.value, late.key, 0)
    async with local_log_reader(rig.broker, rig.settings) as reader:
        await rig.pipeline.mend(reader.state_where_other)
        state = (await reader.state({0: 20}))[0]
    assert state.silences == progress.silences == {"m": mine}
    progress.state_lost = True
    rig.broker.delete_topic(rig.settings.topic_state)
    await rig.pipeline._say_again()
    async with local_log_reader(rig.broker, rig.settings) as reader:
        assert (await reader.state({0: 20}))[0].silences == {"m": mine}


async def written_by(pauses: Callable[[int, int], float], assets: int = 50, minutes: int = 20) -> int:
    """Records of silence in so long, of machines that send again after a pause: of each one, and of each time."""
    home, begun = house(), [float(number) for number in range(assets)]
    home.rig.own()
    await home.rig.start()
    due, heard = list(begun), [0.0] * assets
    sent = [0] * assets
    for second in range(60 * minutes):
        home.rig.now = float(second)
        for number in range(assets):
            while due[number] <= second:
                heard[number], sent[number] = due[number], sent[number] + 1
                due[number] += pauses(number, sent[number])
        home.keeping.observe([status(f"m{number}", watermark=at) for number, at in enumerate(heard)])
        if second % 2:
            await home.keeping._note_silences()
    return home.rig.broker.end(TopicPartition(SETTINGS.topic_state, 0))


@pytest.mark.parametrize(
    ("pauses", "most"),
    [
        pytest.param(lambda _, __: 20.0, 0, id="far finer readings than silences"),
        pytest.param(lambda _, __: 60.0, 2, id="a reading a minute on a grid of a second"),
        pytest.param(lambda number, sent: 40.0 + 7 * ((number + sent) % 5), 2, id="now and then"),
        pytest.param(lambda _, sent: 100.0 if sent % 10 == 0 else 5.0, 2, id="a pause after ten readings"),
        pytest.param(lambda _, __: 400.0, 10, id="a reading in seven minutes"),
    ],
)
@in_event_loop
async def test_the_usual_pauses_of_a_machine_are_not_written_down_again_and_again(
    pauses: Callable[[int, int], float], most: int
) -> None:
    assets = 20
    assert await written_by(pauses, assets) <= most * assets


@in_event_loop
async def test_a_plant_that_falls_silent_as_a_whole_and_is_heard_again_is_written_down_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(silences, "MOST_AT_ONCE", 10)
    home = house()
    home.rig.own()
    await home.rig.start()

    async def parts(watermark: float) -> list[int]:
        found = []
        for _ in range(4):
            before = home.rig.broker.end(TopicPartition(SETTINGS.topic_state, 0))
            home.keeping.observe([status(f"m{number}", watermark=watermark) for number in range(25)])
            await home.keeping._note_silences()
            found.append(home.rig.broker.end(TopicPartition(SETTINGS.topic_state, 0)) - before)
        return found

    home.keeping.observe([status(f"m{number}") for number in range(25)])
    home.rig.now = 31.0
    assert await parts(50.0) == [10, 10, 5, 0]
    assert await parts(51.0) == [10, 10, 5, 0]
    assert home.rig.pipeline.partitions[0].silences == {}


@in_event_loop
async def test_no_alarm_waits_until_it_is_written_down_who_is_silent() -> None:
    rig = await Rig(engine=ScriptedEngine(lambda _: outcome_with(alarms=1))).start()
    rig.own()
    progress = rig.pipeline.partitions[0]
    rig.broker.hold = {rig.settings.topic_state}
    noted = Review(noted=[Silence(0, "m", LAST, 10)])
    noting = asyncio.create_task(rig.pipeline.note_silences(0, progress, progress.term, noted))
    await until(lambda: bool(rig.broker.held))
    await asyncio.wait_for(rig.pipeline.handle(fetched()), 5)
    assert "alarms acknowledged" in rig.observer.told
    assert (noting.done(), progress.silences) == (False, {})
    rig.broker.hold = ()
    rig.broker.acknowledge()
    await noting
    assert progress.silences.keys() == {"m"}


@in_event_loop
async def test_where_nothing_is_committed_nobody_is_known_as_silent(registry: Registry) -> None:
    site = SilentSite(registry)
    site.falls_silent()
    site.order("b")
    await site.run()
    site.plant.broker.committed.clear()
    site.plant.broker.remove_before(site.plant.tp(), 100)
    watched = await site.run()
    assert (watched.watched, watched.silent, site.written()) == (set(OTHERS), {}, {})
