"""When each record of a batch takes effect: rule 1 may put it off."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.grid.sorted_readings import Readings
from stream_detector.engine.clock_guard import HeldRecord

Ints = NDArray[np.int64]


class Released(NamedTuple):
    """A record that the clock guard held and now lets go, before the record at `place` of the batch."""

    place: int
    slot: int
    record: HeldRecord


class HandlingOrder:
    """When each record of a batch takes effect.

    Most take effect at their own place. A record that the clock guard releases keeps its own offset, but takes effect
    at the place of the record that released it; such records are appended at the end.

    Attributes:
        offset: (R,) Kafka offsets.
        index: (R,) place in the batch at which each takes effect.
    """

    def __init__(self, offsets: Ints) -> None:
        self.offset = offsets
        self.index = np.arange(len(offsets))

    def insert(self, readings: Readings, released: list[Released]) -> Readings:
        """The readings, with those of the released records before the record that released them."""
        parts, keys = [readings], [2 * readings.record + 1]
        for place, slot, held in released:
            count = len(held.sensor)
            entry = np.full(count, self._append(held.offset, place))
            parts.append(Readings(np.full(count, slot), held.sensor, held.time, held.value, entry))
            keys.append(np.full(count, 2 * place))
        return Readings.join(parts).take(np.argsort(np.concatenate(keys), kind="stable"))

    def _append(self, offset: int, place: int) -> int:
        """Number of the new entry."""
        self.offset = np.append(self.offset, offset)
        self.index = np.append(self.index, place)
        return len(self.index) - 1


def as_array(values: Sequence[int]) -> Ints:
    """The same numbers as an array (N,)."""
    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step)
    return np.fromiter(values, np.int64, len(values))
