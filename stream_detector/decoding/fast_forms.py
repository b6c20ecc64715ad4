"""What the parsers of one form of record share: each parses the records of its form, any other record is left over."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.decoding.notes import Notes
from stream_detector.detection.grid.contents import Contents

FEW_OTHERS, OTHERS_PART = 8, 8
"""Above this many other records, and above one in so many, a batch is not taken for records of one form."""


class FastForm(Protocol):
    """Parses records of one form, each into an object with a `time`. Never changes: a batch is read to its end by the
    form that parsed it, whatever is found beside.

    Attributes:
        kind: of its records, one of `decoded.READING`, `ROW` and `BLOCK`.
        has_unknown: they hold names that the bundle does not know.
    """

    kind: str
    has_unknown: bool

    def parse(self, values: Sequence[bytes | None]) -> tuple[list[Any], list[int]] | None:
        """The records of the form, and the places of all others; None where those are many."""

    def size_of(self, message: Any) -> int:
        """How many readings a record has."""

    def seconds_of(self, message: Any) -> float:
        """How long it goes on from its time."""

    def contents(
        self, messages: list[Any], times: NDArray[np.float64], index: NDArray[np.int64], notes: Notes
    ) -> Contents:
        """What the records hold. `times`: their own (R,), epoch seconds; `index`: (R,) their places in the batch."""


class Parsed(Struct, frozen=True):
    """Records of which nearly all have one form. `odd`: places of the others; `messages`: all but these, parsed."""

    form: FastForm
    messages: list[Any]
    odd: list[int]

    @property
    def is_plain(self) -> bool:
        """Whether all have the form, and nothing that the bundle does not know."""
        return not (self.odd or self.form.has_unknown)

    def part(self, begin: int, end: int) -> "Parsed | None":
        """The records [begin, end) of them; None where none of these has the form."""
        first, last = bisect_left(self.odd, begin), bisect_left(self.odd, end)
        messages = self.messages[begin - first : end - last]
        return Parsed(self.form, messages, [at - begin for at in self.odd[first:last]]) if messages else None


class PlainRecords(Struct, frozen=True):
    """R records of one form, all good. `kind`: as of the form; `last_time`: (R,) of their readings, epoch seconds."""

    kind: str
    last_time: NDArray[np.float64]
    contents: Contents


def parse_most(decode: Callable[[Any], Any], values: Sequence[bytes | None]) -> tuple[list[Any], list[int]] | None:
    """What is decoded, and the places of all records that are not; None where those are many, or all."""
    messages: list[Any] = []
    others: list[int] = []
    waiting = iter(values)
    while True:
        try:
            # What was parsed before an error stays in the list, and the iterator goes on behind it.
            messages.extend(map(decode, waiting))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
            others.append(len(messages) + len(others))
            if len(others) > FEW_OTHERS and len(others) * OTHERS_PART > len(messages):
                return None
        else:
            return (messages, others) if messages else None
