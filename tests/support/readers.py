"""Every reader of the topics of alarms, states, feedback and events at once, with all that is made of what it reads."""

import asyncio
import io
from collections.abc import Iterable
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from prometheus_client import CollectorRegistry
from rich.console import Console

from stream_detector.messages import Alarm, AlarmStateChange, Feedback
from stream_detector.metrics import ForwarderMetrics, LedgerMetrics
from stream_detector.operations.alarms.alarm_health import AlarmHealth
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.alarms.state_keeper import StateKeeper, StatesSoFar
from stream_detector.operations.console.history import History
from stream_detector.operations.console.server import _default
from stream_detector.operations.console.views import WorkerView
from stream_detector.operations.ledger.gauges import LedgerGauges
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report
from stream_detector.operations.notify.alarm_text import alarm_line
from stream_detector.operations.notify.delivery import Delivery, RetryPolicy
from stream_detector.operations.notify.notification import Writer
from stream_detector.operations.notify.receivers import to_alert
from stream_detector.operations.record_guard import Reason, RecordGuard, read_message
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.alarm_logs import KafkaAlarmLog, KafkaStateLog
from stream_detector.streaming.feeds.console_feed import ConsoleFeed
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed
from stream_detector.streaming.feeds.topic_history import HistoryCollector
from stream_detector.streaming.readers.topic_reader import TopicRecord
from tests.support.alarm_logs import FakeReceiver

NOW = 1_790_000_000.0


def strict_guard() -> RecordGuard:
    """Passes over what is no message, but not over a message that our own code fails on."""

    def count(_topic: str, reason: Reason) -> None:
        assert reason != "fault"

    return RecordGuard(count)


class LogRecord:
    """A record as aiokafka gives it, which our own `TopicRecord` is not."""

    def __init__(self, topic: str, offset: int, value: bytes | None, timestamp: int) -> None:
        self.topic, self.partition, self.offset = topic, 0, offset
        self.key, self.value, self.timestamp = b"pm-1", value, timestamp


class CommittedLogInMemory:
    """What `CommittedLog` does, for records in a list."""

    def __init__(self, records: Iterable[LogRecord]) -> None:
        self.records, self.metadata, self.position = list(records), dict[Any, str](), 0

    async def next(self) -> list[LogRecord]:
        found, self.position = self.records[self.position :], len(self.records)
        return found

    async def before(self, _seconds: float) -> list[LogRecord]:
        return []

    def done(self, _topic: str, _partition: int, _offset: int) -> None: ...

    async def commit(self, metadata: str = "") -> None: ...

    async def pending(self) -> int:
        return 0

    answered_at = 0.0


class _StateLog(KafkaStateLog):
    published: list[Any]

    async def restore(self) -> StatesSoFar:
        return StatesSoFar([])

    async def publish(self, changes: Any) -> None:
        self.published += changes


def read_everywhere(values: Iterable[tuple[str, bytes | None]], timestamp_ms: int = -1) -> list[tuple[str, str]]:
    """Takes (kind, value) records, kind one of alarms, feedback, events, alarm_states, readings, through every reader
    and makes everything of them that the product makes. Returns what a receiver was told: (alarm id, state).

    Raises whatever stops a reader.
    """
    settings = Settings()
    topics = {kind: getattr(settings, f"topic_{kind}") for kind in ("alarms", "feedback", "events", "readings")}
    topics["alarm_states"] = settings.topic_alarm_states
    given = [(topics[kind], value) for kind, value in values]
    ours = [TopicRecord(topic, 0, at, timestamp_ms, b"pm-1", value) for at, (topic, value) in enumerate(given)]
    theirs = [LogRecord(topic, at, value, timestamp_ms) for at, (topic, value) in enumerate(given)]
    in_ledger = [record for record in ours if record.topic not in (topics["readings"], topics["alarm_states"])]

    _ledger(settings, in_ledger)
    _console(settings, in_ledger)
    collector = HistoryCollector(settings)
    collector._guard = strict_guard()
    collector.take(record for record in ours if record.topic != topics["alarm_states"])
    for asset in collector._cells:
        collector.history(asset)
    alarms = [record for record in theirs if record.topic == topics["alarms"]]
    _terminal(alarms)
    return asyncio.run(_forwarder(settings, theirs, alarms, topics))


def _ledger(settings: Settings, records: list[TopicRecord]) -> None:
    feed = LedgerFeed(Ledger(), settings, strict_guard())
    gauges = LedgerGauges(feed.ledger, LedgerMetrics(CollectorRegistry()))
    gauges.update(feed.take(records))
    orjson.dumps(report(feed.ledger).to_json())
    feed.ledger.forget_before(NOW)


def _console(settings: Settings, records: list[TopicRecord]) -> None:
    worker = WorkerView("w", "0", NOW, "b", "r", True)

    async def send(_feedback: Feedback) -> None: ...

    feed = ConsoleFeed.__new__(ConsoleFeed)
    feed._settings, feed._guard = settings, strict_guard()
    feed.history = History(lambda: worker, send, lambda: NOW)
    feed.take(records)
    shown = {"alarms": feed.history.alarms(), "ledger": feed.history.ledger(), "assets": feed.history.assets()}
    orjson.dumps(shown, default=_default)


def _terminal(records: list[LogRecord]) -> None:
    guard, console = strict_guard(), Console(file=io.StringIO())
    for record in records:
        if record.value is not None:
            with guard.skipping(record):
                console.print(alarm_line(read_message(Alarm, record.value)))


async def _forwarder(
    settings: Settings, records: list[LogRecord], alarms: list[LogRecord], topics: dict[str, str]
) -> list[tuple[str, str]]:
    registry = CollectorRegistry()
    metrics, guard, book = ForwarderMetrics(registry), strict_guard(), AlarmBook()
    spoken = [record for record in records if record.topic in (topics["alarms"], topics["feedback"])]
    log = _StateLog(CommittedLogInMemory(spoken), settings, None, guard)
    log.published = []
    keeper = StateKeeper(book, log, AlarmHealth(book), metrics, guard, lambda: NOW)
    await keeper.restore()
    await keeper.step()
    again = AlarmBook()
    again.restore(log.published)
    states = (record for record in records if record.topic == topics["alarm_states"])
    restored = AlarmBook()
    restored.restore(change for record in states for change in _changes(record, guard))
    restored.tick(NOW)
    receiver = FakeReceiver(repeat_seconds=60.0)
    alarm_log = KafkaAlarmLog(CommittedLogInMemory(alarms), topics["alarms"], 60.0, guard)
    delivery = Delivery(receiver, alarm_log, AlarmBook(), _writer(), metrics, RetryPolicy(0, 0, 0), 1e18, lambda: NOW)
    await delivery.restore()
    await delivery.step()
    for notification in receiver.got:
        orjson.dumps(to_alert(notification, NOW))
    return list(dict.fromkeys(receiver.told))


@cache
def _writer() -> Writer:
    return Writer("ko", ZoneInfo("Asia/Seoul"))


def _changes(record: LogRecord, guard: RecordGuard) -> list[AlarmStateChange]:
    with guard.skipping(record):
        return [read_message(AlarmStateChange, record.value)]
    return []
