"""Parses the commonest record by far, a reading of a known sensor with known fields; any other record is left over."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.columns import floats
from stream_detector.decoding.decoded import READING
from stream_detector.decoding.fast_forms import parse_most
from stream_detector.decoding.notes import Notes
from stream_detector.detection.grid.contents import Cells


class FastReadings:
    """Parses readings of the sensors of one bundle.

    Nothing but `sensor`, `time`, `value` and a good `quality` may be in them, so none of the columns of the other forms
    has to be asked for. The parser finds the sensor without making a text of it.
    """

    kind = READING
    has_unknown = False

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

    def size_of(self, message: Any) -> int:  # noqa: ARG002 - any of them
        return 1

    def seconds_of(self, message: Any) -> float:  # noqa: ARG002 - any of them
        return 0.0

    def contents(
        self, messages: list[Any], times: NDArray[np.float64], index: NDArray[np.int64], notes: Notes  # noqa: ARG002
    ) -> Cells:  # fmt: skip
        """What is in the readings."""
        count = len(messages)
        sensor = np.fromiter(map(self._sensor, [message.sensor for message in messages]), np.int64, count)
        return Cells(np.arange(count), sensor, times, floats([message.value for message in messages]))
