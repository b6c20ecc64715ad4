"""Brings messages of another broker to Kafka, and says of each when Kafka has it.

What Kafka refuses because of the message itself becomes a dead letter with the reason. What it refuses otherwise (a
topic that is gone, a right that is missing) waits and is tried again; meanwhile nothing more is taken.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from stream_detector.engine.dead_letters import letter_of
from stream_detector.errors import BrokerError
from stream_detector.messages import to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.dead_letter_rate import DeadLetterRate
from stream_detector.streaming.sources.placing import Placed

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
AGAIN_SECONDS = 2.0
UNANSWERED_SECONDS = 20.0
"""Where nothing that is on its way is acknowledged for so long, Kafka is not there."""
NOWHERE = -1
"""Partition and offset of what came from elsewhere than Kafka."""

REFUSED, UNREADABLE = "refused", "unreadable"
"""Reasons of dead letters: Kafka does not take the record; what came cannot be understood."""

OF_THE_MESSAGE = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.RECORD_LIST_TOO_LARGE,
}
"""Refusals that another try would only repeat."""


class RecordProducer(Protocol):
    """The part of confluent_kafka's producer that is used."""

    def produce(
        self, topic: str, value: bytes | None, *, key: bytes | None, on_delivery: Callable[[Any, Any], None]
    ) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def flush(self, timeout: float) -> int: ...


@dataclass(eq=False, slots=True)
class Parcel:
    """A message of the other broker, on its way in one or several records.

    Attributes:
        source: where it came from, for its dead letters, such as `mqtt:plant/pm-1/x7`.
        content: as it came.
        arrived: called when Kafka has all of it.
        missing: how many of its records Kafka has not acknowledged yet.
    """

    source: str
    content: bytes
    arrived: Callable[[], None]
    missing: int = 0


@dataclass(frozen=True, slots=True)
class _Record:
    parcel: Parcel
    topic: str
    key: bytes | None
    value: bytes | None


class Trouble:
    """What the client of Kafka said last that is wrong, while nothing is acknowledged; it tries again by itself."""

    def __init__(self) -> None:
        self.text = ""

    def heard(self, error: KafkaError) -> None:
        # "All brokers are down" follows from what was said of one, and names no cause.
        if error.name() != "_ALL_BROKERS_DOWN":
            self.text = error.str()


class Carrier:
    """Carries parcels. `take` is called by the thread that receives them, everything else by the main thread.

    Attributes:
        carried: parcels of which Kafka has everything.
        on_dead_letter: is told the reason of each.
        dead_letters: records, or parcels, that became one.
    """

    def __init__(
        self,
        settings: Settings,
        producer: RecordProducer,
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        trouble: Trouble | None = None,
    ) -> None:
        self.carried = 0
        self.dead_letters = 0
        self.on_dead_letter: Callable[[str], object] = lambda _reason: None
        self._settings = settings
        self._producer = producer
        self._clock = clock
        self._pause = pause
        self._trouble = trouble or Trouble()
        self._rate = DeadLetterRate(settings.dead_letters_per_second)
        self._again: deque[_Record] = deque()
        self._again_at = 0.0
        self._held = False
        self._unanswered = 0
        self._answered_at = 0.0
        self._said = False
        self._counting = threading.Lock()
        self._ending = threading.Event()

    @property
    def why_waiting(self) -> str | None:
        """Why Kafka has none of what comes now, in words; None while it takes all."""
        if self._held:
            return "a topic of Kafka takes nothing"
        with self._counting:
            seconds = self._clock() - self._answered_at
            if self._unanswered and seconds > UNANSWERED_SECONDS:
                why = self._trouble.text
                return f"Kafka has acknowledged nothing for {seconds:.0f} s{': ' * bool(why)}{why}"
        return None

    def take(self, parcel: Parcel, placed: Sequence[Placed], unreadable: str = "") -> None:
        """Send the records of a parcel, and a dead letter where some of it cannot be understood, and why.

        Returns when they are on their way; while Kafka takes nothing it returns only after `end`.
        """
        topic = self._settings.topic_readings
        records = [_Record(parcel, topic, key, value) for key, value in placed]
        if unreadable and (letter := self._letter(parcel, None, UNREADABLE, unreadable)) is not None:
            records.append(letter)
        parcel.missing = len(records)
        if not records:
            self._arrived(parcel)
        for record in records:
            self._send(record)

    def poll(self, seconds: float = POLL_SECONDS) -> None:
        """Hear what Kafka has acknowledged, and try again what is due.

        Raises:
            BrokerError: the client cannot go on.
        """
        self._producer.poll(seconds)
        self._tell()
        if self._clock() < self._again_at:
            return
        for _ in range(len(self._again)):
            record = self._again.popleft()
            if not self._produce(record):
                self._again.appendleft(record)
                return

    def end(self, seconds: float) -> None:
        """Take nothing more, and wait so long for what is on its way."""
        self._ending.set()
        self._producer.flush(seconds)

    def _send(self, record: _Record) -> None:
        while not self._ending.is_set():
            # Not reading on is what tells the other broker to wait.
            if not self._held and not self._again and self._produce(record):
                return
            self._pause(POLL_SECONDS)

    def _produce(self, record: _Record) -> bool:
        """Whether the client took it over: to send it, to give it up, or to try again."""
        try:
            done = partial(self._delivered, record)
            self._count(1)
            self._producer.produce(record.topic, record.value, key=record.key, on_delivery=done)
        except BufferError:
            self._count(-1)
            return False
        except KafkaException as error:
            self._count(-1)
            self._refused(record, error.args[0])
        return True

    def _count(self, change: int) -> None:
        """One record more is on its way, or one less."""
        with self._counting:
            if not self._unanswered:
                self._answered_at = self._clock()
            self._unanswered += change

    def _tell(self) -> None:
        why = None if self._held else self.why_waiting
        if why is not None and not self._said:
            log.warning("%s; it is tried on", why)
        self._said = why is not None

    def _delivered(self, record: _Record, error: Any, _message: Any) -> None:
        self._count(-1)
        self._answered_at = self._clock()
        if error is not None:
            self._refused(record, error)
            return
        self._held, self._trouble.text = False, ""
        self._done(record.parcel)

    def _done(self, parcel: Parcel) -> None:
        with self._counting:
            parcel.missing -= 1
            whole = not parcel.missing
        if whole:
            self._arrived(parcel)

    def _arrived(self, parcel: Parcel) -> None:
        self.carried += 1
        parcel.arrived()

    def _refused(self, record: _Record, error: Any) -> None:
        if error.fatal():
            raise BrokerError(f"Kafka's client cannot go on: {error.str()}; start the bridge again")
        if error.code() in OF_THE_MESSAGE and record.topic == self._settings.topic_readings:
            size = len(record.value or b"")
            log.warning("Kafka refuses a record of %s (%d bytes): %s", record.parcel.source, size, error.str())
            letter = self._letter(record.parcel, record.key, REFUSED, f"{size} bytes: {error.str()}")
            if letter is None:
                self._done(record.parcel)
                return
            self._again.append(letter)
            return
        log.warning("topic %s takes nothing: %s; it is tried again, and nothing is read on", record.topic, error.str())
        self._held = True
        self._again.append(record)
        self._again_at = self._clock() + AGAIN_SECONDS

    def _letter(self, parcel: Parcel, key: bytes | None, reason: str, detail: str) -> _Record | None:
        """A dead letter; None where there are too many of them already."""
        self.dead_letters += 1
        self.on_dead_letter(reason)
        if not self._rate.admits():
            log.warning("more dead letters than dead_letters_per_second allows; some messages are only counted")
            return None
        now_ms = round(self._clock() * 1000)
        letter = letter_of(parcel.source, NOWHERE, NOWHERE, key, parcel.content, now_ms, reason, detail)
        return _Record(parcel, self._settings.topic_dead_letters, key, to_bytes(letter))
