"""Guards against bad clocks (rule 1): a time far ahead is held until another record confirms it.

A record far ahead of its asset's watermark is held aside. Records that follow it in order confirm it, and a record of
earlier time refutes it: data that comes in order of time is accepted whole, however long its pauses are. While the log
is read again after a restart nothing is judged anew: the snapshot knows what became of each record.
"""

from enum import Enum

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

AGREEING = 3
"""Records in a row, close to each other, that together prove that time has moved on."""

IN_ORDER = 6
"""So many in a row prove it however far apart they are, if none is earlier than another before it: slow data."""

MOST_REFUSED = 4_096
"""With more of them an asset's windows are snapshotted; then the refused ones from before are not read again."""

MOST_LISTED = 20_000
"""Where windows are too large for that, more are not listed: a restart then begins after those that are left out."""


class HeldRecord(Struct, frozen=True):
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
        """Number of readings in the record; an event has none."""
        return int((self.sensor >= 0).sum())


class Fate(Enum):
    """What becomes of a record under rule 1."""

    ACCEPTED = 0
    REFUSED = 1
    HELD = 2


class ClockGuard(Struct):
    """Rule 1 for one asset. `furthest_ahead_seconds`: of the grid's config."""

    furthest_ahead_seconds: float
    held: list[HeldRecord] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    known_until: int = 0
    """Below this offset `known_refused` and `known_held` say what became of each record."""
    complete_from: int = 0
    """From this offset on `refused` lacks none."""
    known_refused: frozenset[int] = frozenset()
    known_held: frozenset[int] = frozenset()
    changed: bool = False

    def restore(self, until: int, refused: list[int], held: list[int], held_in_windows: list[HeldRecord]) -> None:
        """Take over what a snapshot knows. held_in_windows: records that were held where the log is read again from."""
        self.known_until, self.refused = until, list(refused)
        self.known_refused, self.known_held = frozenset(refused), frozenset(held)
        self.held = [record for record in held_in_windows if record.offset not in self.known_refused]

    def known_from(self, begin: int) -> int:
        """Forget what was refused before offset `begin`; returns from where on all that was refused is known."""
        self.complete_from = max(self.complete_from, begin)
        self.refused = [offset for offset in self.refused if offset >= self.complete_from]
        if len(self.refused) > MOST_LISTED:
            self.refused = self.refused[-MOST_LISTED:]
            self.complete_from = min(self.refused)
        return self.complete_from

    def judge(self, record: HeldRecord, watermark: float) -> tuple[Fate, list[HeldRecord], list[HeldRecord]]:
        """What becomes of the record; held ones that are released before it; held ones that are refused by it."""
        if record.offset < self.known_until:
            return self._known(record)
        if record.last_time <= watermark + self.furthest_ahead_seconds:
            return Fate.ACCEPTED, [], self.refuse_all()
        refused = self._refuse([held for held in self.held if self._is_beyond(held, record)])
        self.changed = True
        if not self._confirms(record):
            self.held.append(record)
            return Fate.HELD, [], refused
        released, self.held = self.held, []
        return Fate.ACCEPTED, released, refused

    def _is_beyond(self, held: HeldRecord, record: HeldRecord) -> bool:
        return held.last_time > record.last_time + self.furthest_ahead_seconds

    def _confirms(self, record: HeldRecord) -> bool:
        """Whether time has moved on, with this record after those that are held."""
        times = [held.last_time for held in self.held] + [record.last_time]
        newest = times[-AGREEING:]
        close = len(newest) == AGREEING and max(newest) - min(newest) <= self.furthest_ahead_seconds
        return close or len(times) == IN_ORDER

    def _known(self, record: HeldRecord) -> tuple[Fate, list[HeldRecord], list[HeldRecord]]:
        if record.offset in self.known_held:
            self.held.append(record)
            return Fate.HELD, [], []
        if record.offset in self.known_refused:
            return Fate.REFUSED, [], []
        released = [held for held in self.held if held.offset not in self.known_held]
        self.held = [held for held in self.held if held.offset in self.known_held]
        return Fate.ACCEPTED, released, []

    def _refuse(self, refused: list[HeldRecord]) -> list[HeldRecord]:
        if refused:
            self.changed = True
            offsets = [record.offset for record in refused]
            self.held = [record for record in self.held if record.offset not in offsets]
            self.refused += offsets
        return refused

    def refuse_all(self) -> list[HeldRecord]:
        """A normal record refutes what is held, or the asset is evicted and nobody will confirm it."""
        return self._refuse(self.held)
