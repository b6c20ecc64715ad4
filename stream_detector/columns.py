"""The columns that records are decoded into, and the reasons that a record cannot be used."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TOMBSTONE, MALFORMED, BAD_KEY, UNKNOWN_ASSET, BAD_TIME, UNKNOWN_SENSOR, BAD_VALUE, FUTURE, TOO_MANY_ASSETS = (
    "tombstone", "malformed", "bad-key", "unknown-asset", "bad-time", "unknown-sensor", "bad-value", "future",
    "too-many-assets",
)  # fmt: skip
REASONS = (
    TOMBSTONE, MALFORMED, BAD_KEY, UNKNOWN_ASSET, BAD_TIME, UNKNOWN_SENSOR, BAD_VALUE, FUTURE, TOO_MANY_ASSETS
)  # fmt: skip
"""Every reason that a dead letter can have."""

DETAIL = 200
"""Characters of a detail that are kept."""


class RefusedError(Exception):
    """A record cannot be used, for a reason of `REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail[:DETAIL]


@dataclass(frozen=True, slots=True)
class Reject:
    """`readings` of record `index` are a dead letter."""

    index: int
    readings: int
    reason: str
    detail: str


@dataclass(slots=True)
class Decoded:
    """The usable records of a batch. Records are (R,), readings (N,) in order; `record` says which one each is of.

    `index`: place in the batch. `asset`: name. `first_time`, `last_time`: of its readings, epoch seconds.
    `sensor`: EVENT_SENSOR for an event. `value`: NaN = missing.
    """

    index: NDArray[np.int64]
    asset: list[str]
    last_time: NDArray[np.float64]
    record: NDArray[np.int64]
    sensor: NDArray[np.int64]
    time: NDArray[np.float64]
    value: NDArray[np.float64]
    rejects: list[Reject] = field(default_factory=list)
    rows: int = 0
    blocks: int = 0
    events: int = 0


class Collector:
    """Collects records of all kinds into columns."""

    def __init__(self) -> None:
        self.index: list[int] = []
        self.asset: list[str] = []
        self.first: list[float] = []
        self.step: list[float] = []
        self.sensors: list[NDArray[np.int64]] = []
        self.values: list[NDArray[np.float64]] = []
        self.rows = self.blocks = self.events = 0

    def add(
        self,
        index: int,
        asset: str,
        time: float,
        step_seconds: float | None,
        sensors: NDArray[np.int64],
        values: NDArray[np.float64],
        event: bool,
    ) -> None:
        self.index.append(index)
        self.asset.append(asset)
        self.first.append(time)
        self.step.append(step_seconds or 0.0)
        self.sensors.append(sensors)
        self.values.append(values)
        self.events += event
        self.blocks += step_seconds is not None
        self.rows += len(sensors) > 1 and step_seconds is None

    def decoded(self, rejects: list[Reject]) -> Decoded:
        count = np.array([len(part) for part in self.sensors], np.int64)
        record = np.repeat(np.arange(len(count)), count)
        first, step = np.array(self.first, np.float64), np.array(self.step, np.float64)
        time = first[record]
        if step.any():
            place = np.arange(len(record)) - (np.cumsum(count) - count)[record]
            time += place * step[record]
        return Decoded(
            index=np.array(self.index, np.int64),
            asset=self.asset,
            last_time=first + np.maximum(count - 1, 0) * step,
            record=record,
            sensor=np.concatenate([np.empty(0, np.int64), *self.sensors]),
            time=time,
            value=np.concatenate([np.empty(0), *self.values]),
            rejects=rejects,
            rows=self.rows,
            blocks=self.blocks,
            events=self.events,
        )
