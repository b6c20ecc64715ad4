"""A log of alarms in memory, and a receiver that can be out of order."""

from collections.abc import Collection

from stream_detector.messages import Alarm
from stream_detector.operations.notify.delivery import AlarmRecord, Restored
from stream_detector.operations.notify.notification import Notification
from stream_detector.operations.notify.receivers import DeliveryError, RefusedError


class MemoryAlarmLog:
    """What Kafka keeps: the records, how far they were accepted, and which alarms were not told or are in doubt."""

    def __init__(self, batch: int = 100) -> None:
        self.records: list[AlarmRecord] = []
        self.committed = 0
        self.untold: set[str] = set()
        self.in_doubt: set[str] = set()
        self._batch = batch
        self._position = 0
        self._accepted = 0

    def append(self, *alarms: Alarm | None, timestamp: float = 0.0) -> None:
        for alarm in alarms:
            self.records.append(AlarmRecord(alarm, timestamp, "alarms", 0, len(self.records)))

    async def restore(self) -> Restored:
        self._position = self._accepted = self.committed
        return Restored(self.records[: self.committed], set(self.untold), set(self.in_doubt))

    async def next(self) -> list[AlarmRecord]:
        found = self.records[self._position : self._position + self._batch]
        self._position += len(found)
        return found

    def accept(self, record: AlarmRecord) -> None:
        self._accepted = record.offset + 1

    async def commit(self, untold: Collection[str], in_doubt: Collection[str]) -> None:
        self.committed, self.untold, self.in_doubt = self._accepted, set(untold), set(in_doubt)

    answered_at = 0.0

    async def pending(self) -> int:
        return len(self.records) - self._accepted


class FakeReceiver:
    """Keeps what it is told; refuses the next `refusals` attempts, and the alarms in `never` for good."""

    def __init__(self, name: str = "fake", repeat_seconds: float | None = None) -> None:
        self.name, self.repeat_seconds = name, repeat_seconds
        self.got: list[Notification] = []
        self.refusals = 0
        self.never: set[str] = set()

    async def deliver(self, notifications: list[Notification]) -> None:
        if self.never & {notification.alarm.id for notification in notifications}:
            raise RefusedError("400: too long")
        if self.refusals:
            self.refusals -= 1
            raise DeliveryError("503")
        self.got += notifications

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(notification.alarm.id, notification.state) for notification in self.got]
