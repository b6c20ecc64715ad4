"""Parses the commonest record by far, a reading of a known sensor with known fields; any other record is left over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.notes import Notes

FEW_OTHERS, OTHERS_PART = 8, 8
"""Above this many other records, and above one in so many, a batch is not taken for plain readings."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Columns (N,) of records: the number of the record, the sensor's index, the value (NaN: missing); and how many of
    the records are rows."""

    record: NDArray[np.int64]
    sensor: NDArray[np.int64]
    value: NDArray[np.float64]
    rows: int = 0


class FastForm(Protocol):
    """Parses records of one form, each into an object with a `time`.

    Attributes:
        size: readings in a record.
    """

    size: int

    def parse(self, values: Sequence[bytes | None]) -> tuple[list[Any], list[int]] | None:
        """The records of the form, and the places of all others; None where those are many."""

    def cells(self, messages: list[Any], index: NDArray[np.int64], notes: Notes) -> Cells:
        """What is in the records; `index`: their places in the batch."""


class FastReadings:
    """Parses readings of the sensors of one bundle.

    Nothing but `sensor`, `time`, `value` and a good `quality` may be in them, so none of the columns of the other forms
    has to be asked for. The parser finds the sensor without making a text of it.
    """

    size = 1

    def __init__(self, sensors: Sequence[str]) -> None:
        fields: list[Any] = [
            ("sensor", Literal[tuple(sensors)]),
            ("time", str | float),
            ("value", float | None),
            ("quality", Literal["good"], "good"),
        ]
        record = msgspec.defstruct("PlainReading", fields, gc=False, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(record).decode
        self._sensor = {name: index for index, name in enumerate(sensors)}.__getitem__

    def parse(self, values: Sequence[bytes | None]) -> tuple[list[Any], list[int]] | None:
        """The plain readings, and the places of all other records; None where those are many."""
        return parse_most(self._decode, values)

    def cells(self, messages: list[Any], index: NDArray[np.int64], notes: Notes) -> Cells:  # noqa: ARG002
        """What is in the readings."""
        count = len(messages)
        sensor = np.fromiter(map(self._sensor, [message.sensor for message in messages]), np.int64, count)
        return Cells(np.arange(count), sensor, np.array([message.value for message in messages], np.float64))


def parse_most(decode: Callable[[Any], Any], values: Sequence[bytes | None]) -> tuple[list[Any], list[int]] | None:
    """What is decoded, and the places of all records that are not; None where those are many."""
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
            return messages, others
