"""The columns that records are decoded into, and the reasons that a record cannot be used."""

from collections import Counter
from itertools import chain

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from stream_detector.decoding.columns import floats
from stream_detector.decoding.unknown_names import NONE_UNKNOWN, UnknownNames
from stream_detector.detection.grid.contents import Cells, Contents
from stream_detector.detection.grid.groups import members_of

REASONS = (
    TOMBSTONE, MALFORMED, BAD_KEY, UNKNOWN_ASSET, BAD_TIME, UNKNOWN_SENSOR, FUTURE, TOO_MANY_ASSETS,
) = (
    "tombstone", "malformed", "bad-key", "unknown-asset", "bad-time", "unknown-sensor", "future", "too-many-assets",
)  # fmt: skip
"""Every reason that a dead letter can have."""

READING, ROW, BLOCK, EVENT = "reading", "row", "block", "event"
"""Kinds of record."""

DETAIL = 200
"""Characters of a detail that are kept."""


class RefusedError(Exception):
    """A record cannot be used, for a reason of `REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:DETAIL]


class Reject(Struct, frozen=True):
    """`readings` of record `index` are a dead letter."""

    index: int
    readings: int
    reason: str
    detail: str


class Decoded(Struct):
    """The usable records of a batch, all (R,) in order, and what they hold.

    `index`: place in the batch. `asset`: name; empty where `slot` tells the slots instead. `last_time`: of its
    readings, epoch seconds. `missing`: how many cells are missing for each reason of `cells.CELL_REASONS`. `unknown`:
    what was passed over.
    """

    index: NDArray[np.int64]
    asset: list[str]
    last_time: NDArray[np.float64]
    contents: Contents
    rejects: list[Reject] = field(default_factory=list)
    rows: int = 0
    blocks: int = 0
    events: int = 0
    slot: NDArray[np.int64] | None = None
    missing: Counter[str] = field(default_factory=Counter)
    unknown: UnknownNames = NONE_UNKNOWN

    @property
    def cells(self) -> Cells:
        """The readings one by one."""
        return self.contents.apart()


class Collector:
    """Collects records of all kinds into columns."""

    def __init__(self) -> None:
        self._index: list[int] = []
        self._asset: list[str] = []
        self._first: list[float] = []
        self._step: list[float] = []
        self._times: dict[int, list[float]] = {}
        self._sensors: list[NDArray[np.int64]] = []
        self._values: list[list[float | None]] = []
        self._kinds = dict.fromkeys((READING, ROW, BLOCK, EVENT), 0)

    def add(
        self,
        kind: str,
        index: int,
        asset: str,
        time: float,
        step_seconds: float,
        sensors: NDArray[np.int64],
        values: list[float | None],
        times: list[float] | None = None,
    ) -> None:
        """A record at `time`, its readings `step_seconds` apart; or each at one of `times`, ascending."""
        self._kinds[kind] += 1
        if times is not None:
            self._times[len(self._index)] = times
        self._index.append(index)
        self._asset.append(asset)
        self._first.append(time)
        self._step.append(step_seconds)
        self._sensors.append(sensors)
        self._values.append(values)

    def decoded(self) -> Decoded:
        count = np.array(list(map(len, self._values)), np.int64)
        record, place = members_of(count)
        first, step = np.array(self._first, np.float64), np.array(self._step, np.float64)
        time = first[record]
        if step.any():
            time += place * step[record]
        last_time = first + np.maximum(count - 1, 0) * step
        if self._times:
            begin = np.cumsum(count) - count
            for number, times in self._times.items():
                time[begin[number] : begin[number] + len(times)] = times
                last_time[number] = times[-1]
        return Decoded(
            index=np.array(self._index, np.int64),
            asset=self._asset,
            last_time=last_time,
            contents=Cells(
                record,
                np.concatenate([np.empty(0, np.int64), *self._sensors]),
                time,
                floats(list(chain.from_iterable(self._values))),
            ),
            rows=self._kinds[ROW],
            blocks=self._kinds[BLOCK],
            events=self._kinds[EVENT],
        )


def merged(plain: Decoded, others: Decoded) -> Decoded:
    """Joins two parts of a batch, in the order of the batch."""
    index = np.concatenate([plain.index, others.index])
    order = np.argsort(index, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    ours, theirs = plain.cells, others.cells
    record = rank[np.concatenate([ours.record, theirs.record + len(plain.index)])]
    by_record = np.argsort(record, kind="stable")
    assets = plain.asset + others.asset
    return Decoded(
        index=index[order],
        asset=[assets[place] for place in order],
        last_time=np.concatenate([plain.last_time, others.last_time])[order],
        contents=Cells(
            record[by_record],
            np.concatenate([ours.sensor, theirs.sensor])[by_record],
            np.concatenate([ours.time, theirs.time])[by_record],
            np.concatenate([ours.value, theirs.value])[by_record],
        ),
        rejects=plain.rejects + others.rejects,
        rows=plain.rows + others.rows,
        blocks=plain.blocks + others.blocks,
        events=others.events,
        missing=plain.missing + others.missing,
        unknown=plain.unknown.plus(others.unknown),
    )
