"""What the watchdog is shown, on a local broker."""

import asyncio
import gc
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest

from stream_detector.errors import StalledError
from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, TopicPartition
from stream_detector.streaming.local.broker import LocalBroker
from stream_detector.streaming.local.clients import LocalConsumer, LocalGroupOffsets
from stream_detector.streaming.readers import log_reader
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.worker.health import broker_probe
from stream_detector.streaming.worker.health.broker_probe import BrokerProbe
from stream_detector.streaming.worker.health.watchdog import Observation, PartitionObservation
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.ports import FetchState, GroupView
from tests.support.event_loop import in_event_loop
from tests.support.pipelines import READINGS, SETTINGS, Rig

AWAY, HOMELESS = Observation(False, None), Observation(True, None)


@dataclass
class Owned:
    """What a pipeline shows of itself."""

    partitions: dict[int, PartitionProgress] = field(default_factory=dict)
    planning: bool = False


class ProbeRig(Rig):
    """A log of 20 records of which 10 are committed, and a probe."""

    def __init__(self) -> None:
        super().__init__()
        self.readings(20)
        self.group_committed(10)
        self.opened: list[LocalConsumer] = []
        self.probe = BrokerProbe(self.open_log, lambda: 100.0, lambda: 1_000.0)
        self.owned = Owned({0: PartitionProgress(1, 12, 0, 10)})

    def open_log(self) -> LogReader:
        self.opened.append(LocalConsumer(self.broker))
        return LogReader(SETTINGS, self.opened[-1], LocalGroupOffsets(self.broker))

    async def look(self, member: bool = True, position: int | None = 15, answered_ms: int | None = None) -> Observation:
        return await self.probe.look(GroupView(member, {0: FetchState(position, answered_ms)}), self.owned)


@in_event_loop
async def test_it_shows_where_the_log_ends_where_fetches_are_and_what_is_processed() -> None:
    rig = ProbeRig()
    rig.owned.partitions[0].waiting_since = 97.0
    assert await rig.look(answered_ms=999_500) == Observation(True, {0: PartitionObservation(20, 15, 12, 3.0, 0.5)})
    assert await rig.look(position=None) == Observation(True, {0: PartitionObservation(20, 0, 12, 3.0, 0.0)})


@in_event_loop
async def test_one_connection_serves_all_looks_until_the_brokers_do_not_answer() -> None:
    rig = ProbeRig()
    await rig.look()
    await rig.look()
    assert len(rig.opened) == 1
    rig.broker.up = False
    assert await rig.look() == AWAY
    assert not rig.opened[0].started
    rig.broker.up = True
    assert (await rig.look()).broker_answers
    assert len(rig.opened) == 2
    await rig.probe.close()
    assert not rig.opened[1].started


class SilentConsumer(LocalConsumer):
    async def start(self) -> None:
        await asyncio.Event().wait()


@in_event_loop
async def test_a_broker_that_does_not_answer_in_time_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_probe, "PROBE_SECONDS", 0.01)
    rig = ProbeRig()
    probe = BrokerProbe(lambda: LogReader(SETTINGS, SilentConsumer(rig.broker), LocalGroupOffsets(rig.broker)))
    assert await probe.look(GroupView(True, {0: FetchState(15, None)}), rig.owned) == AWAY


@in_event_loop
async def test_a_look_that_is_broken_off_leaves_no_question_behind(recwarn: pytest.WarningsRecorder) -> None:
    rig = ProbeRig()
    await rig.look()
    looking = asyncio.create_task(rig.look())
    await asyncio.sleep(0)  # both questions are about to begin
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    gc.collect()
    assert not [str(warning.message) for warning in recwarn]
    await rig.probe.close()


class SlowConsumer(LocalConsumer):
    async def start(self) -> None:
        await asyncio.sleep(0.05)
        await super().start()


@in_event_loop
async def test_a_loop_that_stands_still_for_longer_does_not_make_the_brokers_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_probe, "PROBE_SECONDS", 0.2)
    rig = ProbeRig()
    probe = BrokerProbe(lambda: LogReader(SETTINGS, SlowConsumer(rig.broker), LocalGroupOffsets(rig.broker)))
    looking = asyncio.create_task(probe.look(GroupView(True, {0: FetchState(15, None)}), rig.owned))
    await asyncio.sleep(0)
    time.sleep(0.5)  # a batch far too large for this machine
    assert (await looking).broker_answers
    await probe.close()


class TopiclessConsumer(LocalConsumer):
    async def end_offsets(self, partitions: object) -> dict[TopicPartition, int]:
        raise TimeoutError


@in_event_loop
async def test_a_group_that_answers_while_the_topic_does_not_is_no_outage() -> None:
    rig = ProbeRig()
    probe = BrokerProbe(lambda: LogReader(SETTINGS, TopiclessConsumer(rig.broker), LocalGroupOffsets(rig.broker)))
    assert await probe.look(GroupView(True, {0: FetchState(15, None)}), rig.owned) == HOMELESS


class AnswersTogether(LocalConsumer):
    """Answers about a topic when it was asked for both ends of it, and the group was asked, too."""

    def __init__(self, broker: LocalBroker, asked: asyncio.Barrier) -> None:
        super().__init__(broker)
        self._asked = asked

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._asked.wait()
        return await super().beginning_offsets(partitions)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self._asked.wait()
        return await super().end_offsets(partitions)


class GroupAnswersTogether(LocalGroupOffsets):
    def __init__(self, broker: LocalBroker, asked: asyncio.Barrier) -> None:
        super().__init__(broker)
        self._asked = asked

    async def read(self, group: str, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        await self._asked.wait()
        return await super().read(group, partitions)


@in_event_loop
async def test_a_look_asks_everything_at_once_for_answers_wait_for_the_batch_in_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_probe, "PROBE_SECONDS", 1.0)
    rig, asked = ProbeRig(), asyncio.Barrier(3)
    probe = BrokerProbe(
        lambda: LogReader(SETTINGS, AnswersTogether(rig.broker, asked), GroupAnswersTogether(rig.broker, asked))
    )
    seen = await probe.look(GroupView(True, {0: FetchState(15, None)}), rig.owned)
    assert seen.partitions == {0: PartitionObservation(20, 15, 12, 0.0, 0.0)}


class NotingConsumer(LocalConsumer):
    """`answers`: whether it says where a log ends."""

    def __init__(self, broker: LocalBroker, answers: bool = True) -> None:
        super().__init__(broker)
        self.asked: list[TopicPartition] = []
        self._answers = answers

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked += partitions
        if not self._answers:
            await asyncio.Event().wait()
        return await super().end_offsets(partitions)


@pytest.mark.parametrize("answers", [True, False])
@in_event_loop
async def test_what_the_first_look_needs_is_opened_while_rights_are_checked_and_holds_nobody_up(answers: bool) -> None:
    rig = ProbeRig()
    consumer = NotingConsumer(rig.broker, answers)
    probe = BrokerProbe(lambda: LogReader(SETTINGS, consumer, LocalGroupOffsets(rig.broker)))
    probe.all_partitions = {0}
    async with asyncio.timeout(1.0):
        await probe.check_rights()
        while not consumer.asked:
            await asyncio.sleep(0)
    assert consumer.asked == [TopicPartition(READINGS, 0)]
    await probe.close()


@pytest.mark.parametrize("offset", [9, None])
@in_event_loop
async def test_a_group_behind_what_was_committed_ends_the_worker(offset: int | None) -> None:
    rig = ProbeRig()
    if offset is None:
        rig.broker.committed.clear()
    else:
        rig.group_committed(offset)
    with pytest.raises(StalledError, match=f"offset 10 was committed, but the group is at {offset}"):
        await rig.look()


@in_event_loop
async def test_a_group_at_what_was_committed_or_beyond_is_right() -> None:
    rig = ProbeRig()
    rig.group_committed(11)
    assert (await rig.look()).partitions is not None
    rig.owned.partitions[0].committed = None
    rig.broker.committed.clear()
    assert (await rig.look()).partitions is not None


@in_event_loop
async def test_who_is_no_member_or_plans_has_no_assignment() -> None:
    rig = ProbeRig()
    assert await rig.look(member=False) == HOMELESS
    rig.owned.planning = True
    assert await rig.look() == HOMELESS


@in_event_loop
async def test_a_worker_without_partitions_watches_those_of_its_group() -> None:
    rig = ProbeRig()
    rig.owned.partitions.clear()
    rig.probe.all_partitions = {0, 1}
    rig.readings(5, number=1)
    rig.broker.remove_before(TopicPartition(READINGS, 1), 2)
    seen = await rig.probe.look(GroupView(True, {}), rig.owned)
    assert seen == Observation(True, {0: PartitionObservation(20, 10, 10), 1: PartitionObservation(5, 2, 2)})


class RevokingConsumer(LocalConsumer):
    """While it is asked for ends, the worker loses its partition."""

    owned: Owned

    async def end_offsets(self, partitions: object) -> dict[TopicPartition, int]:
        found = await super().end_offsets(partitions)
        self.owned.partitions.clear()
        return found


@in_event_loop
async def test_a_partition_that_goes_during_the_look_is_left_out() -> None:
    rig = ProbeRig()
    consumer = RevokingConsumer(rig.broker)
    consumer.owned = rig.owned
    probe = BrokerProbe(lambda: LogReader(SETTINGS, consumer, LocalGroupOffsets(rig.broker)))
    assert await probe.look(GroupView(True, {0: FetchState(15, None)}), rig.owned) == Observation(True, {})


class StuckConsumer(LocalConsumer):
    async def stop(self) -> None:
        await asyncio.Event().wait()


@in_event_loop
async def test_a_connection_that_does_not_close_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "CLOSE_SECONDS", 0.01)
    rig = ProbeRig()
    probe = BrokerProbe(lambda: LogReader(SETTINGS, StuckConsumer(rig.broker), LocalGroupOffsets(rig.broker)))
    await probe.look(GroupView(True, {0: FetchState(15, None)}), rig.owned)
    await probe.close()
