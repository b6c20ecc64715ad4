"""Plans on a local log; what `choose_start` decides has its own tests (test_recovery)."""

import asyncio
import logging
from collections.abc import Iterable, Iterator

import pytest
from aiokafka.errors import KafkaError

from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.local.broker import LocalBroker
from stream_detector.streaming.local.clients import LocalConsumer, LocalGroupOffsets
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.state.group_facts import BundleSwitch, fact_message
from stream_detector.streaming.state.snapshots import snapshot_message
from stream_detector.streaming.worker.offsets import kept_reader
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.planning import PartitionPlan, Planner
from stream_detector.streaming.worker.offsets.recovery import ScoredBy
from tests.support.event_loop import in_event_loop
from tests.support.pipelines import BUNDLE, READINGS, SCORED_BY, SETTINGS, Rig, ScriptedEngine


async def rig_with(records: int) -> Rig:
    rig = await Rig().start()
    rig.readings(records)
    return rig


def snapshot(rig: Rig, asset: str, data: bytes | None, offset: int, bundle: str = BUNDLE, term: int = 0) -> None:
    message = snapshot_message(SETTINGS, bundle, 0, asset, data, offset, term)
    rig.broker.append(message.topic, message.value, message.key, 0, headers=message.headers)


async def rig_changed_over(records: int, low: int) -> tuple[Rig, Detector]:
    """Another bundle, `bundle-2`, decides from a control record at 100 on; its windows begin at `low`."""
    rig = await rig_with(records)
    other = Detector(ScriptedEngine(), ScoredBy("bundle-2", "fingerprint"), 180.0)
    rig.planner._detectors = Detectors(Detector(rig.engine, SCORED_BY), lambda _: other)
    for fact in (BundleSwitch(0, 0, BUNDLE), BundleSwitch(0, 100, "bundle-2", low, None, 1, 1, by_record=True)):
        message = fact_message(SETTINGS, fact)
        rig.broker.append(message.topic, message.value, message.key, 0)
    return rig, other


async def plan(rig: Rig, committed: tuple[int, str] | None, in_memory: int | None = None) -> PartitionPlan:
    plans = await rig.planner.plan(
        {0}, {} if committed is None else {0: committed}, {} if in_memory is None else {0: in_memory}
    )
    return plans[0]


@in_event_loop
async def test_a_restart_reads_from_low_with_the_snapshots_that_were_acknowledged() -> None:
    rig = await rig_with(20)
    snapshot(rig, "m", b"state", 9)
    found = await plan(rig, (12, '{"low":7}'))
    assert (found.start.offset, found.start.silent_until, found.start.committed) == (7, 12, 12)
    assert found.snapshots == {"m": b"state"}


@in_event_loop
async def test_a_first_start_reads_everything_and_no_snapshot() -> None:
    rig = await rig_with(20)
    snapshot(rig, "m", b"of another log", 9)
    found = await plan(rig, None)
    assert (found.start.offset, found.start.silent_until) == (0, 0)
    assert found.snapshots == {}


@in_event_loop
async def test_state_in_memory_needs_no_snapshot() -> None:
    rig = await rig_with(20)
    snapshot(rig, "m", b"state", 9)
    found = await plan(rig, (12, '{"low":7}'), in_memory=15)
    assert found.start.keep_state
    assert (found.start.offset, found.snapshots) == (15, {})


@in_event_loop
async def test_an_offset_that_was_set_by_hand_is_rebuilt_from_a_window_before_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = await rig_with(200)
    with caplog.at_level(logging.WARNING):
        found = await plan(rig, (150, ""))
    assert (found.start.offset, found.start.silent_until) == (89, 150)
    assert "offset 150 was set by hand, rebuilding from 89" in caplog.text


@in_event_loop
async def test_an_offset_that_was_set_by_hand_is_rebuilt_as_far_back_as_the_bundle_needs_that_decides_there() -> None:
    rig, other = await rig_changed_over(400, low=0)
    found = await plan(rig, (350, ""))
    assert found.detector is other
    assert (found.start.offset, found.start.silent_until) == (169, 350)


@pytest.mark.parametrize(
    ("committed", "read_from", "silent_until", "assets"),
    [(40, 60, 100, []), (100, 60, 100, []), (101, 70, 101, ["m"])],
    ids=["set back across the record", "at the record", "behind the record"],
)
@in_event_loop
async def test_up_to_the_first_commit_behind_a_record_no_snapshot_tells_who_is_there(
    committed: int, read_from: int, silent_until: int, assets: list[str]
) -> None:
    """Of some assets alone there may be one: whoever wrote them was killed before it wrote the others."""
    rig, other = await rig_changed_over(400, low=60)
    snapshot(rig, "m", b"state", 105, "bundle-2", 1)
    found = await plan(rig, (committed, f'{{"low":{min(committed - 10, 70)}}}'))
    assert found.detector is other
    assert (found.start.offset, found.start.silent_until) == (read_from, silent_until)
    assert list(found.snapshots) == assets


@in_event_loop
async def test_an_end_below_the_committed_offset_is_asked_for_again_before_it_is_believed() -> None:
    rig = await rig_with(10)
    asked: list[float] = []

    async def wait(seconds: float) -> None:
        asked.append(seconds)
        rig.readings(20)

    rig.planner._sleep = wait
    found = await plan(rig, (15, '{"low":7}'))
    assert asked == [0.5]
    assert (found.start.offset, found.start.committed) == (7, 15)


@in_event_loop
async def test_a_log_that_stays_shorter_than_the_committed_offset_is_another_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = await rig_with(10)
    with caplog.at_level(logging.WARNING):
        found = await plan(rig, (15, '{"low":7}'))
    assert rig.now > 5
    assert (found.start.offset, found.start.silent_until, found.start.committed) == (0, 0, None)
    assert "offset 15 is beyond the end 10, the log is another one" in caplog.text


@in_event_loop
async def test_records_that_retention_removed_unread_are_told(caplog: pytest.LogCaptureFixture) -> None:
    rig = await rig_with(20)
    rig.broker.remove_before(TopicPartition(READINGS, 0), 15)
    found = await plan(rig, (12, '{"low":7}'))
    assert (found.start.offset, found.start.lost) == (15, 3)
    assert "retention removed 3 records before they were read" in caplog.text


@in_event_loop
async def test_windows_that_retention_took_away_are_told(caplog: pytest.LogCaptureFixture) -> None:
    rig = await rig_with(20)
    rig.broker.remove_before(TopicPartition(READINGS, 0), 10)
    found = await plan(rig, (12, '{"low":7}'))
    assert (found.start.offset, found.start.lost) == (10, 0)
    assert "windows are rebuilt from; they warm up anew" in caplog.text


@in_event_loop
async def test_a_broker_that_is_away_is_no_plan() -> None:
    rig = await rig_with(20)
    rig.broker.up = False
    with pytest.raises(KafkaError):
        await plan(rig, (12, '{"low":7}'))


class CountedConsumer(LocalConsumer):
    """`answers`: whether it says where a log ends."""

    def __init__(self, broker: LocalBroker, answers: bool = True) -> None:
        super().__init__(broker)
        self.asked: list[list[TopicPartition]] = []
        self._answers = answers

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked.append(list(partitions))
        if not self._answers:
            await asyncio.Event().wait()
        return await super().end_offsets(partitions)


def planner_on(rig: Rig, consumers: Iterator[CountedConsumer], opened: list[CountedConsumer]) -> Planner:
    def open_log() -> LogReader:
        opened.append(next(consumers))
        return LogReader(SETTINGS, opened[-1], LocalGroupOffsets(rig.broker))

    return Planner(SETTINGS, open_log, SCORED_BY, 60.0)


@in_event_loop
async def test_what_was_prepared_serves_the_plan_and_knows_both_topics_before() -> None:
    rig, opened = await rig_with(20), list[CountedConsumer]()
    planner = planner_on(rig, (CountedConsumer(rig.broker) for _ in range(2)), opened)
    planner.prepare()
    async with asyncio.timeout(1.0):
        while not (opened and opened[0].asked):
            await asyncio.sleep(0)
    assert {partition.topic for partition in opened[0].asked[0]} == {READINGS, SETTINGS.topic_state}
    found = await planner.plan({0}, {0: (12, '{"low":7}')}, {})
    assert (found[0].start.offset, len(opened)) == (7, 1)


@in_event_loop
async def test_a_plan_opens_what_could_not_be_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_reader, "WARM_SECONDS", 0.05)
    rig, opened = await rig_with(20), list[CountedConsumer]()
    planner = planner_on(rig, (CountedConsumer(rig.broker, answers) for answers in (False, True)), opened)
    planner.prepare()
    await asyncio.sleep(0)
    async with asyncio.timeout(1.0):
        found = await planner.plan({0}, {0: (12, '{"low":7}')}, {})
    assert found[0].start.offset == 7
    assert [consumer.started for consumer in opened] == [False, True]
