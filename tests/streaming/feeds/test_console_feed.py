"""What reaches the console from the worker and from the topics, without a broker."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiokafka.errors import KafkaConnectionError, KafkaError
from prometheus_client import CollectorRegistry

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.bundle.bundle_table import BundleTable
from stream_detector.bundle.manifest import Manifest
from stream_detector.decoding.unknown_names import UnknownNames
from stream_detector.detection.config import OperatingConfig
from stream_detector.engine.engine import Engine, RecordBatch
from stream_detector.engine.table_engine import engine_of
from stream_detector.errors import UsageError
from stream_detector.messages import AlarmStateChange, Feedback, LoggedEvent, Message, to_bytes, to_iso
from stream_detector.operations.console.glances import Held, Turns, sample_of
from stream_detector.settings import Settings
from stream_detector.streaming.clients import diagnosis
from stream_detector.streaming.clients.diagnosis import Unreachable
from stream_detector.streaming.clients.kafka_types import KafkaProducer
from stream_detector.streaming.feeds.asset_glances import GlancesProducer
from stream_detector.streaming.feeds.console_feed import LOST_SECONDS, MOST_STEPS, STARTING_LOOK_SECONDS, ConsoleFeed
from stream_detector.streaming.readers.topic_reader import TopicRecord
from stream_detector.streaming.state.group_facts import Silence
from stream_detector.streaming.topics.topics import ensure_topics
from stream_detector.streaming.worker.health.metrics_server import MetricsServer
from stream_detector.streaming.worker.lifecycle import exit_code_of
from tests.support.console.console_plant import ConsolePlant
from tests.support.plant import BASE, FLEET, SENSORS, STEP_SECONDS, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka
from tests.support.stack.workers import topic_environment


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(small_bundle(tmp_path_factory.mktemp("bundle") / "bundle"))


@pytest.fixture
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle)


@pytest.fixture
def manifest(bundle: Bundle) -> Manifest:
    return bundle.manifest


def rows(asset: str, steps: range, level: float = 1.0) -> list[tuple[bytes, bytes]]:
    return [
        (
            asset.encode(),
            json.dumps({"time": BASE + step * STEP_SECONDS, "values": dict.fromkeys(SENSORS, level)}).encode(),
        )
        for step in steps
    ]


def batch(records: list[tuple[bytes, bytes]], begin: int = 0) -> RecordBatch:
    keys, values = [key for key, _ in records], [value for _, value in records]
    return RecordBatch("t", 0, range(begin, begin + len(records)), keys, values, [-1] * len(records))


def record(topic: str, message: Message, key: str = "machine-0") -> TopicRecord:
    return TopicRecord(topic, 0, 0, 0, key.encode(), to_bytes(message))


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_asset_is_shown_with_what_the_engine_last_scored(engine: Engine, manifest: Manifest) -> None:
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    engine.process(batch(rows("machine-0", range(10))))
    feed.observe(engine.status())
    [view] = feed.history.assets()
    assert (view.asset, view.state, view.sensors) == ("machine-0", "normal", len(SENSORS))
    assert view.time == BASE + 10 * STEP_SECONDS
    assert view.ratio == pytest.approx(view.score / view.threshold if view.score else None)
    assert view.probability is None
    series = feed.history.series("machine-0", 0, None, ["s2"])
    assert series is not None
    assert series.traces[0].value == [1.0]


def test_assets_are_taken_in_slices_and_another_bundle_in_between_ends_that(
    engine: Engine, manifest: Manifest, tmp_path: Path
) -> None:
    feed, settings = ConsoleFeed(Settings(), manifest, lambda: None), Settings()
    engine.process(batch([record for number in range(5) for record in rows(f"machine-{number}", range(10))]))
    assets = engine.status()
    told = [len(feed.history.assets()) for _ in feed.observing(assets, [], 2)]
    # They are made in three slices, and shown in three.
    assert told == [0, 0, 0, 2, 4, 5]
    at_once = ConsoleFeed(settings, manifest, lambda: None)
    at_once.observe(assets)
    assert [(view.asset, view.state, view.score) for view in feed.history.assets()] == [
        (view.asset, view.state, view.score) for view in at_once.history.assets()
    ]
    other = ConsoleFeed(settings, manifest, lambda: None)
    slices = other.observing(assets, [], 2)
    next(slices)
    other.use(load_bundle(small_bundle(tmp_path / "other", threshold=2.5)).manifest)
    assert list(slices) == []
    assert other.history.assets() == []


def test_an_asset_without_a_full_window_is_warming_up(engine: Engine, manifest: Manifest) -> None:
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    engine.process(batch(rows("machine-0", range(2))))
    feed.observe(engine.status())
    [view] = feed.history.assets()
    assert (view.state, view.score) == ("warming-up", None)


def test_an_asset_that_is_silent_since_before_a_change_of_bundles_is_shown_as_silent_and_never_as_normal(
    engine: Engine, manifest: Manifest, tmp_path: Path
) -> None:
    settings = Settings(evict_after_seconds=1e10)
    feed = ConsoleFeed(settings, manifest, lambda: None)
    engine.process(batch(rows("machine-0", range(10))))
    feed.observe(engine.status())
    other = load_bundle(small_bundle(tmp_path / "other", threshold=2.5))
    feed.use(other.manifest)
    last = BASE + 9 * STEP_SECONDS
    silence = Silence(0, "machine-0", last, 10)
    for _ in range(2):
        feed.observe([], [silence])
        [view] = feed.history.assets()
        assert (view.state, view.time, view.score, view.probability) == ("silent", last, None, None)
        assert (view.bundle, view.worker) == (other.manifest.bundle_id, None)
        assert view.received_at >= BASE
    # Another console of the group, which knew it as normal.
    there = ConsoleFeed(settings, manifest, lambda: None)
    there.observe(engine.status())
    there.observe([])
    [glance] = Turns("w", lambda: 0.0).due(feed.history.own())
    assert glance.silent
    there.take([record(Settings().topic_assets, glance)])
    assert [view.state for view in there.history.assets()] == ["silent"]
    # It is heard again.
    now = Engine(other)
    now.process(batch(rows("machine-0", range(30, 31))))
    feed.observe(now.status())
    assert [view.state for view in feed.history.assets()] == ["warming-up"]
    # And after a restart nothing else is known of it.
    again = ConsoleFeed(settings, other.manifest, lambda: None)
    again.observe([], [silence])
    [view] = again.history.assets()
    assert (view.state, view.received_at) == ("silent", last)


def test_every_scored_step_is_kept_between_two_observations(bundle: Bundle, manifest: Manifest) -> None:
    engine = Engine(bundle, keep_steps=True)
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    for step in range(30):
        feed.scored(engine.process(batch(rows("machine-0", range(step, step + 1)), step)).steps)
    feed.observe(engine.status())
    found = feed.history.series("machine-0", 0, None, list(SENSORS))
    assert found is not None
    # 27 steps of 10 s, three to a point.
    assert len(found.time) == 9
    assert [list(trace.value) for trace in found.traces] == [[1.0] * 9] * len(SENSORS)


def test_of_a_burst_the_newest_steps_are_kept(bundle: Bundle, manifest: Manifest) -> None:
    engine = Engine(bundle, keep_steps=True)
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    feed.scored(engine.process(batch(rows("machine-0", range(400)))).steps)
    feed.observe(engine.status())
    found = feed.history.series("machine-0", 0, None, [])
    assert found is not None
    assert found.time[-1] == BASE + 400 * STEP_SECONDS
    assert len(found.time) == pytest.approx(MOST_STEPS / 3, abs=2)


def test_an_engine_without_a_console_keeps_nothing(engine: Engine) -> None:
    assert engine.process(batch(rows("machine-0", range(10)))).steps == []


def test_nothing_is_shown_before_the_past_was_read_back(engine: Engine, manifest: Manifest) -> None:
    feed = ConsoleFeed(Settings(publish_scores=True), manifest, lambda: None)
    engine.process(batch(rows("machine-0", range(10))))
    feed.observe(engine.status())
    assert feed.history.assets() == []
    assert feed.history.worker().notice == "The last hours are being read back."


def test_alarms_events_and_feedback_come_from_their_topics(manifest: Manifest) -> None:
    settings = Settings()
    feed = ConsoleFeed(settings, manifest, lambda: "waiting for the broker")
    alarm = ConsolePlant().history.alarms()[0].alarm
    event = LoggedEvent(time=alarm.expected_from, event="break")
    judged = Feedback(asset=alarm.asset, action="real", alarm=alarm.id, who="Kim", at=to_iso(BASE))
    feed.take(
        [
            record(settings.topic_feedback, judged),
            record(settings.topic_events, event, alarm.asset),
            record(settings.topic_alarms, alarm),
            TopicRecord(settings.topic_alarms, 0, 1, 0, None, b"not an alarm"),
            TopicRecord(settings.topic_events, 0, 1, 0, None, to_bytes(event)),
            TopicRecord(settings.topic_alarms, 0, 2, 0, b"pm-1", None),
        ]
    )
    [view] = feed.history.alarms()
    assert (view.alarm, view.judgement, view.outcome) == (alarm, "real", "caught")
    assert feed.history.ledger().total["caught"] == 1
    assert feed._guard.skipped == 2
    assert not feed.history.worker().ready
    assert "waiting for the broker" in str(feed.history.worker().notice)


def test_a_status_puts_assets_with_an_alarm_first_and_spends_its_time_on_the_first_only(engine: Engine) -> None:
    quiet = [record for number in range(5) for record in rows(f"machine-{number}", range(10))]
    engine.process(batch(quiet))
    engine.process(batch(rows("troubled", range(10), level=100.0), len(quiet)))
    found = engine.status(detailed=2)
    assert found[0].asset == "troubled"
    assert [status.alarm_open for status in found] == [True, False, False, False, False, False]
    assert [len(status.newest) for status in found] == [len(SENSORS)] * 2 + [0] * 4
    whole = engine.status()
    assert all(len(status.top_shares) > 0 for status in whole)
    assert [status.score for status in whole] == [status.score for status in found]
    assert np.isfinite([status.scored_until for status in whole]).all()


def test_what_is_known_of_the_alarms_is_said_from_the_first_record_to_a_broker_that_is_gone(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    assert feed.history.worker().records == "reading"
    feed._records_read = True
    assert feed.history.worker().records == "lost"
    feed._answered_at = time.monotonic()
    assert feed.history.worker().records == "live"
    late = time.monotonic() + LOST_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: late)
    assert feed.history.worker().records == "lost"


def test_old_data_is_new_when_it_comes_and_old_when_a_restart_reads_it_back(bundle: Bundle, manifest: Manifest) -> None:
    live, restarted = Engine(bundle, keep_steps=True), Engine(bundle, keep_steps=True)
    records = batch(rows("machine-0", range(10)))
    seen: list[float] = []
    for engine, silent_until in ((live, 0), (restarted, 10)):
        feed = ConsoleFeed(Settings(), manifest, lambda: None)
        engine.restore(0, {}, silent_until)
        feed.scored(engine.process(records).steps)
        feed.observe(engine.status())
        seen += [view.received_at for view in feed.history.assets()]
    assert seen[0] == pytest.approx(time.time(), abs=60)
    assert seen[1:] == [BASE + 9 * STEP_SECONDS]


def test_the_states_of_the_forwarder_are_read_from_their_topic(manifest: Manifest) -> None:
    settings = Settings()
    feed = ConsoleFeed(settings, manifest, lambda: None)
    change = AlarmStateChange(
        asset="pm-1", alarm=None, state="out-of-service", previous="normal", at=to_iso(BASE), who="Kim", why="rebuild"
    )
    feed.take([record(settings.topic_alarm_states, change, "pm-1")])
    assert [(entry.asset, entry.state, entry.why) for entry in feed.history.set_aside()] == [
        ("pm-1", "out-of-service", "rebuild")
    ]


def test_the_page_is_told_what_the_bus_carries_beside_the_bundle(manifest: Manifest) -> None:
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    assert feed.history.worker().unknown.readings == 0
    feed.unknown = lambda: UnknownNames(40, 2, ("oven",), ("pm-9",))
    shown = feed.history.worker().unknown
    assert (shown.readings, shown.sensors, shown.assets) == (42, ("oven",), ("pm-9",))


class FakeProducer:
    """Takes what is sent, or refuses it."""

    def __init__(self, refuse: bool = False) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None]] = []
        self.refuse = refuse

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def abandon(self) -> None: ...

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        *,
        headers: object = None,
    ) -> "asyncio.Future[object]":
        del partition, headers
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.refuse:
            done.set_exception(KafkaError("refused"))
        else:
            self.sent.append((topic, key, value))
            done.set_result(None)
        return done


def test_what_one_worker_tells_of_its_assets_another_ones_console_shows(engine: Engine, manifest: Manifest) -> None:
    settings = Settings(instance="w-1")
    ours, theirs = ConsoleFeed(settings, manifest, lambda: None), ConsoleFeed(Settings(), manifest, lambda: None)
    engine.process(batch(rows("machine-0", range(10))))
    ours.history.heard(["machine-0"])
    ours.observe(engine.status())
    producer = FakeProducer()
    glances = GlancesProducer(settings, Turns("w-1", time.time), ours.history.own, lambda: True)
    asyncio.run(glances.send_due(producer))
    [(topic, key, value)] = producer.sent
    assert (topic, key) == (settings.topic_assets, b"machine-0")
    for feed in (ours, theirs):
        feed.take([TopicRecord(topic, 0, 0, round(time.time() * 1000), key, value)])
    [own], [told] = ours.history.assets(), theirs.history.assets()
    assert (own.worker, told.worker) == (None, "w-1")
    assert (told.state, told.time, told.ratio) == (own.state, own.time, own.ratio)
    assert told.received_at == pytest.approx(own.received_at, abs=0.001)


def test_what_the_brokers_refused_is_told_again(engine: Engine, manifest: Manifest) -> None:
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    engine.process(batch(rows("machine-0", range(10))))
    feed.observe(engine.status())
    glances = GlancesProducer(Settings(), Turns("w", time.time), feed.history.own, lambda: True)
    producer = FakeProducer(refuse=True)
    with pytest.raises(KafkaError):
        asyncio.run(glances.send_due(producer))
    producer.refuse = False
    asyncio.run(glances.send_due(producer))
    assert len(producer.sent) == 1


def test_why_nobody_is_told_of_an_asset_is_said_in_words(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: Settings) -> Unreachable:
        return Unreachable("broker:9092 refuses the login", refused=True)

    def none_opens(_: Settings) -> KafkaProducer:
        raise KafkaConnectionError("Unable to bootstrap")

    monkeypatch.setattr(diagnosis, "why_unreachable", refused)
    glances = GlancesProducer(Settings(), Turns("w", time.time), list, lambda: True, none_opens)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(glances.run(), 0.1))
    assert caplog.messages == [
        "other consoles are not told of this worker's assets, trying again: broker:9092 refuses the login"
    ]


def test_a_word_about_an_asset_that_is_none_is_skipped_and_counted(manifest: Manifest) -> None:
    feed = ConsoleFeed(Settings(), manifest, lambda: None)
    poison = (b"{}", b"\xff", b'{"asset":"a","worker":"w","time":"garbage"}')
    feed.take([TopicRecord(Settings().topic_assets, 0, at, 0, b"a", value) for at, value in enumerate(poison)])
    assert feed._guard.skipped == len(poison)
    assert feed.history.names() == []


@pytest.mark.kafka
def test_two_workers_on_a_real_broker_show_each_others_assets(
    bundle: Bundle, kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in topic_environment(unique_name).items():
        monkeypatch.setenv(name, value)
    feeds = {}
    for name in ("w-1", "w-2"):
        settings = Settings.load(bootstrap=kafka.bootstrap, instance=name)
        feeds[name] = ConsoleFeed(settings, bundle.manifest, lambda: None)
        engine = Engine(bundle)
        engine.process(batch(rows(f"machine-{name}", range(10))))
        feeds[name].history.heard([f"machine-{name}"])
        feeds[name].observe(engine.status())

    async def talk() -> None:
        await ensure_topics(settings)
        runners = []
        for feed in feeds.values():
            app = web.Application()
            feed.serve(app)
            runners.append(web.AppRunner(app))
            await runners[-1].setup()
        async with asyncio.timeout(200):
            while any(len(feed.history.names() or ()) < 2 for feed in feeds.values()):
                await asyncio.sleep(0.1)
        for runner in runners:
            await runner.cleanup()

    asyncio.run(talk())
    assert {name: [(view.asset, view.worker) for view in feed.history.assets()] for name, feed in feeds.items()} == {
        "w-1": [("machine-w-1", None), ("machine-w-2", "w-2")],
        "w-2": [("machine-w-1", "w-1"), ("machine-w-2", None)],
    }


def test_a_machine_that_stands_is_shown_as_not_running_with_fresh_data_and_no_score(tmp_path: Path) -> None:
    bundle = load_bundle(small_bundle(tmp_path / "bundle", operating=OperatingConfig(when="s1 > 0", hold_steps=2)))
    engine = Engine(bundle)
    feed = ConsoleFeed(Settings(), bundle.manifest, lambda: None)
    engine.process(batch(rows("machine-0", range(10))))
    feed.observe(engine.status())
    engine.process(batch(rows("machine-0", range(10, 30), level=-1.0), 10))
    feed.observe(engine.status())
    [view] = feed.history.assets()
    assert (view.state, view.score, view.ratio, list(view.top_sensors)) == ("not-running", None, None, [])
    assert view.time == BASE + 30 * STEP_SECONDS
    [told] = Turns("w1", time.time).due(feed.history.own())
    assert sample_of(told).not_running
    engine.process(batch(rows("machine-0", range(30, 34)), 30))
    feed.observe(engine.status())
    assert feed.history.assets()[0].state == "warming-up"
    engine.process(batch(rows("machine-0", range(34, 38)), 34))
    feed.observe(engine.status())
    assert feed.history.assets()[0].state == "normal"


def test_a_stranger_is_not_called_normal_before_its_scale_is_fixed_on_any_worker_s_console(tmp_path: Path) -> None:
    fleet = load_bundle(small_bundle(tmp_path / "fleet", threshold=50.0, kind=FLEET))
    engine = Engine(fleet)
    here, there = (ConsoleFeed(Settings(), fleet.manifest, lambda: None) for _ in range(2))
    found = []
    log = rows("stranger", range(200))
    for begin, end in ((0, 8), (8, 60), (60, 200)):
        engine.process(batch(log[begin:end], begin))
        here.observe(engine.status())
        held = [Held(sample, 0.0) for _, sample in here._seen.values()]
        there.history.observe([sample_of(glance) for glance in Turns("w", lambda: 0.0).due(held)])
        for feed in (here, there):
            (view,) = feed.history.assets()
            found.append((view.state, view.scale_steps, view.scale_steps_wanted))
    # A window has four steps.
    expected = [("warming-up", 5, 160), ("provisional", 57, 160), ("normal", 0, 0)]
    assert found == [each for each in expected for _ in range(2)]


def test_each_asset_is_shown_by_the_bundle_that_the_table_gives_it(bundle: Bundle, tmp_path: Path) -> None:
    other = load_bundle(small_bundle(tmp_path / "other", threshold=7.0, sensors=("s2", "s1"), step_seconds=20.0))
    table = BundleTable.of([("*", bundle), ("machine-1", other)])
    engine, feed = engine_of(table, keep_steps=True), ConsoleFeed(Settings(), table.manifest, lambda: None)
    names = ("machine-0", "machine-1")
    records = [pair for step in range(24) for name in names for pair in rows(name, range(step, step + 1))]
    feed.scored(engine.process(batch(records)).steps)
    feed.observe(engine.status())
    views = {view.asset: view for view in feed.history.assets()}
    assert {asset: (view.sensors, view.threshold) for asset, view in views.items()} == {
        "machine-0": (len(SENSORS), bundle.manifest.alarm_threshold), "machine-1": (2, 7.0),
    }  # fmt: skip
    glances = {held.sample.asset: held.sample.bundle for held in feed.history.own()}
    assert glances == {"machine-0": bundle.manifest.bundle_id, "machine-1": other.manifest.bundle_id}
    traces = feed.history.series("machine-1", 0, None, ["s2"])
    assert traces is not None
    assert set(traces.traces[0].value) == {1.0}


def test_what_the_console_needs_is_made_when_the_worker_has_started(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_DETECTOR_FORWARD_LANGUAGE", "martian")
    not_ready: list[str] = ["it starts"]
    failures: list[Exception] = []
    settings = Settings(bootstrap="127.0.0.1:1", metrics_port=0)
    feed = ConsoleFeed(settings, manifest, lambda: not_ready[0] if not_ready else None)
    feed.fail = failures.append
    server = MetricsServer(settings, CollectorRegistry(), lambda: None, lambda: None, feed.serve)
    server.start()
    try:
        time.sleep(3 * STARTING_LOOK_SECONDS)
        assert failures == []
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=5) as page:
            assert page.status == 200  # the page does not wait for it
        not_ready.clear()
        until(lambda: bool(failures))
    finally:
        server.stop()
    # It ends the worker as it would have at the start.
    assert exit_code_of(failures[0]) == UsageError.exit_code
    assert "there is no template martian/" in str(failures[0])
