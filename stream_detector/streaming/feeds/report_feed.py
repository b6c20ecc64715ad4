"""Reads what a report is about: the ledger's topics, the alarms themselves, and the decisions of renewal."""

from stream_detector.messages import Alarm, RenewalDecision
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.record_guard import RecordGuard, read_message
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed
from stream_detector.streaming.readers.topic_reader import TopicRecord


class ReportFeed(LedgerFeed):
    """A ledger that keeps the newest form of each alarm, and what renewal decided."""

    def __init__(self, ledger: Ledger, settings: Settings, guard: RecordGuard | None = None) -> None:
        super().__init__(ledger, settings, guard)
        self._alarms: dict[str, Alarm] = {}
        self._decisions: dict[str, RenewalDecision] = {}

    @property
    def optional_topics(self) -> list[str]:
        return [*super().optional_topics, self.settings.topic_renewal]

    @property
    def alarms(self) -> list[Alarm]:
        """By the time they were raised."""
        return sorted(self._alarms.values(), key=lambda alarm: (alarm.raised_at, alarm.id))

    @property
    def decisions(self) -> list[RenewalDecision]:
        """By round."""
        return sorted(self._decisions.values(), key=lambda decision: decision.round)

    def _take(self, record: TopicRecord) -> str:
        if record.topic == self.settings.topic_renewal:
            decision = read_message(RenewalDecision, record.value or b"")
            self._decisions[decision.id] = decision
            return decision.alias
        return super()._take(record)

    def _take_alarm(self, alarm: Alarm) -> None:
        super()._take_alarm(alarm)
        self._alarms[alarm.id] = alarm
