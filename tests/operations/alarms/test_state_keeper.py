import asyncio

import pytest
from prometheus_client import CollectorRegistry

from stream_detector.metrics import ForwarderMetrics
from stream_detector.operations.alarms.alarm_health import AlarmHealth
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.alarms.state_keeper import StateInput, StateKeeper
from stream_detector.operations.notify.delivery import AlarmRecord
from stream_detector.operations.record_guard import RecordGuard
from tests.support.messages import MIDNIGHT, at_step, make_alarm, make_feedback


class MemoryStateLog:
    """Hands out `inputs` from the committed place on; keeps what is published. `broken`: publishing fails."""

    def __init__(self):
        self.inputs, self.published, self.committed, self.broken = [], [], 0, False

    async def restore(self):
        self.position = self.committed
        return list(self.published)

    async def next(self):
        found = self.inputs[self.position :]
        self.position = len(self.inputs)
        return found

    async def publish(self, changes):
        if self.broken:
            raise ConnectionError
        self.published += changes

    async def commit(self):
        self.committed = self.position


def start(log, now=MIDNIGHT):
    registry = CollectorRegistry()
    book = AlarmBook()
    keeper = StateKeeper(book, log, AlarmHealth(book), ForwarderMetrics(registry), RecordGuard(), lambda: now)
    asyncio.run(keeper.restore())
    return keeper, lambda name: registry.get_sample_value(f"stream_detector_forwarder_{name}")


def take(log, *messages):
    log.inputs += [StateInput(message, MIDNIGHT, AlarmRecord(None, MIDNIGHT, "t", 0, 0)) for message in messages]


def test_changes_are_published_before_the_progress_is_kept_and_repeated_after_a_crash():
    log = MemoryStateLog()
    take(log, make_alarm(1))
    log.broken = True
    keeper, _ = start(log)
    with pytest.raises(ConnectionError):
        asyncio.run(keeper.step())
    assert (log.published, log.committed) == ([], 0)
    log.broken = False
    keeper, _ = start(log)
    asyncio.run(keeper.step())
    assert ([change.state for change in log.published], log.committed) == (["unacknowledged"], 1)


def test_what_was_published_but_not_committed_is_not_published_again():
    log = MemoryStateLog()
    take(log, make_alarm(1), make_feedback("acknowledge", make_alarm(1).id, at=2))
    keeper, _ = start(log)
    asyncio.run(keeper.step())
    log.committed = 0
    keeper, _ = start(log)
    asyncio.run(keeper.step())
    assert [change.state for change in log.published] == ["unacknowledged", "acknowledged"]


def test_the_figures_are_shown_and_a_restart_brings_them_back():
    log = MemoryStateLog()
    shelve = make_feedback("shelve", asset="pm-2", until=at_step(99), reason="calibration")
    take(log, make_alarm(1), shelve)
    keeper, shown = start(log)
    asyncio.run(keeper.step())
    assert (shown("alarms_per_10_minutes"), shown("unacknowledged_alarms"), shown("shelved_alarms")) == (1, 1, 1)
    _, shown = start(log)
    assert (shown("unacknowledged_alarms"), shown("shelved_alarms")) == (1, 1)
