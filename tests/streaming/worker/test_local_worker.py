"""The life of a whole worker on a local broker: starts, kills, orderly ends in every state, failures, readiness."""

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.engine.outcome import Outcome, RecordBatch
from stream_detector.errors import StalledError, UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import Unreachable
from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.local.clients import LocalConsumer, LocalGroupOffsets
from stream_detector.streaming.local.stream import LocalStream
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.worker.health.broker_probe import BrokerProbe
from stream_detector.streaming.worker.health.watchdog import Observation
from stream_detector.streaming.worker.lifecycle import REBUILDING, STARTING, WAITING
from stream_detector.streaming.worker.ports import GroupView
from stream_detector.streaming.worker.worker import FIRST_WATCH_SECONDS
from tests.support.event_loop import in_event_loop, settle
from tests.support.pipelines import ScriptedEngine, outcome_with
from tests.support.plant import make_log, small_bundle
from tests.support.properties import fast_first
from tests.support.stack.local_workers import SETTINGS, Plant, alarms_of_log, until
from tests.support.stack.workers import fetch

LOG = make_log(7, steps=60)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(small_bundle(tmp_path_factory.mktemp("bundles") / "small"))


def numbered(batch: RecordBatch) -> Outcome:
    """An alarm a batch, told apart by its first offset."""
    return outcome_with(alarms=1, at=batch.offsets[0])


# -- the promise -------------------------------------------------------------------------------------------------------


@in_event_loop
async def test_a_worker_publishes_the_alarms_of_its_log_and_commits_all_of_it(bundle: Bundle) -> None:
    plant = Plant(partitions=2)
    plant.send(LOG)
    expected = alarms_of_log(bundle, plant)
    await plant.run_to_the_end(bundle)
    assert len(expected) > 5
    assert plant.alarms() == expected


@in_event_loop
async def test_a_worker_that_ends_leaves_no_reader_open(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[LocalConsumer] = []
    start = LocalConsumer.start

    async def noted_start(consumer: LocalConsumer) -> None:
        started.append(consumer)
        await start(consumer)

    monkeypatch.setattr(LocalConsumer, "start", noted_start)
    plant = Plant(partitions=2)
    plant.send(LOG)
    await plant.run_to_the_end(bundle)
    assert started
    assert [consumer.started for consumer in started] == [False] * len(started)


@in_event_loop
async def test_an_alarm_survives_a_kill_between_scoring_and_commit(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG)
    plant.broker.hold = {SETTINGS.topic_alarms}
    first = asyncio.create_task(plant.worker(bundle).run())
    await until(lambda: any(sent.topic == SETTINGS.topic_alarms for sent in plant.broker.held))
    plant.streams[-1].kill()
    first.cancel()
    plant.broker.held.clear()
    # A slow machine may have committed a batch of records before the first that raises an alarm.
    assert not alarms_of_log(bundle, plant, plant.committed() or 0)
    plant.broker.hold = ()
    await plant.run_to_the_end(bundle)
    assert plant.alarms() == alarms_of_log(bundle, plant)


@pytest.mark.parametrize("seed", fast_first(range(3), 1))
@in_event_loop
async def test_whenever_a_worker_is_killed_the_alarms_are_those_of_the_log(bundle: Bundle, seed: int) -> None:
    rng = random.Random(seed)
    plant = Plant(partitions=2)
    plant.send(LOG)
    for _ in range(6):
        await plant.run_and_kill(bundle, rng, 30)
    await plant.run_to_the_end(bundle)
    assert plant.alarms() == alarms_of_log(bundle, plant)


@in_event_loop
async def test_partitions_that_move_between_workers_lose_nothing(bundle: Bundle) -> None:
    plant = Plant(partitions=4)
    plant.send(LOG[: len(LOG) // 3])
    first = plant.worker(bundle)
    running = [asyncio.create_task(first.run())]
    await until(plant.caught_up)
    second = plant.worker(bundle)
    running.append(asyncio.create_task(second.run()))
    plant.send(LOG[len(LOG) // 3 : 2 * len(LOG) // 3])
    await until(plant.caught_up)
    assert (set(first.pipeline.partitions), set(second.pipeline.partitions)) == ({0, 2}, {1, 3})
    first.stop()
    plant.send(LOG[2 * len(LOG) // 3 :])
    await until(plant.caught_up)
    second.stop()
    assert await asyncio.gather(*running) == [0, 0]
    assert plant.alarms() == alarms_of_log(bundle, plant)


# -- an orderly end in every state -------------------------------------------------------------------------------------


@in_event_loop
async def test_sigterm_while_the_broker_is_away_ends_the_worker(bundle: Bundle) -> None:
    plant = Plant()
    plant.broker.up = False
    worker = plant.worker(bundle)
    running = asyncio.create_task(worker.run())
    await until(lambda: (worker.lifecycle.why_not_ready() or "").startswith(WAITING))
    worker.stop()
    assert await running == 0
    assert plant.streams == []


class WaitingReader(LocalConsumer):
    """Does not answer when it is asked for ends."""

    asked = 0

    async def end_offsets(self, partitions: object) -> dict[TopicPartition, int]:
        WaitingReader.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


@in_event_loop
async def test_sigterm_during_a_plan_ends_the_worker_and_commits_nothing(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG)
    WaitingReader.asked = 0

    def open_log(settings: Settings) -> LogReader:
        return LogReader(settings, WaitingReader(plant.broker), LocalGroupOffsets(plant.broker))

    worker = plant.worker(bundle, open_log=open_log)
    running = asyncio.create_task(worker.run())
    await until(lambda: WaitingReader.asked > 0 and worker.pipeline.planning)
    assert worker.lifecycle.why_not_ready() is not None
    worker.stop()
    assert await running == 0
    assert plant.broker.commits == []


@in_event_loop
async def test_sigterm_during_a_rebuild_commits_nothing(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG)
    plant.commit_of_another(200, '{"low":0}')
    plant.broker.hold = {SETTINGS.topic_alarms}
    worker = plant.worker(bundle, ScriptedEngine(lambda batch: outcome_with(alarms=batch.offsets[0] == 80)))
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(plant.broker.held) and worker.lifecycle.why_not_ready() == REBUILDING)
    worker.stop()
    await settle()
    plant.broker.acknowledge()
    assert await running == 0
    assert worker.pipeline.partitions[0].rebuilding
    assert plant.broker.commits == []


@in_event_loop
async def test_sigterm_in_the_middle_of_a_batch_finishes_and_commits_it(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG[:30])
    plant.broker.hold = {SETTINGS.topic_alarms}
    worker = plant.worker(bundle, ScriptedEngine(numbered))
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(plant.broker.held))
    worker.stop()
    await asyncio.sleep(0.03)
    assert not running.done()
    assert not plant.committed()
    plant.broker.acknowledge()
    assert await running == 0
    assert plant.committed() == 30


@in_event_loop
async def test_sigterm_during_a_flush_waits_for_its_acknowledgements(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG[:30])
    plant.broker.hold = {SETTINGS.topic_scores}
    worker = plant.worker(bundle, ScriptedEngine(lambda _: outcome_with(scores=1)))
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(worker.pipeline.partitions) and worker.pipeline.partitions[0].processed == 30)
    await asyncio.sleep(0.03)
    worker.stop()
    await asyncio.sleep(0.03)
    assert not plant.committed()
    plant.broker.acknowledge()
    assert await running == 0
    assert plant.committed() == 30


@in_event_loop
async def test_an_end_that_takes_too_long_is_given_up_and_commits_nothing(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    plant = Plant()
    plant.send(LOG[:30])
    plant.broker.hold = {SETTINGS.topic_alarms}
    worker = plant.worker(
        bundle, ScriptedEngine(numbered), settings=SETTINGS.model_copy(update={"shutdown_seconds": 0.1})
    )
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(plant.broker.held))
    worker.stop()
    assert await running == 0
    assert "no orderly end in time; what is not committed will be read again" in caplog.text
    assert not plant.committed()


@in_event_loop
async def test_sigterm_while_it_ends_changes_nothing(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG[:30])
    plant.broker.hold = {SETTINGS.topic_alarms}
    worker = plant.worker(bundle, ScriptedEngine(numbered))
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(plant.broker.held))
    worker.stop()
    await settle()
    assert worker.lifecycle.why_not_ready() == "ending"
    worker.stop()
    plant.broker.acknowledge()
    assert await running == 0
    assert plant.committed() == 30


@in_event_loop
async def test_sigterm_before_the_start_is_not_forgotten(bundle: Bundle) -> None:
    worker = Plant().worker(bundle)
    worker.stop()
    assert await worker.run() == 0


# -- failures ----------------------------------------------------------------------------------------------------------


@in_event_loop
async def test_an_error_of_the_engine_ends_the_worker_with_70_and_skips_nothing(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    plant = Plant()
    plant.send(LOG[:90])

    def answer(batch: RecordBatch) -> Outcome:
        if batch.offsets[0] >= 40:
            raise ZeroDivisionError("of ours")
        return Outcome()

    engine = ScriptedEngine(answer)
    worker = plant.worker(bundle, engine)
    assert await worker.run() == 70
    assert [batch.offsets[0] for batch in engine.batches] == [0, 40]
    assert (plant.committed() or 0) <= 40
    assert isinstance(worker.lifecycle.error, ZeroDivisionError)
    assert "ending with exit code 70: of ours" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.slow
@in_event_loop
async def test_a_broker_that_never_comes_ends_the_worker_with_75(bundle: Bundle) -> None:
    plant = Plant()
    plant.broker.up = False
    worker = plant.worker(bundle, settings=SETTINGS.model_copy(update={"start_seconds": 0.1}))
    assert await worker.run() == 75
    assert "no broker at local:1 for 0.1 s" in str(worker.lifecycle.error)


@in_event_loop
async def test_a_worker_waits_for_the_broker_and_goes_on_when_it_comes(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG[:30])
    plant.broker.up = False
    worker = plant.worker(bundle, ScriptedEngine())
    running = asyncio.create_task(worker.run())
    await until(lambda: (worker.lifecycle.why_not_ready() or "").startswith(WAITING))
    plant.broker.up = True
    await until(plant.caught_up)
    worker.stop()
    assert await running == 0


@in_event_loop
async def test_an_outage_while_alarms_are_on_their_way_delays_them_and_loses_none(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_detector.streaming.clients.producer.RETRY_SECONDS", 0.001)
    plant = Plant()
    plant.send(LOG[:30])
    plant.broker.hold = {SETTINGS.topic_alarms}
    worker = plant.worker(bundle, ScriptedEngine(numbered))
    running = asyncio.create_task(worker.run())
    await until(lambda: bool(plant.broker.held))
    plant.broker.up, plant.broker.hold = False, ()
    plant.broker.held.pop().expire()
    await until(lambda: "the broker has not answered" in (worker.lifecycle.why_not_ready() or ""))
    assert not plant.committed()
    plant.broker.up = True
    await until(plant.caught_up)
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    worker.stop()
    assert await running == 0
    assert len(plant.alarms()) == 1


class StuckStream(LocalStream):
    """Fetches nothing, and says when it left the group."""

    left = 0

    def observe(self) -> GroupView:
        return GroupView(False, {})

    async def leave(self) -> None:
        StuckStream.left += 1
        raise ConnectionError("the coordinator is away")


@in_event_loop
async def test_a_stalled_worker_leaves_its_group_and_ends_with_75(bundle: Bundle) -> None:
    plant = Plant()
    StuckStream.left = 0
    worker = plant.worker(
        bundle,
        settings=SETTINGS.model_copy(update={"rebalance_stall_seconds": 0.1}),
        stream=StuckStream,
    )
    assert await worker.run() == 75
    assert "no assignment for" in str(worker.lifecycle.error)
    assert StuckStream.left == 1


@in_event_loop
async def test_a_worker_whose_alarms_nobody_acknowledges_is_seen_to_stall_though_its_upkeep_waits_for_them(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_detector.streaming.worker.housekeeping.MEND_SECONDS", 0.0)
    plant = Plant()
    plant.send(LOG[:30])
    plant.broker.hold = {SETTINGS.topic_alarms}
    settings = SETTINGS.model_copy(update={"stall_seconds": 0.3})
    worker = plant.worker(bundle, ScriptedEngine(numbered), settings=settings)
    async with asyncio.timeout(10):
        assert await worker.run() == 75
    assert "processed only to 0" in str(worker.lifecycle.error)
    assert not plant.committed()


@in_event_loop
async def test_a_group_whose_offset_went_back_ends_the_worker_with_75(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG[:30])
    worker = plant.worker(bundle, ScriptedEngine())
    running = asyncio.create_task(worker.run())
    await until(plant.caught_up)
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    plant.broker.committed.clear()
    assert await running == 75
    assert "the topic was made again, or somebody set the offsets" in str(worker.lifecycle.error)


class CrashingStream(LocalStream):
    stops = 0

    async def stop(self) -> None:
        CrashingStream.stops += 1
        await super().stop()

    async def crashed(self) -> BaseException:
        return RuntimeError("the framework fell over")


@in_event_loop
async def test_a_framework_that_crashes_ends_the_worker_with_70(bundle: Bundle) -> None:
    plant = Plant()
    worker = plant.worker(bundle, stream=CrashingStream)
    assert await worker.run() == 70
    assert str(worker.lifecycle.error) == "the framework fell over"
    assert CrashingStream.stops == 0, "after a failure nothing more is finished or committed"


class ShutOutStream(LocalStream):
    async def crashed(self) -> BaseException:
        return KafkaConnectionError("Unable to bootstrap")


@in_event_loop
async def test_a_worker_that_is_let_in_no_more_says_why_it_ends(bundle: Bundle) -> None:
    async def refused(_: Settings) -> Unreachable:
        return Unreachable("broker:9092 refuses the login of user 'detector'", refused=True)

    worker = Plant().worker(bundle, stream=ShutOutStream, why_unreachable=refused)
    assert await worker.run() == 75
    assert str(worker.lifecycle.error) == "broker:9092 refuses the login of user 'detector'"


async def broker_is_away(_: Settings) -> dict[str, int]:
    raise KafkaConnectionError("unable to bootstrap")


@in_event_loop
async def test_a_wrong_password_is_named_and_ends_the_worker_with_1(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(_: Settings) -> Unreachable:
        return Unreachable("broker:9092 refuses the login of user 'detector'", refused=True)

    worker = Plant().worker(bundle, ensure_topics=broker_is_away, why_unreachable=refused)
    running = asyncio.create_task(worker.run())
    await until(lambda: "refuses the login" in (worker.lifecycle.why_not_ready() or ""))
    assert await running == 1
    assert "refuses the login of user 'detector'" in caplog.text


@pytest.mark.slow
@in_event_loop
async def test_a_broker_that_is_only_away_is_waited_for_with_its_reason(bundle: Bundle) -> None:
    async def away(_: Settings) -> Unreachable:
        return Unreachable("nothing listens at broker:9092", refused=False)

    settings = SETTINGS.model_copy(update={"start_seconds": 3.0})
    worker = Plant().worker(bundle, ensure_topics=broker_is_away, why_unreachable=away, settings=settings)
    running = asyncio.create_task(worker.run())
    await until(lambda: "nothing listens at broker:9092" in (worker.lifecycle.why_not_ready() or ""))
    assert await running == 75


@in_event_loop
async def test_a_group_that_the_user_may_not_use_ends_the_worker_with_1(bundle: Bundle) -> None:
    class Forbidden:
        async def __aenter__(self) -> Self:
            return self

        async def close(self) -> None:
            pass

        async def committed(self, _: set[int]) -> dict[int, int]:
            raise GroupAuthorizationFailedError("stream-detector")

        async def ends(self, _: set[int]) -> dict[int, tuple[int, int]]:
            return {}

    worker = Plant().worker(bundle, open_log=lambda _: Forbidden())
    assert await worker.run() == 1
    assert "grant READ on the group" in str(worker.lifecycle.error)


class UnstartableStream(LocalStream):
    async def start(self) -> None:
        raise KafkaConnectionError("gone again")


@in_event_loop
async def test_a_broker_that_goes_away_during_the_start_ends_the_worker_with_75(bundle: Bundle) -> None:
    plant = Plant()
    worker = plant.worker(bundle, stream=UnstartableStream)
    assert await worker.run() == 75


@in_event_loop
async def test_an_address_that_is_taken_is_the_users_mistake(bundle: Bundle) -> None:
    plant = Plant()
    first = plant.worker(bundle, ScriptedEngine())
    running = asyncio.create_task(first.run())
    await settle()
    taken = SETTINGS.model_copy(update={"metrics_port": first.server.port})
    with pytest.raises(UsageError, match="choose another with --metrics-port"):
        await plant.worker(bundle, ScriptedEngine(), settings=taken).run()
    first.stop()
    assert await running == 0


class FailingRekeying:
    def __init__(self, fault: BaseException) -> None:
        self._fault = fault

    async def run(self) -> None:
        raise self._fault


@pytest.mark.parametrize(
    "fault", [StalledError("it stands still"), asyncio.CancelledError()], ids=["ours", "broken off"]
)
@in_event_loop
async def test_re_keying_that_fails_or_that_the_client_breaks_off_ends_the_worker_too(
    bundle: Bundle, fault: BaseException
) -> None:
    worker = Plant().worker(bundle, ScriptedEngine())
    worker._rekeying = FailingRekeying(fault)
    assert await worker.run() == 75


# -- ready and alive ---------------------------------------------------------------------------------------------------


@in_event_loop
async def test_a_worker_is_ready_as_soon_as_its_windows_are_rebuilt_without_asking_the_brokers_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str | None] = []
    look = BrokerProbe.look

    async def counted(probe: BrokerProbe, *arguments: Any) -> Observation:
        looks.append(worker.lifecycle.why_not_ready())
        return await look(probe, *arguments)

    monkeypatch.setattr(BrokerProbe, "look", counted)
    plant = Plant()
    plant.send(LOG[:300])
    plant.commit_of_another(200, '{"low":0}')
    plant.broker.hold = {SETTINGS.topic_alarms}
    engine = ScriptedEngine(lambda batch: outcome_with(alarms=batch.offsets[0] == 80))
    worker = plant.worker(bundle, engine, watch_seconds=30.0)
    running = asyncio.create_task(worker.run())
    await until(lambda: worker.lifecycle.why_not_ready() == REBUILDING)
    asked = len(looks)
    await asyncio.sleep(5 * FIRST_WATCH_SECONDS)
    assert (worker.lifecycle.why_not_ready(), len(looks)) == (REBUILDING, asked)
    plant.broker.hold = ()
    plant.broker.acknowledge()
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    assert REBUILDING not in looks[asked:]
    worker.stop()
    assert await running == 0


@in_event_loop
async def test_readyz_is_green_only_from_the_end_of_the_rebuild_to_the_beginning_of_the_end(bundle: Bundle) -> None:
    plant = Plant()
    plant.send(LOG[:300])
    plant.commit_of_another(200, '{"low":0}')
    plant.broker.up = False
    engine = ScriptedEngine()
    worker = plant.worker(bundle, engine)
    assert worker.lifecycle.why_not_ready() == STARTING
    running = asyncio.create_task(worker.run())
    await until(lambda: (worker.lifecycle.why_not_ready() or "").startswith(WAITING))
    reason = f"{WAITING}: KafkaConnectionError: the local broker is down\n"
    assert await asyncio.to_thread(fetch, worker.server.port, "/readyz") == (503, reason)
    plant.broker.hold = {SETTINGS.topic_alarms}
    engine.answer = lambda batch: outcome_with(alarms=batch.offsets[0] == 80)
    plant.broker.up = True
    await until(lambda: worker.lifecycle.why_not_ready() == REBUILDING)
    assert await asyncio.to_thread(fetch, worker.server.port, "/readyz") == (503, f"{REBUILDING}\n")
    assert worker.pipeline.partitions[0].rebuilding
    assert "stream_detector_ready 0.0" in (await asyncio.to_thread(fetch, worker.server.port, "/metrics"))[1]
    await until(lambda: bool(plant.broker.held))
    await asyncio.sleep(0.05)
    assert worker.lifecycle.why_not_ready() == REBUILDING
    plant.broker.hold = ()
    plant.broker.acknowledge()
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    assert worker.pipeline.partitions[0].processed >= 200
    assert await asyncio.to_thread(fetch, worker.server.port, "/readyz") == (200, "ok\n")
    assert "stream_detector_ready 1.0" in (await asyncio.to_thread(fetch, worker.server.port, "/metrics"))[1]
    worker.stop()
    assert await running == 0
    assert worker.lifecycle.why_not_ready() == "ending"


@in_event_loop
async def test_what_comes_and_goes_is_logged_once(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plant = Plant()
    worker = plant.worker(bundle, ScriptedEngine())
    running = asyncio.create_task(worker.run())
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    assert caplog.text.count("ready; seconds since the process began") == 1
    caplog.clear()
    plant.broker.up = False
    await until(lambda: worker.lifecycle.why_not_ready() is not None)
    await asyncio.sleep(0.05)
    plant.broker.up = True
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    worker.stop()
    await running
    assert caplog.text.count("the broker has not answered") == 1
    assert caplog.text.count("all is well again") == 1
    assert "ready; seconds" not in caplog.text


@pytest.mark.parametrize("fault", [ZeroDivisionError(), asyncio.CancelledError()], ids=["ours", "broken off"])
@in_event_loop
async def test_a_probe_that_fails_or_that_the_client_breaks_off_is_asked_again(
    bundle: Bundle, caplog: pytest.LogCaptureFixture, fault: BaseException
) -> None:
    plant = Plant()
    worker = plant.worker(bundle, ScriptedEngine())
    looks: list[object] = []
    look = worker._probe.look

    async def fail_once(view: GroupView, owned: object) -> object:
        looks.append(view)
        if len(looks) == 1:
            raise fault
        return await look(view, owned)

    worker._probe.look = fail_once  # type: ignore[method-assign,assignment]
    running = asyncio.create_task(worker.run())
    await until(lambda: worker.lifecycle.why_not_ready() is None)
    worker.stop()
    assert await running == 0
    assert "the watchdog could not look" in caplog.text


class Console:
    """Counts what it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def observing(self, assets: object, unheard: object, at_once: int) -> Iterator[None]:
        self.shown += 1
        yield


@in_event_loop
async def test_the_console_is_shown_the_assets(bundle: Bundle) -> None:
    plant = Plant()
    worker = plant.worker(bundle, ScriptedEngine())
    worker._console = console = Console()
    running = asyncio.create_task(worker.run())
    await until(lambda: console.shown > 1)
    worker.stop()
    await running


def test_a_worker_with_a_console_hands_it_the_scored_steps(bundle: Bundle, tmp_path: Path) -> None:
    with_console = Plant(settings=SETTINGS.model_copy(update={"console": True}))
    assert with_console.worker(bundle).pipeline._on_steps is not None
    assert Plant().worker(bundle).pipeline._on_steps is None


def test_a_sensor_map_re_keys_and_takes_the_field_mapping_with_it(bundle: Bundle, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.json"
    mapping.write_text('{"time":"ts","sensor":"tag","value":"val"}')
    assets = tmp_path / "assets.json"
    assets.write_text('{"s1":"m"}')
    files: Mapping[str, Path] = {"field_mapping_file": mapping, "sensor_assets_file": assets}
    mapped = Plant().worker(bundle, settings=SETTINGS.model_copy(update={"field_mapping_file": mapping}))
    assert mapped.pipeline._translation._mapping is not None
    assert mapped._rekeying is None
    rekeyed = Plant().worker(bundle, settings=SETTINGS.model_copy(update=files))
    assert rekeyed.pipeline._translation._mapping is None
    assert rekeyed._rekeying is not None
