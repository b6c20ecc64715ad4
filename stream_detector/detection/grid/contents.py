"""What decoded records hold: readings one by one, whole rows, or blocks of samples.

A topic of rows or of blocks goes into the grid as it came, with work for a record instead of for each of its readings;
`apart` gives the readings one by one, for all that is out of the ordinary.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.grid.groups import members_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EVENT_SENSOR = -1
"""Stands in `sensor` for an event."""


class Cells(Struct, frozen=True):
    """N readings of R records, in order. `record`: the number of the record that each is in.

    `sensor`: index, EVENT_SENSOR for an event. `time`: epoch seconds. `value`: NaN = missing.
    """

    record: Ints
    sensor: Ints
    time: Floats
    value: Floats

    def __len__(self) -> int:
        return len(self.record)

    def apart(self) -> "Cells":
        return self

    def of(self, record: int) -> tuple[Ints, Floats, Floats]:
        """Sensors, times and values of one record."""
        span = slice(*np.searchsorted(self.record, [record, record + 1]).tolist())
        return self.sensor[span], self.time[span], self.value[span]

    def select(self, keep: Bools) -> "Cells":
        """Those of the records (R,) that are kept, which are numbered anew."""
        chosen = keep[self.record]
        number = np.cumsum(keep) - 1
        return Cells(number[self.record[chosen]], self.sensor[chosen], self.time[chosen], self.value[chosen])


class WholeRows(Struct, frozen=True, dict=True):
    """R records that are a row each, of all F sensors of the bundle in their order. `times`: (R,), epoch seconds.

    `values`: (R, F), NaN = missing.
    """

    times: Floats
    values: Floats

    def __len__(self) -> int:
        return self.values.size

    @cached_property
    def _apart(self) -> Cells:
        rows, sensors = self.values.shape
        record = np.repeat(np.arange(rows), sensors)
        return Cells(record, np.tile(np.arange(sensors), rows), self.times[record], self.values.reshape(-1))

    def apart(self) -> Cells:
        return self._apart

    def of(self, record: int) -> tuple[Ints, Floats, Floats]:
        """Sensors, times and values of one record."""
        sensors = self.values.shape[1]
        return np.arange(sensors), np.full(sensors, self.times[record]), self.values[record]

    def select(self, keep: Bools) -> "WholeRows":
        """Those of the records (R,) that are kept."""
        return WholeRows(self.times[keep], self.values[keep])


class Blocks(Struct, frozen=True, dict=True):
    """R records that are a block each: samples of one sensor at even distances.

    `sensor`, `first`, `step_seconds`, `count`: (R,) index, time of the first sample (epoch seconds), seconds from one
    to the next, how many (at least one). `value`: (N,) of all blocks one after another, NaN = missing.
    """

    sensor: Ints
    first: Floats
    step_seconds: Floats
    count: Ints
    value: Floats

    def __len__(self) -> int:
        return len(self.value)

    @cached_property
    def begin(self) -> Ints:
        """(R,) place of each block's first sample among all."""
        return np.cumsum(self.count) - self.count

    @property
    def end(self) -> Floats:
        """(R,) when each ends, a sample's time after the last one; epoch seconds."""
        return self.first + self.count * self.step_seconds

    @property
    def last_time(self) -> Floats:
        """(R,) of the last sample of each, epoch seconds."""
        return self.first + (self.count - 1) * self.step_seconds

    @cached_property
    def _apart(self) -> Cells:
        record, place = members_of(self.count)
        time = self.first[record] + place * self.step_seconds[record]
        return Cells(record, self.sensor[record], time, self.value)

    def apart(self) -> Cells:
        return self._apart

    def of(self, record: int) -> tuple[Ints, Floats, Floats]:
        """Sensors, times and values of one record."""
        begin, count = int(self.begin[record]), int(self.count[record])
        time = self.first[record] + np.arange(count) * self.step_seconds[record]
        return np.full(count, self.sensor[record]), time, self.value[begin : begin + count]

    def select(self, keep: Bools) -> "Blocks":
        """Those of the records (R,) that are kept."""
        chosen = np.repeat(keep, self.count)
        return Blocks(
            self.sensor[keep], self.first[keep], self.step_seconds[keep], self.count[keep], self.value[chosen]
        )  # fmt: skip


class Contents(Protocol):
    """What R records hold, N readings in all."""

    def __len__(self) -> int:
        """N."""

    def apart(self) -> Cells:
        """The readings one by one."""

    def of(self, record: int) -> tuple[Ints, Floats, Floats]:
        """Sensors, times and values of one record."""

    def select(self, keep: Bools) -> "Contents":
        """Those of the records (R,) that are kept, which are numbered anew."""


def joined(parts: Sequence[Contents], records: Sequence[int]) -> Contents:
    """All of them, which are of one kind. records: how many each of the parts has."""
    if isinstance(parts[0], Cells):
        begin = np.cumsum(records) - records
        cells = [part for part in parts if isinstance(part, Cells)]
        return Cells(
            np.concatenate([part.record + first for part, first in zip(cells, begin.tolist(), strict=True)]),
            *(np.concatenate([getattr(part, name) for part in cells]) for name in ("sensor", "time", "value")),
        )
    names = type(parts[0]).__struct_fields__  # type: ignore[attr-defined]
    return type(parts[0])(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
