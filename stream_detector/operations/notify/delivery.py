"""Brings alarms to receivers: nothing is lost, nobody waits for another, and repeats are recognised.

Each receiver has a `Delivery` of its own with progress of its own in the log of alarms, so one that is dead or hangs
holds up nobody else. A delivery goes on to the next alarm only when the receiver has accepted this one, and its
progress is committed after that. Only what the receiver itself refuses for good is passed over.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from stream_detector.messages import Alarm, from_iso
from stream_detector.metrics import ForwarderMetrics
from stream_detector.operations.alarms.alarm_states import AlarmBook, Suppression
from stream_detector.operations.notify.notification import Notification, Writer
from stream_detector.operations.notify.receivers import DeliveryError, Receiver, RefusedError

log = logging.getLogger(__name__)


TOLD_AT_ONCE = 50
"""Alarms whose telling is begun with one commit: so many ids have room in its metadata."""


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """One record of the log; `alarm` is None where it is no alarm, `timestamp` is the broker's in epoch seconds."""

    alarm: Alarm | None
    timestamp: float
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Restored:
    """A delivery's memory from before its stop: the records before its progress, and of which alarms nobody was told.

    `in_doubt`: alarms that it was about to tell, or to take back: the receiver may have them or not. None where it is
    not known of which alarms that is so: it may be so of all that are in the log.
    """

    records: Sequence[AlarmRecord] = ()
    untold: Collection[str] = ()
    in_doubt: Collection[str] | None = ()


class AlarmLog(Protocol):
    """The log of alarms as one receiver reads it."""

    async def restore(self) -> Restored:
        """The recent past up to the committed progress; called once, first."""

    async def next(self) -> Sequence[AlarmRecord]:
        """The records that follow; empty after about half a second without any."""

    def accept(self, record: AlarmRecord) -> None:
        """This record, and all before it in its partition, need not be handed out again."""

    async def commit(self, untold: Collection[str], in_doubt: Collection[str]) -> None:
        """Keeps what was accepted, and of which alarms the receiver does not know, or may not (see `Restored`)."""

    async def pending(self) -> int:
        """Number of records that are not accepted yet."""

    @property
    def answered_at(self) -> float:
        """When the brokers last answered, by the monotonic clock: since then the log may hold more than is known."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits between attempts grow from the first to the longest, with random jitter; attempts never end.

    A receiver that refuses an alarm for good is asked `refusals` times before it is believed.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    jitter_seconds: float = 0.5
    refusals: int = 3

    def wait_seconds(self, attempt: int) -> float:
        """Before the attempt after number `attempt`, which counts from 1."""
        grown = self.first_seconds * 2.0 ** min(attempt - 1, 32)
        return min(self.longest_seconds, grown + random.uniform(0.0, self.jitter_seconds))


@dataclass(slots=True)
class _Up:
    alarm: Alarm
    since: float
    told: bool
    in_doubt: bool = False
    set_aside: bool = False
    refused: bool = False


class _Kept(NamedTuple):
    untold: frozenset[str] = frozenset()
    in_doubt: frozenset[str] = frozenset()


class Delivery:
    """Delivers the log of alarms to one receiver.

    Args:
        receiver: to whom.
        alarm_log: from where, with this receiver's own progress.
        book: says which assets are shelved or out of service; their alarms are not told while that lasts.
        writer: writes the texts.
        metrics: where attempts are counted.
        retry: how attempts follow each other.
        forget_after_seconds: an alarm up for longer (broker time) is no longer repeated: its detector is gone.
        clock: epoch seconds.
    """

    def __init__(
        self,
        receiver: Receiver,
        alarm_log: AlarmLog,
        book: AlarmBook,
        writer: Writer,
        metrics: ForwarderMetrics,
        retry: RetryPolicy = RetryPolicy(),
        forget_after_seconds: float = 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.receiver = receiver
        self._log = alarm_log
        self._book = book
        self._writer = writer
        self._metrics = metrics
        self._retry = retry
        self._forget_after_seconds = forget_after_seconds
        self._clock = clock
        self._up: dict[str, _Up] = {}
        self._over = _RecentIds(10_000)
        self._committed = _Kept()
        self._restored, self._restored_at = Restored(), 0.0
        self._next: set[str] = set()
        self._repeat_at = 0.0
        self._waiting_since: float | None = None

    @property
    def waiting_seconds(self) -> float:
        """Seconds that the oldest alarm not yet accepted has been in the log; 0 when there is none."""
        return 0.0 if self._waiting_since is None else max(0.0, self._clock() - self._waiting_since)

    async def pending(self) -> int:
        """Number of records of the log that this receiver has not accepted."""
        return await self._log.pending()

    @property
    def answered_at(self) -> float:
        """See `AlarmLog`."""
        return self._log.answered_at

    async def run(self) -> None:
        """Delivers until cancelled."""
        await self.restore()
        while True:
            await self.step()

    async def restore(self) -> None:
        """Learns what was up and told before; once, before the first `step`."""
        restored = await self._log.restore()
        self._restored, self._restored_at = restored, self._clock()
        self._committed = _Kept(frozenset(restored.untold), frozenset(restored.in_doubt or ()))
        for record in restored.records:
            if record.alarm is not None and not record.alarm.held_back:
                told = record.alarm.id not in restored.untold
                in_doubt = told and self._was_in_doubt(record)
                # One that was not told when the process ended may have been told before that, and taken back.
                set_aside = in_doubt or not told
                self._note(record.alarm, _Up(record.alarm, record.timestamp, told, in_doubt, set_aside))

    def _was_in_doubt(self, record: AlarmRecord) -> bool:
        if self._restored.in_doubt is None:
            return record.timestamp <= self._restored_at
        return record.alarm is not None and record.alarm.id in self._restored.in_doubt

    async def step(self) -> None:
        """One batch of the log, then what is due by itself: shelvings that began or ended, and reminders."""
        records = await self._log.next()
        for start in range(0, len(records), TOLD_AT_ONCE):
            await self._take_all(records[start : start + TOLD_AT_ONCE])
        try:
            await self._tell_changes()
        finally:
            await self._commit()
        await self._remind()

    async def _take_all(self, records: Sequence[AlarmRecord]) -> None:
        progress = False
        self._next = {record.alarm.id for record in records if record.alarm is not None and not record.alarm.held_back}
        await self._commit()
        try:
            for record in records:
                self._waiting_since = record.timestamp
                await self._take(record)
                self._log.accept(record)
                progress = True
                self._waiting_since = None
        finally:
            # Also when the process is told to stop in the middle of them: what was accepted stays accepted.
            await self._commit(progress)

    async def _commit(self, progress: bool = False) -> None:
        """Keeps what was accepted, untold and in doubt, where it changed.

        An alarm is in doubt before it is told or taken back. Who dies between that and the commit may start when the
        alarm is over, or its asset set aside or back, and must not go by what was so before.
        """
        in_doubt = frozenset(alarm_id for alarm_id, up in self._up.items() if up.in_doubt) | self._next
        untold = frozenset(i for i, up in self._up.items() if not up.told and not up.refused) - in_doubt
        kept = _Kept(untold, in_doubt)
        if progress or kept != self._committed:
            await self._log.commit(untold, in_doubt)
            self._committed = kept

    async def _take(self, record: AlarmRecord) -> None:
        alarm = record.alarm
        if alarm is None or alarm.held_back:
            return
        over = self._up.get(alarm.id) if alarm.state == "cleared" else None
        if over is not None and over.told:
            ended_at = record.timestamp if alarm.cleared_at is None else from_iso(alarm.cleared_at)
            await self._deliver([self._writer.write(over.alarm, "cleared", ended_at)])
        in_doubt = self._was_in_doubt(record)
        self._note(alarm, _Up(alarm, record.timestamp, told=in_doubt, in_doubt=in_doubt))
        await self._tell_changes()
        self._next.discard(alarm.id)

    def _note(self, alarm: Alarm, up: _Up) -> None:
        if alarm.state == "cleared":
            self._up.pop(alarm.id, None)
            self._over.add(alarm.id)
        elif alarm.id not in self._over:
            self._up.setdefault(alarm.id, up)

    async def _tell_changes(self) -> None:
        """Tells alarms that nobody heard of, and takes back those whose asset was set aside meanwhile."""
        for up in list(self._up.values()):
            suppression = self._suppression(up)
            if suppression is None and (up.in_doubt or not up.told) and not up.refused:
                # A receiver that drops repeats must not drop an alarm that comes back.
                again = f"{self._clock():.0f}" if up.set_aside else ""
                if up.alarm.id in self._committed.untold:
                    await self._doubt()
                up.told = await self._deliver([self._writer.write(up.alarm, "raised", again=again)])
                up.in_doubt, up.set_aside, up.refused = False, False, not up.told
            elif suppression is not None and up.told:
                await self._doubt()
                notification = self._writer.write(up.alarm, "suppressed", self._clock(), suppression.why)
                await self._deliver([notification])
                up.told, up.in_doubt, up.set_aside = False, False, True

    async def _doubt(self) -> None:
        """Keeps which of the accepted alarms are about to be told or taken back."""
        for alarm_id, up in self._up.items():
            known = up.told if self._suppression(up) is not None else alarm_id in self._committed.untold
            up.in_doubt = up.in_doubt or known
        await self._commit()

    def _suppression(self, up: _Up) -> Suppression | None:
        return self._book.suppression(up.alarm.asset, self._clock())

    async def _remind(self) -> None:
        repeat_seconds, now = self.receiver.repeat_seconds, self._clock()
        if repeat_seconds is None or now < self._repeat_at:
            return
        self._repeat_at = now + repeat_seconds
        for alarm_id in [i for i, up in self._up.items() if now - up.since > self._forget_after_seconds]:
            log.warning("alarm %s was never cleared; %s is no longer reminded of it", alarm_id, self.receiver.name)
            del self._up[alarm_id]
        told = [self._writer.write(up.alarm, "raised") for up in self._up.values() if up.told]
        if told:
            await self._deliver(told)

    async def _deliver(self, notifications: Sequence[Notification]) -> bool:
        """Returns when they are accepted, or refused for good; whether all were accepted."""
        attempt, refusals = 0, 0
        while True:
            attempt += 1
            try:
                await self.receiver.deliver(notifications)
            except DeliveryError as error:
                self._metrics.failed.labels(self.receiver.name).inc()
                refusals += isinstance(error, RefusedError)
                if refusals >= self._retry.refusals:
                    return await self._give_up(notifications, error)
                await self._wait_after(error, attempt)
            else:
                self._metrics.accepted.labels(self.receiver.name).inc(len(notifications))
                return True

    async def _wait_after(self, error: DeliveryError, attempt: int) -> None:
        wait_seconds = max(self._retry.wait_seconds(attempt), error.wait_seconds or 0.0)
        log.warning("%s does not accept (attempt %d): %s", self.receiver.name, attempt, error)
        await asyncio.sleep(wait_seconds)

    async def _give_up(self, notifications: Sequence[Notification], error: DeliveryError) -> bool:
        if len(notifications) > 1:
            # One of them may be at fault, and need not take the others along.
            return all([await self._deliver([notification]) for notification in notifications])
        [refused] = notifications
        self._metrics.refused.labels(self.receiver.name).inc()
        log.error("%s refuses alarm %s (%s), which is passed over: %s", self.receiver.name, refused.alarm.id,
                  refused.state, error)  # fmt: skip
        return False


class _RecentIds:
    """The last so many ids that were added."""

    def __init__(self, size: int) -> None:
        self._order: deque[str] = deque()
        self._known: set[str] = set()
        self._size = size

    def add(self, name: str) -> None:
        if name in self._known:
            return
        self._known.add(name)
        self._order.append(name)
        if len(self._order) > self._size:
            self._known.discard(self._order.popleft())

    def __contains__(self, name: str) -> bool:
        return name in self._known


def unanswered_seconds(deliveries: Iterable[Delivery]) -> float:
    """How long the brokers have not answered the one that has waited longest."""
    return max((time.monotonic() - delivery.answered_at for delivery in deliveries), default=0.0)


async def watch(deliveries: Iterable[Delivery], metrics: ForwarderMetrics, every_seconds: float = 2.0) -> None:
    """Keeps the gauges of what is pending true, also while a receiver hangs."""
    deliveries = list(deliveries)
    while True:
        metrics.oldest_pending.set(max((delivery.waiting_seconds for delivery in deliveries), default=0.0))
        metrics.pending.set(max([await delivery.pending() for delivery in deliveries], default=0))
        metrics.unanswered.set(unanswered_seconds(deliveries))
        await asyncio.sleep(every_seconds)
