"""The records of a batch: which one a reading came with, and when it is handled, which rule 1 may put off."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.decoded import Decoded
from stream_detector.detection.grid.sorted_readings import Readings
from stream_detector.engine.clock_guard import HeldRecord
from stream_detector.engine.outcome import Counts, RecordBatch

SEGMENT_BYTES = 8 * 2**20
"""Records of about this size are decoded at once: a million numbers of a block take as much again in each column."""

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


def as_held(batch: RecordBatch, decoded: Decoded, record: int) -> HeldRecord:
    """A decoded record, with all that is needed to handle it later."""
    where = int(decoded.index[record])
    span = slice(*np.searchsorted(decoded.record, [record, record + 1]).tolist())
    return HeldRecord(
        batch.offsets[where], batch.timestamps_ms[where], batch.keys[where], batch.values[where],
        float(decoded.last_time[record]), decoded.sensor[span], decoded.time[span], decoded.value[span],
    )  # fmt: skip


def heavy_cuts(batch: RecordBatch) -> list[int]:
    """Where to cut a batch so that the columns of a segment fit into memory, though every record be a large block."""
    try:
        if sum(map(len, batch.values)) < SEGMENT_BYTES:  # type: ignore[arg-type]
            return []
    except TypeError:
        pass  # a tombstone
    sizes = np.array([0 if value is None else len(value) for value in batch.values], np.int64)
    parts: list[int] = np.flatnonzero(np.diff(np.cumsum(sizes) // SEGMENT_BYTES, prepend=0)).tolist()
    return parts


def readings_of(decoded: Decoded, slots: Ints) -> Readings:
    """All readings, with the place of their record in the batch."""
    if len(decoded.record) == len(decoded.index):  # every record is one reading
        return Readings(slots, decoded.sensor, decoded.time, decoded.value, decoded.index)
    record = decoded.record
    return Readings(slots[record], decoded.sensor, decoded.time, decoded.value, decoded.index[record])


def numbers(values: Sequence[int]) -> Ints:
    """(N,) the same as an array."""
    if isinstance(values, range):
        return np.arange(values.start, values.stop, values.step)
    return np.fromiter(values, np.int64, len(values))


def not_later(times: NDArray[np.float64], stamps_ms: Ints, by_seconds: float) -> NDArray[np.bool_]:
    """(N,) which times (epoch seconds) are at most so much later than their Kafka timestamps; -1 stands for none."""
    if len(times):
        earliest = stamps_ms.min()
        # The usual case, without a look at each of them.
        if earliest >= 0 and times.max() <= earliest / 1000.0 + by_seconds:
            return np.ones(len(times), np.bool_)
    fine: NDArray[np.bool_] = (times <= stamps_ms / 1000.0 + by_seconds) | (stamps_ms < 0)
    return fine


def count_kinds(counts: Counts, decoded: Decoded) -> None:
    """Add the decoded records by their kind."""
    counts.row_records += decoded.rows
    counts.block_records += decoded.blocks
    counts.events += decoded.events
    counts.reading_records += len(decoded.index) - decoded.rows - decoded.blocks - decoded.events
