"""The assets of a partition: who is admitted, and who is let go. All of it follows from the log."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.grid.grid import Grid
from stream_detector.engine.clock_guard import Gate
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
    gate: Gate


class Roster:
    """Gives every asset a slot of the grid."""

    def __init__(self, grid: Grid, limits: Limits, max_future_seconds: float, known: Mapping[str, Snapshot]) -> None:
        """known: the snapshots, where the log is read again after a restart; then no other asset was there."""
        self.assets: dict[int, Asset] = {}
        self.slots: dict[str, int] = {}
        self.slots_by_key: dict[bytes | None, int] = {}
        """The same by the assets' names in UTF-8, as the keys of records have them."""
        self.last_offset = np.zeros(1, np.int64)
        """(slots,) offset of the last record of each asset that was used."""
        self._grid = grid
        self._limits = limits
        self._max_future_seconds = max_future_seconds
        self._known = dict(known)
        self._only_known = bool(known)
        self._free: list[int] = []

    def admit(self, name: str, offset: int, rebuilding: bool) -> tuple[int, Snapshot | None] | None:
        """Slot of a new asset, and what is known of it; None where its record at `offset` cannot begin it."""
        known = self._known.get(name)
        if known is not None and offset < known.since:
            known = None
        if rebuilding and self._only_known and (known is None or offset in known.refused):
            return None
        if len(self.assets) >= self._limits.max_assets:
            return None
        slot = self._free.pop() if self._free else len(self.assets)
        if slot >= len(self.last_offset):
            self.last_offset = np.resize(self.last_offset, 2 * slot)
        asset = self.assets[slot] = Asset(name, offset, Gate(self._max_future_seconds))
        self.slots[name] = self.slots_by_key[name.encode()] = slot
        self.last_offset[slot] = offset
        if known is not None:
            del self._known[name]
            asset.since = known.since
            asset.gate.refused = list(known.refused)
            asset.gate.expected_held = frozenset(known.held)
        return slot, known

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
        slots = np.array(sorted(self.assets), np.int64)
        if not len(slots):
            return
        watermark = self._grid.watermark[slots]
        lags = watermark < watermark.max() - self._limits.evict_after_seconds
        unheard = self.last_offset[slots] < offset - self._limits.evict_after_records
        for slot in slots[lags & unheard].tolist():
            asset = self.assets[slot]
            yield slot, asset
            del self.assets[slot], self.slots[asset.name], self.slots_by_key[asset.name.encode()]
            self._free.append(slot)
