"""The order of a batch: alarms acknowledged, then the rest, then the offset declared."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.decoding.unknown_names import NONE_UNKNOWN, UnknownNames
from stream_detector.engine.outcome import Outcome, RecordBatch
from stream_detector.errors import StalledError, UnknownNameError
from stream_detector.streaming.clients.producer import Burst, Outgoing
from stream_detector.streaming.local.broker import EVERY_TOPIC, Sent
from stream_detector.streaming.state.group_facts import Departure
from stream_detector.streaming.worker import pipeline as pipeline_module
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.recovery import to_metadata
from stream_detector.streaming.worker.pipeline import Pipeline
from tests.support.event_loop import in_event_loop, settle
from tests.support.pipelines import SCORED_BY, SETTINGS, Rig, ScriptedEngine, fetched, outcome_with
from tests.support.properties import fast_first

ALARMS, SCORES, LETTERS, STATE = (
    SETTINGS.topic_alarms, SETTINGS.topic_scores, SETTINGS.topic_dead_letters, SETTINGS.topic_state,
)  # fmt: skip


async def rig_with(outcome: Outcome, hold: bool = True, low: int | None = None) -> Rig:
    """A worker at offset 10 of partition 0 whose every batch has this outcome."""
    rig = await Rig(engine=ScriptedEngine(lambda _: outcome, low)).start()
    rig.own()
    rig.broker.hold = EVERY_TOPIC if hold else ()
    return rig


def on_their_way(rig: Rig) -> list[str]:
    return [sent.topic for sent in rig.broker.held]


@in_event_loop
async def test_a_batch_is_not_done_before_its_alarms_are_acknowledged() -> None:
    rig = await rig_with(outcome_with(alarms=1))
    handling = asyncio.create_task(rig.pipeline.handle(fetched()))
    await settle()
    assert on_their_way(rig) == [ALARMS]
    assert not handling.done()
    assert rig.pipeline.partitions[0].processed == 10
    assert rig.observer.told == ["scored"]
    rig.broker.acknowledge()
    await handling
    assert rig.pipeline.partitions[0].processed == 12
    assert rig.observer.told == ["scored", "alarms acknowledged"]
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {0: (12, to_metadata(12, SCORED_BY))}


@in_event_loop
async def test_nothing_but_alarms_is_sent_before_the_alarms_are_acknowledged() -> None:
    rig = await rig_with(outcome_with(alarms=2, scores=1, letters=1, snapshots=[("m", b"1")]))
    handling = asyncio.create_task(rig.pipeline.handle(fetched()))
    await settle()
    assert on_their_way(rig) == [ALARMS, ALARMS]
    rig.broker.acknowledge()
    await handling
    assert on_their_way(rig) == [SCORES, LETTERS]


async def begun(rig: Rig, start: int, number: int = 0) -> "asyncio.Future[None]":
    """A batch of two records whose alarms are on their way."""
    acknowledged = await rig.pipeline.begin(fetched(start, start + 2, number=number))
    assert acknowledged is not None
    return asyncio.ensure_future(acknowledged)


@in_event_loop
async def test_while_alarms_are_on_their_way_other_partitions_go_on_and_their_own_does_not() -> None:
    rig = await rig_with(outcome_with(alarms=1))
    rig.own(number=1)
    first = await begun(rig, 10)
    await begun(rig, 10, number=1)
    following = asyncio.create_task(rig.pipeline.begin(fetched(12, 14)))
    await settle()
    assert [batch.partition for batch in rig.engine.batches] == [0, 1]
    rig.broker.acknowledge(rig.broker.held[:1])
    await settle()
    assert first.done()
    assert [batch.partition for batch in rig.engine.batches] == [0, 1, 0]
    assert {number: at.processed for number, at in rig.pipeline.partitions.items()} == {0: 12, 1: 10}
    rig.broker.acknowledge()
    acknowledged = await following
    assert acknowledged is not None
    await acknowledged
    assert {number: at.processed for number, at in rig.pipeline.partitions.items()} == {0: 14, 1: 12}


async def owner_of(*numbers: int) -> Rig:
    """A worker at offset 10 of these partitions, whose every batch has an alarm that waits to be acknowledged."""
    rig = await rig_with(outcome_with(alarms=1))
    for number in numbers:
        rig.own(number)
    return rig


@in_event_loop
async def test_fetches_of_several_partitions_are_decided_at_once_and_end_each_by_itself() -> None:
    rig = await owner_of(0, 1)
    acknowledged = await rig.pipeline.begin(fetched(), fetched(number=1))
    assert acknowledged is not None
    assert rig.engine.together == [[0, 1]]
    assert on_their_way(rig) == [ALARMS, ALARMS]
    rig.broker.acknowledge(rig.broker.held[1:])
    await settle()
    assert {number: at.processed for number, at in rig.pipeline.partitions.items()} == {0: 10, 1: 12}
    rig.broker.acknowledge()
    await acknowledged
    assert {number: at.processed for number, at in rig.pipeline.partitions.items()} == {0: 12, 1: 12}


@in_event_loop
async def test_a_partition_whose_alarms_are_on_their_way_comes_after_those_beside_it() -> None:
    rig = await owner_of(0, 1, 2)
    await rig.pipeline.begin(fetched())
    following = asyncio.create_task(rig.pipeline.begin(*(fetched(12 - 2 * bool(n), 14, number=n) for n in range(3))))
    await settle()
    assert rig.engine.together == [[0], [1, 2]]
    rig.broker.acknowledge(rig.broker.held[:1])
    await following
    assert rig.engine.together == [[0], [1, 2], [0]]


@in_event_loop
async def test_a_fetch_from_before_a_seek_holds_up_none_that_came_with_it() -> None:
    rig = await owner_of(0, 1)
    acknowledged = await rig.pipeline.begin(fetched(epoch=0), fetched(number=1), fetched(number=2))
    rig.broker.acknowledge()
    assert acknowledged is not None
    await acknowledged
    assert {number: at.processed for number, at in rig.pipeline.partitions.items()} == {0: 10, 1: 12}


@in_event_loop
async def test_a_name_that_is_a_fault_stops_its_own_partition_and_not_those_that_were_fetched_with_it() -> None:
    settings = SETTINGS.model_copy(update={"unknown_sensors": "fail"})
    rig = await Rig(settings=settings).start()
    for number in range(3):
        rig.own(number)
    rig.engine.answer = lambda batch: replace(
        outcome_with(alarms=1 - batch.partition % 2),
        unknown=UNKNOWN if batch.partition == 0 else NONE_UNKNOWN,
    )
    with pytest.raises(UnknownNameError, match="x9"):
        await rig.pipeline.begin(*(fetched(number=number) for number in range(3)))
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {number: (12, to_metadata(12, SCORED_BY)) for number in (1, 2)}


@pytest.mark.parametrize("departing", [(0,), (0, 1)], ids=["its-fetch-is-one-part", "its-fetch-is-cut"])
@in_event_loop
async def test_a_partition_that_is_taken_away_while_another_waits_is_not_decided_about(
    departing: tuple[int, ...],
) -> None:
    rig = await owner_of(0, 1)
    for number in departing:
        rig.pipeline.partitions[number].departures.append(Departure(number, "m", 11))
    handling = asyncio.create_task(rig.pipeline.handle(fetched(), fetched(number=1)))
    await settle()
    rig.pipeline.revoke_others(set())
    rig.broker.acknowledge()
    await handling
    assert rig.engine.together == [[0]]


@in_event_loop
async def test_an_asset_that_departs_within_one_of_several_fetches_ends_at_its_offset() -> None:
    rig = await rig_with(outcome_with(letters=1), hold=False)
    rig.own(1)
    rig.pipeline.partitions[0].departures.append(Departure(0, "m", 11))
    await rig.pipeline.handle(fetched(), fetched(number=1))
    assert [(batch.partition, list(batch.offsets)) for batch in rig.engine.batches] == [
        (0, [10]), (0, [11]), (1, [10, 11]),
    ]  # fmt: skip
    assert rig.pipeline.partitions[0].departures == []


@in_event_loop
async def test_a_flush_waits_for_every_batch_in_hand() -> None:
    rig = await rig_with(outcome_with(alarms=1, letters=1), low=9)
    rig.own(number=1)
    await begun(rig, 10)
    await begun(rig, 10, number=1)
    flushing = asyncio.create_task(rig.pipeline.flush())
    for _ in (0, 1):
        await settle()
        assert rig.pipeline.to_commit() == {}
        rig.broker.acknowledge([next(sent for sent in rig.broker.held if sent.topic == ALARMS)])
    await settle()
    assert on_their_way(rig) == [LETTERS, LETTERS]
    assert rig.pipeline.to_commit() == {}
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit() == {number: (12, to_metadata(9, SCORED_BY)) for number in (0, 1)}


@in_event_loop
async def test_no_batch_begins_while_a_flush_waits_for_those_in_hand() -> None:
    rig = await rig_with(outcome_with(alarms=1))
    rig.own(number=1)
    await begun(rig, 10)
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    following = asyncio.create_task(rig.pipeline.begin(fetched(number=1)))
    await settle()
    assert len(rig.engine.batches) == 1
    rig.broker.acknowledge()
    await flushing
    await following
    assert len(rig.engine.batches) == 2
    assert rig.pipeline.to_commit() == {0: (12, to_metadata(12, SCORED_BY))}


@in_event_loop
async def test_behind_alarms_that_cannot_be_sent_no_batch_begins_and_nothing_of_theirs_is_committed() -> None:
    rig = await rig_with(outcome_with(alarms=1), hold=False)
    rig.own(number=1)
    rig.engine.answer = lambda batch: outcome_with(alarms=1 - batch.partition)
    await rig.pipeline.handle(fetched(number=1))
    rig.broker.up = False
    acknowledged = await begun(rig, 10)
    await settle()
    rig.now = SETTINGS.outage_seconds + 1
    with pytest.raises(StalledError, match="acknowledged nothing"):
        await acknowledged
    for number, start in ((0, 12), (1, 12)):
        with pytest.raises(StalledError, match="acknowledged nothing"):
            await rig.pipeline.begin(fetched(start, start + 2, number=number))
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {1: (12, to_metadata(12, SCORED_BY))}


@pytest.mark.parametrize(
    ("outcome", "topic"),
    [
        (outcome_with(scores=1), SCORES),
        (outcome_with(letters=1), LETTERS),
        (outcome_with(changes=1), SETTINGS.topic_operating),
        (outcome_with(snapshots=[("m", b"1")]), STATE),
        (outcome_with(snapshots=[("m", None)]), STATE),
    ],
    ids=["a score", "a dead letter", "a machine that stands", "a snapshot", "the end of an asset"],
)
@in_event_loop
async def test_no_offset_is_committed_before_what_came_of_it_is_acknowledged(outcome: Outcome, topic: str) -> None:
    rig = await rig_with(outcome)
    rig.pipeline.tells_operating = True
    await rig.pipeline.handle(fetched())
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    assert on_their_way(rig) == [topic]
    assert rig.pipeline.to_commit() == {}
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 12


@in_event_loop
async def test_where_there_is_no_topic_for_it_nobody_is_told_of_machines_that_stand() -> None:
    rig = await rig_with(outcome_with(changes=1))
    await rig.pipeline.handle(fetched())
    assert on_their_way(rig) == []


@in_event_loop
async def test_snapshots_are_sent_behind_the_scores_that_they_follow() -> None:
    rig = await rig_with(outcome_with(scores=1, snapshots=[("m", b"1")]))
    await rig.pipeline.handle(fetched())
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    assert on_their_way(rig) == [SCORES]
    rig.broker.acknowledge()
    await settle()
    assert on_their_way(rig) == [STATE]
    rig.broker.acknowledge()
    await flushing


@in_event_loop
async def test_acknowledgements_out_of_order_are_all_waited_for() -> None:
    rig = await rig_with(outcome_with(letters=1))
    for start in (10, 12, 14):
        await rig.pipeline.handle(fetched(start, start + 2))
    flushing = asyncio.create_task(rig.pipeline.flush())
    for late in (2, 0, 0):
        await settle()
        assert rig.pipeline.to_commit() == {}
        rig.broker.acknowledge([rig.broker.held[late]])
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 16


@in_event_loop
async def test_what_is_never_acknowledged_is_never_committed() -> None:
    rig = await rig_with(outcome_with(scores=1))
    await rig.pipeline.handle(fetched())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rig.pipeline.flush(), 0.05)
    assert rig.pipeline.to_commit() == {}


class SlowSender:
    """Takes messages only when it is let (`enqueue` waits), and acknowledges them only when it is told."""

    def __init__(self) -> None:
        self.taken: list[Burst] = []
        self.acknowledged: set[int] = set()
        self._turn = asyncio.Condition()
        self._may_take = 0

    async def enqueue(self, messages: Sequence[Outgoing]) -> Burst:
        async with self._turn:
            await self._turn.wait_for(lambda: self._may_take > len(self.taken))
            self.taken.append(Burst(messages))
            return self.taken[-1]

    async def confirm(self, burst: Burst) -> None:
        async with self._turn:
            await self._turn.wait_for(lambda: self.taken.index(burst) in self.acknowledged)

    async def let(self, take: int = 0, acknowledge: int | None = None) -> None:
        async with self._turn:
            self._may_take += take
            if acknowledge is not None:
                self.acknowledged.add(acknowledge)
            self._turn.notify_all()
        await settle()


@in_event_loop
async def test_a_burst_that_is_sent_while_a_flush_ends_belongs_to_the_next_flush() -> None:
    """Between asking for the list of bursts and adding to it the sender waited, and the flush put another in place."""
    sender = SlowSender()
    rig = await Rig(engine=ScriptedEngine(lambda _: outcome_with(letters=1)), sender=sender).start()
    rig.own()
    await sender.let(take=1)
    await rig.pipeline.handle(fetched(10, 12))
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    handling = asyncio.create_task(rig.pipeline.handle(fetched(12, 14)))
    await settle()
    await sender.let(acknowledge=0)
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 12
    await sender.let(take=1)
    await handling
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    assert rig.pipeline.to_commit()[0][0] == 12
    await sender.let(acknowledge=1)
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 14


@in_event_loop
async def test_a_flush_that_is_broken_off_leaves_its_messages_to_the_next() -> None:
    rig = await rig_with(outcome_with(letters=1, snapshots=[("m", b"old"), ("n", b"old")]))
    await rig.pipeline.handle(fetched(10, 12))
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    rig.engine.answer = lambda _: outcome_with(snapshots=[("m", b"new")])
    await rig.pipeline.handle(fetched(12, 14))
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    assert on_their_way(rig) == [LETTERS]
    rig.broker.acknowledge()
    await settle()
    assert {json.loads(sent.key or b"")[1]: sent.value for sent in rig.broker.held} == {"m": b"new", "n": b"old"}
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 14


@in_event_loop
async def test_nothing_is_declared_done_while_windows_are_rebuilt() -> None:
    rig = await rig_with(Outcome(), hold=False)
    rig.own(processed=4, silent_until=10, committed=10)
    await rig.pipeline.handle(fetched(4, 6))
    await rig.pipeline.flush()
    assert rig.pipeline.partitions[0].declared is None
    assert rig.pipeline.to_commit() == {}


@in_event_loop
async def test_a_flush_that_is_broken_off_brings_no_older_snapshot_back() -> None:
    rig = await rig_with(outcome_with(letters=1, snapshots=[("m", b"old")]))
    await rig.pipeline.handle(fetched(10, 12))
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    rig.engine.answer = lambda _: outcome_with(snapshots=[("m", b"new")])
    await rig.pipeline.handle(fetched(12, 14))
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    rig.broker.acknowledge()
    await settle()
    assert [sent.value for sent in rig.broker.held] == [b"new"]
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 14


@in_event_loop
async def test_a_snapshot_renewed_while_its_older_one_is_on_its_way_is_sent_too() -> None:
    rig = await rig_with(outcome_with(snapshots=[("m", b"1")]))
    await rig.pipeline.handle(fetched(10, 12))
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    rig.engine.answer = lambda _: outcome_with(snapshots=[("m", b"2")])
    await rig.pipeline.handle(fetched(12, 14))
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 12
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    rig.broker.acknowledge()
    await flushing
    assert rig.broker.values(STATE) == [b"1", b"2"]
    assert [dict(record.headers)["offset"] for record in rig.broker.records(STATE)] == [b"12", b"14"]
    assert rig.pipeline.to_commit()[0][0] == 14


@in_event_loop
async def test_of_an_asset_only_the_newest_snapshot_is_sent() -> None:
    rig = await rig_with(Outcome(), hold=False)
    for start, data in ((10, b"1"), (12, b"2"), (14, None)):
        rig.engine.answer = lambda _, data=data: outcome_with(snapshots=[("m", data)])  # type: ignore[misc]
        await rig.pipeline.handle(fetched(start, start + 2))
    await rig.pipeline.flush()
    assert rig.broker.values(STATE) == [None]


@in_event_loop
async def test_a_fetch_of_an_older_plan_is_dropped() -> None:
    rig = await rig_with(Outcome())
    await rig.pipeline.handle(fetched(epoch=0))
    assert rig.engine.batches == []
    assert rig.pipeline.partitions[0].processed == 10


@in_event_loop
async def test_a_fetch_of_a_partition_that_went_to_another_worker_is_dropped() -> None:
    rig = await rig_with(Outcome())
    await rig.pipeline.handle(fetched(number=1))
    assert rig.engine.batches == []


@pytest.mark.parametrize("start", [9, 11])
@in_event_loop
async def test_a_fetch_that_does_not_follow_the_last_one_ends_the_worker(start: int) -> None:
    rig = await rig_with(Outcome())
    with pytest.raises(StalledError, match=f"starts at {start}, not at 10"):
        await rig.pipeline.handle(fetched(start=start))
    assert rig.engine.batches == []


@in_event_loop
async def test_offsets_without_records_are_passed_over() -> None:
    rig = await rig_with(Outcome())
    await rig.pipeline.handle(fetched(10, 15, records=False))
    await rig.pipeline.flush()
    assert rig.engine.batches == []
    assert rig.pipeline.to_commit()[0][0] == 15


@in_event_loop
async def test_a_commit_carries_the_oldest_offset_that_a_restart_needs() -> None:
    rig = await rig_with(Outcome(), low=4)
    await rig.pipeline.handle(fetched())
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {0: (12, to_metadata(4, SCORED_BY))}


@in_event_loop
async def test_low_is_that_of_the_offset_that_is_committed_and_not_of_what_came_meanwhile() -> None:
    rig = await rig_with(outcome_with(scores=1), low=4)
    await rig.pipeline.handle(fetched(10, 12))
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    rig.engine.oldest = 11
    await rig.pipeline.handle(fetched(12, 14))
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit() == {0: (12, to_metadata(4, SCORED_BY))}


@in_event_loop
async def test_what_is_committed_is_not_committed_again() -> None:
    rig = await rig_with(Outcome())
    await rig.pipeline.handle(fetched())
    await rig.pipeline.flush()
    rig.pipeline.committed({0: 12})
    assert rig.pipeline.to_commit() == {}
    assert rig.observer.told[-1] == "committed"


@in_event_loop
async def test_a_commit_of_an_earlier_assignment_says_nothing_about_this_one() -> None:
    rig = await rig_with(Outcome())
    rig.own(processed=0, committed=None)
    rig.pipeline.committed({0: 1_000})
    await rig.pipeline.handle(fetched(0, 2))
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit()[0][0] == 2


@in_event_loop
async def test_nothing_is_committed_while_windows_are_rebuilt() -> None:
    rig = await rig_with(Outcome(), low=4)
    rig.own(processed=4, silent_until=10, committed=10)
    await rig.pipeline.handle(fetched(4, 8))
    await rig.pipeline.flush()
    assert rig.pipeline.rebuilding
    assert rig.pipeline.to_commit() == {}
    await rig.pipeline.handle(fetched(8, 12))
    await rig.pipeline.flush()
    assert not rig.pipeline.rebuilding
    assert rig.observer.told.count("rebuilt, rebuilding False") == 1
    assert rig.pipeline.to_commit() == {0: (12, to_metadata(4, SCORED_BY))}


@in_event_loop
async def test_a_partition_that_is_revoked_in_the_middle_of_a_batch_is_not_committed() -> None:
    rig = await rig_with(outcome_with(alarms=1, letters=1, snapshots=[("m", b"1")]))
    handling = asyncio.create_task(rig.pipeline.handle(fetched()))
    await settle()
    rig.pipeline.revoke_others(set())
    rig.broker.acknowledge()
    await handling
    rig.broker.acknowledge()
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {}
    assert rig.engine.forgotten == [0]
    assert rig.broker.values(STATE) == []


@in_event_loop
async def test_a_partition_that_is_revoked_during_a_flush_is_not_committed() -> None:
    rig = await rig_with(outcome_with(letters=1))
    await rig.pipeline.handle(fetched())
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    rig.pipeline.revoke_others(set())
    rig.own(processed=50, committed=None)
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit() == {}


@in_event_loop
async def test_a_batch_that_fails_leaves_nothing_to_commit_and_nothing_to_go_on_from() -> None:
    """The engine may be ahead of the offset then, and would tell a `low` that is too high for it."""
    rig = await rig_with(Outcome(), low=4)
    await rig.pipeline.handle(fetched(10, 12))

    def fail(_: RecordBatch) -> Outcome:
        raise ZeroDivisionError

    rig.engine.answer = fail
    with pytest.raises(ZeroDivisionError):
        await rig.pipeline.handle(fetched(12, 14))
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {}
    with pytest.raises(StalledError, match="the batch at 12 did not end"):
        await rig.pipeline.handle(fetched(12, 14))
    rig.readings(20)
    rig.group_committed(10, '{"low":4}')
    assert await rig.pipeline.plan({0}, rig) == {0: (4, 1)}


@in_event_loop
async def test_an_alarm_that_cannot_be_sent_ends_the_worker_before_anything_is_committed() -> None:
    rig = await rig_with(outcome_with(alarms=1), hold=False)
    rig.broker.up = False
    handling = asyncio.create_task(rig.pipeline.handle(fetched()))
    await settle()
    rig.now = SETTINGS.outage_seconds + 1
    with pytest.raises(StalledError, match=r"acknowledged nothing on .* for 5 s"):
        await handling
    await rig.pipeline.flush()
    assert rig.pipeline.to_commit() == {}


@in_event_loop
async def test_messages_that_expire_are_sent_again_before_anything_is_committed() -> None:
    rig = await rig_with(outcome_with(alarms=2))
    handling = asyncio.create_task(rig.pipeline.handle(fetched()))
    await settle()
    first, second = rig.broker.held
    rig.broker.acknowledge([first])
    second.expire()
    rig.broker.held.clear()
    await settle()
    assert not handling.done()
    rig.broker.acknowledge()
    await handling
    assert len(rig.broker.values(ALARMS)) == 3


@in_event_loop
async def test_too_many_messages_on_their_way_make_the_next_batch_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "MOST_UNCONFIRMED", 3)
    rig = await rig_with(outcome_with(scores=2))
    await rig.pipeline.handle(fetched(10, 12))
    handling = asyncio.create_task(rig.pipeline.handle(fetched(12, 14)))
    await settle()
    assert not handling.done()
    rig.broker.acknowledge(rig.broker.held[:2])
    await handling
    assert rig.pipeline.partitions[0].unacknowledged.messages == 2


@in_event_loop
async def test_dead_letters_over_the_rate_are_told_and_not_sent() -> None:
    settings = SETTINGS.model_copy(update={"dead_letters_per_second": 0.1})
    rig = await Rig(engine=ScriptedEngine(lambda _: outcome_with(letters=3)), settings=settings).start()
    rig.own()
    await rig.pipeline.handle(fetched())
    assert len(rig.broker.values(LETTERS)) == 1
    assert rig.observer.told == ["scored", "dead letter held back", "dead letter held back"]


@in_event_loop
async def test_records_of_others_are_translated_before_the_engine_sees_them() -> None:
    rig = await rig_with(Outcome())
    mapping = FieldMapping.model_validate({"time": "ts", "sensor": "tag", "value": "val"})
    rig.pipeline = Pipeline(
        SETTINGS, Detectors(Detector(rig.engine, SCORED_BY)), rig.planner, rig.producer, rig.observer,
        rig.errors.append, field_mapping=mapping,
    )  # fmt: skip
    rig.own()
    fetch = fetched(10, 11)
    fetch.columns.values[:] = [b'{"ts":1700000000,"tag":"s1","val":2.5}']
    await rig.pipeline.handle(fetch)
    assert json.loads(rig.engine.batches[0].values[0] or b"") == {"time": 1700000000, "sensor": "s1", "value": 2.5}


UNKNOWN = UnknownNames(3, 1, ("oven\x1b[2J", "x9"), ("pm-9",))


@in_event_loop
async def test_names_that_the_bundle_does_not_know_are_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    rig = await rig_with(Outcome(unknown=UNKNOWN))
    for start in range(10, 20, 2):
        await rig.pipeline.handle(fetched(start, start + 2))
    said = [message for message in caplog.messages if "ignored" in message]
    (line,) = said
    assert line == (
        "ignored since the start: 3 readings of unknown sensors, the newest 'oven\\x1b[2J', 'x9'; "
        "1 readings of unknown assets, the newest 'pm-9'"
    )
    assert (rig.pipeline.unknown.seen.of_sensors, rig.pipeline.unknown.seen.assets) == (15, ("pm-9",))


@pytest.mark.parametrize(("setting", "name"), [("unknown_sensors", "x9"), ("unknown_assets", "pm-9")])
@in_event_loop
async def test_where_unknown_names_are_a_fault_the_batch_is_not_done(setting: str, name: str) -> None:
    settings = SETTINGS.model_copy(update={setting: "fail"})
    outcome = replace(outcome_with(alarms=1), unknown=UNKNOWN)
    rig = await Rig(engine=ScriptedEngine(lambda _: outcome), settings=settings).start()
    rig.own()
    with pytest.raises(UnknownNameError, match=name):
        await rig.pipeline.handle(fetched())
    assert rig.pipeline.partitions[0].processed == 10
    assert not rig.broker.values(ALARMS)


@in_event_loop
async def test_a_plan_starts_where_the_group_stands_and_drops_what_others_own() -> None:
    rig = await rig_with(Outcome())
    rig.own(number=1)
    rig.readings(20)
    rig.group_committed(12, '{"low":7}')
    rig.pipeline.partitions.pop(0)
    assert await rig.pipeline.plan({0}, rig) == {0: (7, 1)}
    assert set(rig.pipeline.partitions) == {0}
    assert rig.engine.restored == [(0, {}, 12)]
    assert rig.observer.told == ["assigned [0]", "planned, rebuilding True"]
    assert not rig.pipeline.planning


@in_event_loop
async def test_a_partition_that_stays_goes_on_from_memory_with_its_unacknowledged_messages() -> None:
    rig = await rig_with(outcome_with(letters=1))
    rig.readings(20)
    rig.group_committed(10, '{"low":7}')
    await rig.pipeline.handle(fetched())
    assert await rig.pipeline.plan({0}, rig) == {0: (12, 1)}
    assert rig.engine.restored == []
    flushing = asyncio.create_task(rig.pipeline.flush())
    await settle()
    assert rig.pipeline.to_commit() == {}
    rig.broker.acknowledge()
    await flushing
    assert rig.pipeline.to_commit()[0][0] == 12


@in_event_loop
async def test_a_plan_takes_effect_when_what_it_writes_is_acknowledged() -> None:
    """A first start writes down from where on its bundle decides."""
    rig = await rig_with(Outcome())
    rig.readings(20)
    rig.pipeline.partitions.clear()
    planning = asyncio.create_task(rig.pipeline.plan({0}, rig))
    await settle(60)
    assert set(on_their_way(rig)) == {STATE}
    assert not planning.done()
    assert (rig.engine.restored, rig.pipeline.partitions) == ([], {})
    rig.broker.acknowledge()
    assert await planning == {0: (0, 1)}


@in_event_loop
async def test_a_plan_waits_for_the_batch_in_hand() -> None:
    rig = await rig_with(outcome_with(alarms=1))
    rig.readings(20)
    rig.group_committed(10, '{"low":7}')
    handling = asyncio.create_task(rig.pipeline.handle(fetched()))
    await settle()
    planning = asyncio.create_task(rig.pipeline.plan({0}, rig))
    await settle()
    assert not planning.done()
    rig.broker.acknowledge()
    await handling
    assert await planning == {0: (12, 1)}


@in_event_loop
async def test_a_plan_that_loses_all_its_partitions_meanwhile_has_no_effect() -> None:
    rig = await rig_with(Outcome())
    rig.readings(20)
    rig.group_committed(10, '{"low":7}')
    planning = asyncio.create_task(rig.pipeline.plan({0}, rig))
    await asyncio.sleep(0)
    rig.pipeline.revoke_others(set())
    assert await planning == {}
    assert rig.pipeline.partitions == {}
    assert not rig.pipeline.planning


def number_in(sent: Sent) -> int:
    """The offset of the reading that a message came of."""
    if sent.topic == STATE:
        return int(sent.value or b"")
    body = json.loads(sent.value or b"")
    return int(body["id"].split("/")[1]) if sent.topic == ALARMS else int(body.get("offset", body.get("score")))


APART = 1_000
"""What a message says of a reading: its offset, and this for each partition before its own."""


@pytest.mark.parametrize("first", fast_first(range(0, 30, 5), 1))
@in_event_loop
async def test_whatever_the_brokers_do_no_commit_is_ahead_of_its_messages(first: int) -> None:
    """Acknowledgements come late, out of order or never; each reading makes one message.

    Nothing that follows an alarm in its partition is sent before that is acknowledged.
    """
    beside = [await commits_behind_messages(seed) for seed in range(first, first + 5)]
    assert any(beside), "no batch was handled beside another one's acknowledgements"


async def commits_behind_messages(seed: int) -> int:
    """How many batches were handled while acknowledgements of others were still to come."""
    rng = random.Random(seed)
    numbers = range(seed % 3 + 1)

    def answer(batch: RecordBatch) -> Outcome:
        outcome = Outcome()
        for offset in batch.offsets:
            kind, at = offset % 4, offset + APART * batch.partition
            part = outcome_with(
                alarms=kind == 0, scores=kind == 1, letters=kind == 2, at=at,
                snapshots=[(f"asset-{at}", b"%d" % at)] if kind == 3 else [],
            )  # fmt: skip
            outcome.alarms += part.alarms
            outcome.alarm_timestamps_ms += part.alarm_timestamps_ms
            outcome.scores += part.scores
            outcome.dead_letters += part.dead_letters
            outcome.snapshots += part.snapshots
        return outcome

    rig = await Rig(engine=ScriptedEngine(answer)).start()
    for number in numbers:
        rig.own(number, processed=0, committed=None)
    rig.broker.hold = EVERY_TOPIC
    arrived: set[int] = set()
    committed = dict.fromkeys(numbers, 0)
    expired = beside = 0

    def answer_some() -> None:
        nonlocal expired
        for sent in rig.broker.held:
            said = number_in(sent)
            if sent.topic != ALARMS:
                alarms = {at for at in range(said - said % APART, said) if at % 4 == 0}
                assert alarms <= arrived, f"{sent.topic} {said} was sent before an alarm was acknowledged"
        for sent in rng.sample(rig.broker.held, k=min(len(rig.broker.held), rng.randint(0, 4))):
            rig.broker.held.remove(sent)
            if expired < 8 and rng.random() < 0.2:
                expired += 1
                sent.expire()
            else:
                arrived.add(number_in(sent))
                sent.acknowledge()

    async def read() -> None:
        nonlocal beside
        positions, in_hand = dict.fromkeys(numbers, 0), list[asyncio.Future[None]]()
        while reading := [number for number in numbers if positions[number] < 100]:
            fetches = []
            for number in rng.sample(reading, rng.randint(1, len(reading))):
                start = positions[number]
                positions[number] = min(100, start + rng.randint(1, 9))
                fetches.append(fetched(start, positions[number], number=number))
            acknowledged = await rig.pipeline.begin(*fetches)
            if acknowledged is not None:
                beside += any(not each.done() for each in in_hand)
                in_hand.append(asyncio.ensure_future(acknowledged))
        await asyncio.gather(*in_hand)

    async def commit() -> None:
        while set(committed.values()) != {100}:
            await rig.pipeline.flush()
            for number, (offset, _) in rig.pipeline.to_commit().items():
                assert set(range(APART * number, APART * number + offset)) <= arrived
                committed[number] = offset
                rig.pipeline.committed({number: offset})
            await settle(rng.randint(1, 30))

    work = asyncio.gather(read(), commit())
    while not work.done():
        answer_some()
        await settle(rng.randint(1, 10))
    await work
    return beside
