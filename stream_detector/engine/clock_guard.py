"""Rule 1: one bad clock moves nothing, a long outage loses nothing.

A record far ahead of its asset's watermark is held aside until two more agree with it; a normal record refutes it.
While the log is read again after a restart nothing is judged anew: the snapshot knows what became of each record.
"""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

AGREEING = 3
"""Records in a row that together prove that time has moved on."""

MOST_REFUSED = 4_096
"""Refused offsets that are remembered for each asset."""


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """A record that is held aside, with all that is needed to handle it or to make it a dead letter."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    raw: bytes | None
    last_time: float
    sensor: NDArray[np.int64]
    time: NDArray[np.float64]
    value: NDArray[np.float64]

    @property
    def readings(self) -> int:
        """How many readings it holds; an event is none."""
        return int((self.sensor >= 0).sum())


class Fate(Enum):
    """What rule 1 says of a record."""

    ACCEPTED = 0
    REFUSED = 1
    HELD = 2


@dataclass(slots=True)
class ClockGuard:
    """Rule 1 for one asset."""

    max_future_seconds: float
    held: list[HeldRecord] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    known_until: int = 0
    """Below this offset `refused` and `expected_held` say what became of each record."""
    expected_held: frozenset[int] = frozenset()
    changed: bool = False

    def judge(self, record: HeldRecord, watermark: float) -> tuple[Fate, list[HeldRecord], list[HeldRecord]]:
        """What becomes of the record; held ones that are released before it; held ones that are refused by it."""
        if record.offset < self.known_until:
            return self._known(record), [], []
        if record.last_time <= watermark + self.max_future_seconds:
            return Fate.ACCEPTED, [], self._refuse_held()
        times = [held.last_time for held in self.held] + [record.last_time]
        refused = self._refuse_held() if max(times) - min(times) > self.max_future_seconds else []
        self.changed = True
        if len(self.held) + 1 < AGREEING:
            self.held.append(record)
            return Fate.HELD, [], refused
        released, self.held = self.held, []
        return Fate.ACCEPTED, released, refused

    def _known(self, record: HeldRecord) -> Fate:
        if record.offset in self.expected_held:
            self.held.append(record)
            return Fate.HELD
        return Fate.REFUSED if record.offset in self.refused else Fate.ACCEPTED

    def _refuse_held(self) -> list[HeldRecord]:
        refused, self.held = self.held, []
        if refused:
            self.changed = True
            self.refused = (self.refused + [record.offset for record in refused])[-MOST_REFUSED:]
        return refused

    def refuse_all(self) -> list[HeldRecord]:
        """The asset is evicted: nobody will confirm what is held."""
        return self._refuse_held()
