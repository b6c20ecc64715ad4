"""Parts of the forwarder's side of Kafka that need no broker."""

import asyncio
import doctest
import json
from collections.abc import Collection
from types import ModuleType

import pytest

from stream_detector import time_options as moment
from stream_detector.errors import StalledError
from stream_detector.messages import AlarmStateChange, to_bytes
from stream_detector.operations.ledger import ledger
from stream_detector.operations.notify import notification, receivers
from stream_detector.operations.notify.delivery import Restored
from stream_detector.operations.record_guard import RecordGuard
from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.feeds import forwarder_process
from stream_detector.streaming.feeds.alarm_logs import EVERY_ALARM, OF_ASSET, KafkaAlarmLog
from stream_detector.streaming.readers import committed_log
from tests.support.messages import make_alarm


@pytest.mark.parametrize("module", [forwarder_process, moment, notification, ledger, receivers])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_two_webhooks_of_one_host_keep_progress_of_their_own() -> None:
    names = {forwarder_process._name("webhook", f"https://hooks.example/{path}") for path in ("a", "b", "a?x=1", "")}
    assert len(names) == 4
    assert not any("/a" in name for name in names)


class FakeCommittedLog:
    def __init__(self, records: "list[FakeRecord]") -> None:
        self.metadata: dict[TopicPartition, str] = {}
        self.committed, self._records = "", records

    async def before(self, seconds: float) -> "list[FakeRecord]":
        return self._records

    async def commit(self, metadata: str = "") -> None:
        self.metadata = {TopicPartition("alarms", 0): metadata}


class FakeRecord:
    topic, partition, timestamp = "alarms", 0, 1_000

    def __init__(self, offset: int, value: bytes) -> None:
        self.offset, self.value = offset, value


async def round_trip(untold: set[str], in_doubt: Collection[str] = ()) -> tuple[str, Restored]:
    records = [FakeRecord(step, to_bytes(make_alarm(step))) for step in range(5)]
    log = KafkaAlarmLog(FakeCommittedLog(records), "alarms", 60.0, RecordGuard())
    await log.commit(untold, in_doubt)
    return log._committed.metadata[TopicPartition("alarms", 0)], await log.restore()


def test_alarms_held_back_travel_in_the_commit_and_too_many_stand_for_all() -> None:
    few = {make_alarm(1).id, make_alarm(3).id}
    metadata, restored = asyncio.run(round_trip(few))
    assert (metadata, restored.untold) == (json.dumps(sorted(few), separators=(",", ":")), few)
    many = {f"{number:024d}" for number in range(1_000)}
    metadata, restored = asyncio.run(round_trip(many))
    assert metadata == EVERY_ALARM
    assert restored.in_doubt is None
    metadata, restored = asyncio.run(round_trip(set()))
    assert (metadata, restored.untold) == ("", set())
    _, restored = asyncio.run(round_trip(few, {"a"}))
    assert (restored.untold, restored.in_doubt) == (few, {"a"})


def test_changes_of_an_asset_are_told_from_those_of_an_alarm_by_their_bytes() -> None:
    fields = {
        "asset": "pm-1",
        "state": "shelved",
        "previous": "normal",
        "at": "2026-05-01T00:00:00Z",
        "who": "w",
        "why": "w",
    }
    assert OF_ASSET in to_bytes(AlarmStateChange(alarm=None, **fields))
    assert OF_ASSET not in to_bytes(AlarmStateChange(alarm="a1", **fields))


def test_a_record_that_is_no_alarm_is_passed_over_with_its_place() -> None:
    guard = RecordGuard()
    log = KafkaAlarmLog(FakeCommittedLog([FakeRecord(7, b"junk")]), "alarms", 60.0, guard)
    [record] = asyncio.run(log.restore()).records
    assert (record.alarm, record.offset, record.timestamp, guard.skipped) == (None, 7, 1.0, 1)


def test_a_part_that_the_kafka_client_breaks_off_ends_the_forwarder_and_not_in_silence() -> None:
    async def broken_off() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(StalledError, match="the delivery to x was broken off"):
        asyncio.run(forwarder_process._for_ever("the delivery to x", broken_off()))

    async def stopped() -> bool:
        task = asyncio.create_task(forwarder_process._for_ever("x", asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(stopped())


def test_a_call_that_the_kafka_client_breaks_off_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committed_log, "RETRY_SECONDS", 0.0)
    outcomes = [asyncio.CancelledError(), TimeoutError(), None]

    async def commit() -> str:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return "done"

    assert asyncio.run(committed_log.until_it_works(commit, "commit")) == "done"
