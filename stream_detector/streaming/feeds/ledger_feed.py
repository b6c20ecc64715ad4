"""Feeds a ledger from the topics of alarms, events and feedback."""

import asyncio
import math
import time
from collections.abc import Iterable

from stream_detector.messages import Alarm, Feedback, LoggedEvent, OperatingChange
from stream_detector.operations.ledger.challenger import Challengers
from stream_detector.operations.ledger.gauges import LedgerGauges
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.scope import read_scope
from stream_detector.operations.record_guard import RecordGuard, asset_of, read_message
from stream_detector.settings import Settings
from stream_detector.streaming.readers.topic_reader import TopicReader, TopicRecord

SECONDS_PER_DAY = 86_400.0
FORGET_EVERY_SECONDS = 3_600.0


class LedgerFeed:
    """Puts records into a ledger. `guard`: what becomes of a record that is no message of ours.

    Attributes:
        judges_standing: events count whether the machine ran or not.
    """

    def __init__(self, ledger: Ledger, settings: Settings, guard: RecordGuard | None = None) -> None:
        self.ledger = ledger
        self.challengers = Challengers(ledger)
        self.guard = guard or RecordGuard()
        self.settings = settings
        self.judges_standing = False

    @property
    def topics(self) -> list[str]:
        """The topics that the ledger reads."""
        return [self.settings.topic_alarms, self.settings.topic_events, self.settings.topic_feedback]

    @property
    def optional_topics(self) -> list[str]:
        """Those that it reads where they are there."""
        return [self.settings.topic_challenger_alarms, self.settings.topic_operating]

    def take(self, records: Iterable[TopicRecord]) -> set[str]:
        """Enters records; returns the assets that they spoke of."""
        touched = set()
        for record in records:
            if record.value is None:
                continue
            with self.guard.skipping(record):
                touched.add(self._take(record))
        return touched

    def _take(self, record: TopicRecord) -> str:
        if record.topic == self.settings.topic_alarms:
            alarm = read_message(Alarm, record.value)
            self._take_alarm(alarm)
            return alarm.asset
        if record.topic == self.settings.topic_challenger_alarms:
            alarm = read_message(Alarm, record.value)
            self.challengers.add_alarm(alarm, read_scope(record.headers))
            return alarm.asset
        if record.topic == self.settings.topic_operating:
            change = read_message(OperatingChange, record.value)
            if not self.judges_standing:
                self.ledger.add_operating(change)
                self.challengers.forget_account(change.asset)
            return change.asset
        if record.topic == self.settings.topic_feedback:
            feedback = read_message(Feedback, record.value, record.timestamp_ms)
            self.ledger.add_feedback(feedback)
            return feedback.asset
        event = read_message(LoggedEvent, record.value)
        asset = asset_of(event.asset, record.key)
        self.ledger.add_event(asset, event)
        self.challengers.add_event(asset, event)
        return asset

    def _take_alarm(self, alarm: Alarm) -> None:
        self.ledger.add_alarm(alarm)


async def read_ledger(feed: LedgerFeed) -> list[str]:
    """Reads the topics from beginning to end; returns the names of those that do not exist.

    Raises:
        BrokerError: the brokers cannot be reached.
    """
    async with TopicReader(feed.settings, feed.topics, optional=feed.optional_topics) as reader:
        async for records in reader.to_end():
            feed.take(records)
        return reader.missing


async def follow_ledger(feed: LedgerFeed, gauges: LedgerGauges, days: float = math.inf) -> None:
    """Reads the topics and goes on for ever; the gauges follow.

    What came more than `days` ago is not read, and alarms and events `days` older (event time) than the newest are
    forgotten, so that the process starts quickly and does not grow.
    """
    since = time.time() - days * SECONDS_PER_DAY if math.isfinite(days) else None
    async with TopicReader(feed.settings, feed.topics, since, optional=[feed.settings.topic_operating]) as reader:
        async for records in reader.to_end():
            feed.take(records)
        # In a thread: a year of alarms takes a good part of a second, and an alarm on its way must not wait for that.
        await asyncio.to_thread(gauges.update, set(feed.ledger.assets))
        forget_at = 0.0
        async for records in reader.follow():
            if records:
                await asyncio.to_thread(gauges.update, feed.take(records))
            if time.time() > forget_at and math.isfinite(days):
                forget_at = time.time() + FORGET_EVERY_SECONDS
                # A replay of old data is as good as now; an event in the far future is not.
                newest = min(feed.ledger.newest, time.time())
                feed.ledger.forget_before(newest - days * SECONDS_PER_DAY)
                feed.challengers.forget_before(newest - days * SECONDS_PER_DAY)
