"""Parses blocks of samples of a known sensor; any other record is left over."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.columns import put_floats
from stream_detector.decoding.decoded import BLOCK
from stream_detector.decoding.event_times import EARLIEST, LATEST
from stream_detector.decoding.fast_forms import parse_most
from stream_detector.decoding.notes import Notes
from stream_detector.decoding.record_formats import snapped
from stream_detector.detection.grid.contents import Blocks


class FastBlocks:
    """Parses blocks of the sensors of one bundle, with nothing but `sensor`, `time`, `step_seconds` and `values`."""

    kind = BLOCK
    has_unknown = False

    def __init__(self, sensors: Sequence[str], block_step_seconds: float | None) -> None:
        """block_step_seconds: as for the decoder."""
        fields: list[Any] = [
            ("sensor", Literal[tuple(sensors)]),
            ("time", str | float),
            # With longer ones a block surely ends after the last year, and their sum may be no float.
            ("step_seconds", Annotated[float, msgspec.Meta(gt=0, le=LATEST - EARLIEST)]),
            ("values", Annotated[list[float | None], msgspec.Meta(min_length=1)]),
        ]
        record = msgspec.defstruct("PlainBlock", fields, gc=False, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(record).decode
        self._sensor = {name: index for index, name in enumerate(sensors)}
        self._block_step_seconds = block_step_seconds

    def parse(self, values: Sequence[bytes | None]) -> tuple[list[Any], list[int]] | None:
        """The plain blocks, and the places of all other records; None where those are many."""
        return parse_most(self._decode, values)

    def size_of(self, message: Any) -> int:
        return len(message.values)

    def seconds_of(self, message: Any) -> float:
        return snapped(message.step_seconds, self._block_step_seconds) * len(message.values)

    def contents(
        self, messages: list[Any], times: NDArray[np.float64], index: NDArray[np.int64], notes: Notes  # noqa: ARG002
    ) -> Blocks:  # fmt: skip
        """What is in the blocks."""
        count = np.array([len(message.values) for message in messages], np.int64)
        value, begin = np.empty(int(count.sum())), 0
        for message in messages:
            put_floats(value, begin, message.values)
            begin += len(message.values)
        return Blocks(
            sensor=np.array([self._sensor[message.sensor] for message in messages], np.int64),
            first=times,
            step_seconds=np.array([snapped(each.step_seconds, self._block_step_seconds) for each in messages]),
            count=count,
            value=value,
        )
