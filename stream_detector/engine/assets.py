"""The assets of a partition: who is admitted, and who is let go. All of it follows from the log."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.grid.grid import Grid
from stream_detector.engine.clock_guard import ClockGuard, HeldRecord
from stream_detector.engine.limits import Limits
from stream_detector.engine.snapshots import Snapshot

SWEEPS = 8
"""How often eviction is looked at within `evict_after_records` offsets."""

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Asset:
    """What is kept of an asset beside its cells and its decisions. `since`: offset of its first record."""

    name: str
    since: int
    clock_guard: ClockGuard


class Assets:
    """Gives every asset a slot of the grid.

    Attributes:
        by_slot: the live assets. slots: their slots by name. slots_by_key: the same by the name in UTF-8, as the keys
            of records have it.
        last_offset: (slots,) offset of the last record of each asset that was used.
        decided_until: (slots,) steps that close with a record below this offset were decided before a restart.
        watched: slots whose records rule 1 looks at one by one: something is held, or a snapshot knows of refused ones.
        unsaved: slots whose snapshot is out of date.
        only_known: there are snapshots. While the log is read again, no other assets exist, and they say what rule 1
            did.
    """

    def __init__(
        self,
        grid: Grid,
        limits: Limits,
        furthest_ahead_seconds: float,
        known: Mapping[str, Snapshot],
        silent_until: int,
        on_admit: Callable[[int, str, Snapshot | None], None],
    ) -> None:
        """known: the snapshots, where the log is read again after a restart; then no other asset was there.

        silent_until: records below this offset rebuild state. on_admit: told of slot, name and snapshot of each asset.
        """
        self.by_slot: dict[int, Asset] = {}
        self.slots: dict[str, int] = {}
        self.slots_by_key: dict[bytes | None, int] = {}
        self.last_offset = np.zeros(1, np.int64)
        self.decided_until = np.zeros(1, np.int64)
        self.watched: set[int] = set()
        self.unsaved: set[int] = set()
        self.grid = grid
        self._limits = limits
        self.furthest_ahead_seconds = furthest_ahead_seconds
        self._known = dict(known)
        self.only_known = bool(known)
        self._silent_until = silent_until
        self._on_admit = on_admit
        self._free: list[int] = []

    def admit(self, name: str, offset: int, first_time: float, last_time: float, *, rebuilding: bool) -> int | None:
        """Slot of a new asset; None where its record at `offset` cannot begin it.

        first_time, last_time: of the readings of that record, epoch seconds.
        """
        known = self._known.get(name)
        if known is not None and offset < known.since:
            known = None
        if rebuilding and self.only_known and (known is None or offset in known.refused):
            return None
        if len(self.by_slot) >= self._limits.max_assets:
            return None
        slot = self._free.pop() if self._free else len(self.by_slot)
        self.grid.admit(slot, first_time, offset)
        self.grid.watermark[slot] = last_time
        if slot >= len(self.last_offset):
            self.last_offset = np.resize(self.last_offset, self.grid.capacity)
            self.decided_until = np.resize(self.decided_until, self.grid.capacity)
        asset = self.by_slot[slot] = Asset(name, offset, ClockGuard(self.furthest_ahead_seconds))
        self.slots[name] = self.slots_by_key[name.encode()] = slot
        self.last_offset[slot] = offset
        self._restore(slot, asset, known)
        self._on_admit(slot, name, known)
        return slot

    def _restore(self, slot: int, asset: Asset, known: Snapshot | None) -> None:
        until = self._silent_until
        if known is None:
            self.unsaved.add(slot)
        else:
            del self._known[asset.name]
            until = max(until, known.until)
            asset.since = known.since
            asset.clock_guard.refused = list(known.refused)
            asset.clock_guard.expected_held = frozenset(known.held)
            if known.refused or known.held:
                self.watched.add(slot)
        self.decided_until[slot] = until
        asset.clock_guard.known_until = until if self.only_known else 0

    def held(self) -> list[HeldRecord]:
        """The records that rule 1 holds aside."""
        return [held for slot in self.watched for held in self.by_slot[slot].clock_guard.held]

    def sweeps(self, offsets: Ints, previous_offset: int | None) -> dict[int, int]:
        """Where in a batch evictions are looked at: {place before which: offset as of which}."""
        every = max(1, self._limits.evict_after_records // SWEEPS)
        previous = int(offsets[0] if previous_offset is None else previous_offset) // every
        if int(offsets[-1]) // every == previous:
            return {}
        epoch = offsets // every
        return {int(place): int(epoch[place]) * every for place in np.flatnonzero(np.diff(epoch, prepend=previous))}

    def evicted(self, offset: int) -> Iterator[tuple[int, Asset]]:
        """Lets go of the assets that lag in event time and have not been heard of for long, as of `offset`."""
        slots = np.array(sorted(self.by_slot), np.int64)
        if not len(slots):
            return
        watermark = self.grid.watermark[slots]
        lags = watermark < watermark.max() - self._limits.evict_after_seconds
        unheard = self.last_offset[slots] < offset - self._limits.evict_after_records
        for slot in slots[lags & unheard].tolist():
            asset = self.by_slot[slot]
            yield slot, asset
            del self.by_slot[slot], self.slots[asset.name], self.slots_by_key[asset.name.encode()]
            self.watched.discard(slot)
            self.unsaved.discard(slot)
            self._free.append(slot)
