"""Which record a reading came with, and when it was handled: rule 1 may let go of a record later than it came."""

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.pieces import Readings
from stream_detector.gate import HeldRecord

Ints = NDArray[np.int64]


class Moments:
    """The records of a batch, and behind them those of earlier offsets that rule 1 released in it.

    `offset`: of the record itself. `index`: place in the batch at which it is handled.
    """

    def __init__(self, offsets: Ints) -> None:
        self.offset = offsets
        self.index = np.arange(len(offsets))

    def append(self, offset: int, index: int) -> int:
        """Number of the new entry."""
        self.offset = np.append(self.offset, offset)
        self.index = np.append(self.index, index)
        return len(self.index) - 1


def insert(readings: Readings, released: list[tuple[int, int, HeldRecord]], moments: Moments) -> Readings:
    """The readings with those of released records before the record that freed them."""
    parts, keys = [readings], [2 * readings.record + 1]
    for where, slot, held in released:
        count = len(held.sensor)
        entry = np.full(count, moments.append(held.offset, where))
        parts.append(Readings(np.full(count, slot), held.sensor, held.time, held.value, entry))
        keys.append(np.full(count, 2 * where))
    return Readings.join(parts).take(np.argsort(np.concatenate(keys), kind="stable"))
