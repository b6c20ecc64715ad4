"""What every reader of topics does with a record that it cannot use: it goes on, counts it, and names it once.

Anybody may write to a topic. A reader that ends at one bad record ends again at every start, for the record stays; and
the alarms behind it reach nobody.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar

from pydantic import ValidationError

from stream_detector.errors import in_words
from stream_detector.messages import EARLIEST, LATEST, Feedback, Message, from_iso

log = logging.getLogger(__name__)

Reason = Literal["malformed", "no-asset", "future", "fault"]
"""`malformed`: no message of its topic. `no-asset`: neither a key nor a field says whose it is. `future`: it claims to
have been said after the broker took it. `fault`: it is well-formed, and our code fails on it all the same."""

FUTURE_SECONDS = 3_600.0
"""So far may the clock of whoever says something be ahead of the broker's."""

MOST_NAMED = 20
NAMED_SECONDS = 60.0
REMEMBERED_PLACES = 10_000
DETAIL_CHARACTERS = 200

AnyMessage = TypeVar("AnyMessage", bound=Message)


class Place(Protocol):
    """Where a record lies in the log."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class UnusableError(ValueError):
    """A record that is no message of its topic, or cannot be meant for us."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


class RecordGuard:
    """Shared by all readers of one process, so that a record is counted and named once however many of them meet it.

    Args:
        count: called with topic and reason for every record that is skipped for the first time.
        say: takes the line that names a record; the log as a rule, a terminal in a command.
        clock: seconds that only grow; names in the log are limited by it.

    Attributes:
        skipped: how often a record was skipped, repeats included.
    """

    def __init__(
        self,
        count: Callable[[str, Reason], object] = lambda _topic, _reason: None,
        say: Callable[[str], object] = log.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.skipped = 0
        self._count = count
        self._say = say
        self._clock = clock
        self._places: dict[tuple[str, int, int], None] = {}
        self._named: deque[float] = deque()
        self._silent = False

    @contextmanager
    def skipping(self, place: Place) -> Iterator[None]:
        """Whatever fails inside is the fault of the record at `place`: it is skipped."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one record must not stop those behind it
            self._skip(place, error)

    def _skip(self, place: Place, error: Exception) -> None:
        self.skipped += 1
        where = (place.topic, place.partition, place.offset)
        if where in self._places:
            return
        self._places[where] = None
        if len(self._places) > REMEMBERED_PLACES:
            del self._places[next(iter(self._places))]
        reason = reason_of(error)
        self._count(place.topic, reason)
        if self._may_name():
            topic, partition, offset = where
            self._say(f"{topic}/{partition}@{offset} is skipped ({reason}): {in_a_line(error)}")
            if reason == "fault":
                log.error("a well-formed record of %s could not be handled", topic, exc_info=error)

    def _may_name(self) -> bool:
        now = self._clock()
        while self._named and now - self._named[0] >= NAMED_SECONDS:
            self._named.popleft()
        if len(self._named) < MOST_NAMED:
            self._named.append(now)
            self._silent = False
            return True
        if not self._silent:
            self._say(f"{MOST_NAMED} records were skipped within a minute; more of them are counted and not named")
            self._silent = True
        return False


def read_message(model: type[AnyMessage], value: bytes | None, timestamp_ms: int = -1) -> AnyMessage:
    """The message in a record's value. `timestamp_ms`: the broker's, -1 = not known.

    Raises:
        ValueError: it is no such message, or feedback that claims to come from the future: no later answer could undo
            it.
    """
    message = model.model_validate_json(b"" if value is None else value)
    if isinstance(message, Feedback) and timestamp_ms > 0:
        ahead = from_iso(message.at) - timestamp_ms / 1000.0
        if ahead > FUTURE_SECONDS:
            raise UnusableError("future", f"it was said {ahead:.0f} s after the broker took it, at {message.at}")
    return message


def asset_of(named: str | None, key: bytes | str | None) -> str:
    """Whose message it is: the field `asset` goes before the key.

    Raises:
        UnusableError: neither says.
    """
    try:
        asset = named or (key.decode() if isinstance(key, bytes) else key)
    except UnicodeDecodeError:
        raise UnusableError("no-asset", f"its key {key!r} is no text") from None
    if not asset:
        raise UnusableError("no-asset", "it has neither a key nor a field `asset`")
    return asset


def broker_seconds(timestamp_ms: int, now: float) -> float:
    """A record's timestamp as epoch seconds; `now` where the producer wrote one that is no time."""
    seconds = timestamp_ms / 1000.0
    return seconds if EARLIEST <= seconds < LATEST else now


def reason_of(error: Exception) -> Reason:
    """One of the few reasons that the metric knows."""
    if isinstance(error, UnusableError):
        return error.reason
    return "malformed" if isinstance(error, ValueError) else "fault"


def in_a_line(error: Exception) -> str:
    """What is wrong, short and without the control characters that a record may hold."""
    text = str(error)
    if isinstance(error, ValidationError):
        first: Any = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        text = f"{field}: {in_words(first)}" if field else in_words(first)
    shown = "".join(letter if letter.isprintable() else " " for letter in text or type(error).__name__)
    return shown[:DETAIL_CHARACTERS]
