"""What the topic of state holds stays true: late writers, a topic that was lost, assets that moved."""

import orjson
import pytest

from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.assets.snapshots import Snapshot, dump
from stream_detector.engine.outcome import Outcome
from stream_detector.messages import Alarm
from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.local.clients import local_log_reader
from stream_detector.streaming.state.group_facts import Departure
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import snapshot_message
from stream_detector.streaming.worker.housekeeping import moved_assets
from stream_detector.streaming.worker.offsets.recovery import to_metadata
from stream_detector.streaming.worker.transport.fetched import parts_of
from tests.support.event_loop import in_event_loop
from tests.support.messages import make_alarm
from tests.support.pipelines import BUNDLE, READINGS, SCORED_BY, SETTINGS, Rig, ScriptedEngine, fetched
from tests.support.state_topic import SETTINGS as STATE_SETTINGS
from tests.support.state_topic import StateTopic

STATE = TopicPartition(SETTINGS.topic_state, 0)


async def planned(rig: Rig, committed: int | None = None) -> None:
    if committed is not None:
        rig.group_committed(committed, '{"low":0}')
    await rig.pipeline.plan({0}, rig)


def state_of(rig: Rig) -> PartitionState:
    state = PartitionState(SETTINGS.group, 100)
    state.take(rig.broker.records(SETTINGS.topic_state))
    return state


def told(rig: Rig) -> list[Alarm]:
    return [Alarm.model_validate_json(value or b"") for value in rig.broker.values(SETTINGS.topic_alarms)]


async def mend(rig: Rig) -> None:
    async with local_log_reader(rig.broker, SETTINGS) as reader:
        await rig.pipeline.mend(reader.state_where_other)


@in_event_loop
async def test_a_snapshot_that_another_worker_writes_late_is_followed_by_the_newest_again() -> None:
    rig = await Rig(engine=ScriptedEngine(lambda _: Outcome(snapshots=[("m", b"new")]))).start()
    await planned(rig)
    await rig.pipeline.handle(fetched(0, 12))
    await rig.pipeline.flush()
    await mend(rig)
    quiet = len(rig.broker.records(SETTINGS.topic_state))
    late = snapshot_message(SETTINGS, BUNDLE, 0, "m", b"old", 5)
    rig.broker.append(late.topic, late.value, late.key, 0, headers=late.headers)
    await mend(rig)
    assert [r.value for r in rig.broker.records(SETTINGS.topic_state)][quiet:] == [b"old", b"new"]
    await mend(rig)
    assert len(rig.broker.records(SETTINGS.topic_state)) == quiet + 2


@in_event_loop
async def test_another_bundle_that_wakes_up_late_does_not_take_the_switch_away() -> None:
    rig = await Rig(engine=ScriptedEngine(lambda _: Outcome(snapshots=[("m", b"new")]))).start()
    await planned(rig)
    await rig.pipeline.handle(fetched(0, 12))
    await rig.pipeline.flush()
    mine = state_of(rig).switches
    key = orjson.dumps([SETTINGS.group, "bundle", 0, 0])
    rig.broker.append(SETTINGS.topic_state, orjson.dumps({"bundle": "another", "low": None}), key, 0)
    await mend(rig)
    assert state_of(rig).switches == mine
    assert state_of(rig).of_service(mine[-1], BUNDLE)["m"].data == b"new"


@in_event_loop
async def test_a_topic_of_state_that_was_lost_holds_everything_again_before_the_next_commit() -> None:
    rig = await Rig(engine=ScriptedEngine(lambda _: Outcome(snapshots=[("m", b"new")]))).start()
    rig.engine.standing = {"m": b"new", "quiet": b"still up"}
    await planned(rig)
    for start in range(4):
        await rig.pipeline.handle(fetched(start, start + 1))
        await rig.pipeline.flush()
    rig.pipeline.committed({0: 4})
    rig.broker.delete_topic(SETTINGS.topic_state)
    await rig.pipeline.handle(fetched(4, 5))
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {}
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {0: (5, to_metadata(5, SCORED_BY))}
    state = state_of(rig)
    found = state.of_service(state.switches[-1], BUNDLE)
    assert {asset: snapshot.data for asset, snapshot in found.items()} == {"m": b"new", "quiet": b"still up"}


@in_event_loop
async def test_an_asset_that_moved_is_let_go_of_at_an_offset_that_is_written_down_first() -> None:
    alarm = make_alarm(3, asset="m")
    gone = Outcome(alarms=[withdrawn(alarm)], alarm_timestamps_ms=[-1], snapshots=[("m", b"gone")])
    rig = await Rig(engine=ScriptedEngine()).start()
    rig.engine.retired = {"m": gone}
    await planned(rig)
    await rig.pipeline.handle(fetched(0, 12))
    await rig.pipeline.flush()
    rig.pipeline.committed({0: 12})
    await rig.pipeline.depart(0, "m")
    await rig.pipeline.flush()  # although no reading came since
    assert told(rig) == [withdrawn(alarm)]
    state = state_of(rig)
    assert state.departures == [Departure(0, "m", 12)]
    assert state.of_service(state.switches[-1], BUNDLE)["m"].data == b"gone"


@pytest.mark.parametrize("committed", [8, 12])
@in_event_loop
async def test_a_crash_after_a_departure_was_written_down_ends_the_life_at_the_same_record(committed: int) -> None:
    alarm = make_alarm(3, asset="m")
    rig = await Rig(engine=ScriptedEngine()).start()
    await planned(rig)
    await rig.pipeline.handle(fetched(0, 12))
    await rig.pipeline.depart(0, "m")  # and killed before anything came of it
    rig.readings(20)
    again = Rig(broker=rig.broker)
    again.engine.retired = {"m": Outcome(alarms=[withdrawn(alarm)], alarm_timestamps_ms=[-1])}
    await again.start()
    await planned(again, committed)
    await again.pipeline.handle(fetched(0, 20))
    assert told(again) == [withdrawn(alarm)]
    assert [batch.offsets[-1] for batch in again.engine.batches] == [11, 19]


def test_a_fetch_is_cut_where_a_life_ends() -> None:
    parts = parts_of(fetched(10, 20), {10, 13, 20, 25})
    assert [(part.start, part.end, list(part.columns.offsets)) for part in parts] == [
        (10, 13, [10, 11, 12]),
        (13, 20, list(range(13, 20))),
    ]
    assert parts_of(fetched(10, 20), {3}) == [fetched(10, 20)]


def test_an_asset_has_moved_where_its_state_was_written_later_in_another_partition() -> None:
    here, there = StateTopic(), StateTopic(end=10)
    for topic, asset in ((here, "moved"), (here, "stayed"), (there, "moved"), (there, "evicted there")):
        topic.snapshot("A", asset, 5)
    here.snapshot("A", "evicted there", 6)
    marker = dump(Snapshot(since=0, until=6, evicted=6))
    there.write([snapshot_message(STATE_SETTINGS, "A", 0, "evicted there", marker, 6)])
    states = {}
    for number, topic in enumerate((here, there)):
        states[number] = PartitionState(STATE_SETTINGS.group, 10)
        states[number].take(topic.records)
    everybody = {(number, asset) for number in states for asset in ("moved", "stayed", "evicted there")}
    assert moved_assets(everybody, states) == {(0, "moved")}


@in_event_loop
async def test_partitions_without_state_are_left_alone_until_there_is_some() -> None:
    rig = await Rig().start()
    rig.broker.create_topic(READINGS, 3)
    counts = {SETTINGS.topic_state: 1}

    async def extend() -> dict[str, int]:
        return counts

    rig.planner._extend_topics = extend
    rig.pipeline.state_partitions = 1
    assert set(await rig.pipeline.plan({0, 1, 2}, rig)) == {0}
    assert rig.pipeline.left_alone == {1, 2}
    rig.broker.create_topic(SETTINGS.topic_state, 3)
    counts[SETTINGS.topic_state] = 3
    assert set(await rig.pipeline.plan({0, 1, 2}, rig)) == {0, 1, 2}
    assert not rig.pipeline.left_alone
