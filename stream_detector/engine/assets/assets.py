"""The assets of a partition: who is admitted, and who is let go. All of it follows from the log."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.positions import NO_STEP
from stream_detector.detection.grid.slot_state import write_slot
from stream_detector.engine.assets.asset_history import AssetHistory
from stream_detector.engine.assets.asset_offsets import NEVER, NOT_KEPT, AssetOffsets
from stream_detector.engine.assets.asset_windows import AssetWindows, unpack
from stream_detector.engine.assets.kept_windows import KeptWindows
from stream_detector.engine.assets.slots import Slots
from stream_detector.engine.assets.snapshots import Snapshot
from stream_detector.engine.clock_guard import ClockGuard, HeldRecord
from stream_detector.engine.limits import SWEEPS, Limits

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Asset:
    """What is kept of an asset beside its cells and its decisions; `since`, `floor`, `previous` as in its snapshot.

    `scale`: what was known of its scale when it began.
    """

    name: str
    since: int
    clock_guard: ClockGuard
    floor: int | None = None
    previous: tuple[int, int] | None = None
    scale: bytes | None = None


class Assets:
    """Gives every asset of the partition a slot of the grid.

    Attributes:
        by_slot: the live assets. slots: their slots by name. slots_by_key: the same by the name in UTF-8, as the keys
            of records have it.
        offsets: of the records of each, by slot; those of other partitions' assets are among them.
        watched: slots whose records rule 1 looks at one by one: something is held, or a snapshot knows of refused ones.
        unsaved: slots whose snapshot is out of date.
        only_known: there are snapshots. While the log is read again, no other assets exist, and they say what rule 1
            did.
        history: of the assets that were evicted.
        kept: the windows that lie in snapshots.
    """

    def __init__(
        self,
        grid: Grid,
        offsets: AssetOffsets,
        free_slots: Slots,
        limits: Limits,
        furthest_ahead_seconds: float,
        known: Mapping[str, Snapshot],
        silent_until: int,
        on_admit: Callable[[int, str, Snapshot | None, AssetWindows | None, bytes | None], None],
    ) -> None:
        """known: the snapshots, where the log is read again after a restart; then no other asset was there.

        silent_until: records below this offset rebuild state. on_admit: told of slot, name, snapshot, windows
        and scale of each asset.
        """
        self.by_slot: dict[int, Asset] = {}
        self.slots: dict[str, int] = {}
        self.slots_by_key: dict[bytes | None, int] = {}
        self.offsets = offsets
        self.watched: set[int] = set()
        self.unsaved: set[int] = set()
        self.grid = grid
        self._limits = limits
        self.furthest_ahead_seconds = furthest_ahead_seconds
        self.history = AssetHistory(known, limits.max_assets)
        self.kept = KeptWindows(limits, offsets)
        self._known = {name: snapshot for name, snapshot in known.items() if snapshot.evicted is None}
        self.only_known = bool(known)
        self._silent_until = silent_until
        self._on_admit = on_admit
        self._free_slots = free_slots
        for name, snapshot in list(self._known.items()):
            if snapshot.windows is not None:
                # Damaged ones count as none: they warm up.
                with suppress(ValueError):
                    self._admit_with_windows(name, snapshot, unpack(snapshot.windows), snapshot.windows)

    def admit(self, name: str, offset: int, first_time: float, last_time: float, *, rebuilding: bool) -> int | None:
        """Slot of a new asset; None where its record at `offset` cannot begin it.

        first_time, last_time: of the readings of that record, epoch seconds.
        """
        known = self._known.get(name)
        if known is None:
            if rebuilding and self.only_known:
                return None
            if len(self.by_slot) + self.history.others((offset, name)) >= self._limits.max_assets:
                return None
        elif rebuilding and offset in known.refused:
            return None
        asset = self._asset_of(name, offset, known)
        slot = self._slot_for(asset, first_time, offset)
        self.grid.positions.watermark[slot] = last_time
        if known is not None:
            # Whenever a machine turns there is a new snapshot. One that covers more than was committed knows so far as
            # it says, any other one until the log has been read again.
            told = NO_STEP if known.next_step is None else known.next_step
            tells_from = None if rebuilding and known.until <= self._silent_until else told
            self.grid.remember_standing(slot, known.stands, NO_STEP if known.stood is None else known.stood, tells_from)
        self._restore(slot, asset, known, [])
        self._on_admit(slot, name, known, None, asset.scale)
        return slot

    def _admit_with_windows(self, name: str, known: Snapshot, windows: AssetWindows, packed: bytes) -> None:
        """Before the first batch: none of the asset's records from before is read again."""
        asset = self._asset_of(name, known.since, known)
        slot = self._slot_for(asset, windows.slot.watermark, windows.last_offset)
        write_slot(self.grid, slot, windows.slot)
        self._restore(slot, asset, known, windows.held)
        self.kept.keep(slot, known.begin, packed)
        self._on_admit(slot, name, known, windows, asset.scale)

    def _asset_of(self, name: str, offset: int, known: Snapshot | None) -> Asset:
        guard = ClockGuard(self.furthest_ahead_seconds)
        if known is not None:
            return Asset(name, known.since, guard, known.floor, known.previous, known.scale)
        departed = self.history.departed.pop(name, None)
        if departed is None:
            return Asset(name, offset, guard)
        return Asset(name, offset, guard, departed.floor, (departed.since, departed.evicted), departed.scale)

    def _slot_for(self, asset: Asset, time: float, offset: int) -> int:
        slot = self._free_slots.take()
        self.grid.admit(slot, time, offset, asset.floor)
        self.offsets.make_room(slot)
        self.by_slot[slot] = asset
        self.slots[asset.name] = self.slots_by_key[asset.name.encode()] = slot
        self.offsets.last[slot] = offset
        self.offsets.since[slot] = asset.since
        self.offsets.since_kept[slot] = NOT_KEPT
        return slot

    def _restore(self, slot: int, asset: Asset, known: Snapshot | None, held: list[HeldRecord]) -> None:
        until = self._silent_until
        if known is None:
            self.unsaved.add(slot)
            asset.clock_guard.known_until = until if self.only_known else 0
        else:
            del self._known[asset.name]
            until = max(until, known.until)
            asset.clock_guard.restore(until, known.refused, known.held, held)
            if known.refused or known.held or held:
                self.watched.add(slot)
        self.offsets.decided_until[slot] = until

    def held(self) -> list[HeldRecord]:
        """The records that rule 1 holds aside."""
        return [held for slot in self.watched for held in self.by_slot[slot].clock_guard.held]

    def low(self) -> int | None:
        """The oldest offset that live state still needs; None where nothing is held."""
        slots = np.fromiter(self.by_slot, np.int64, len(self.by_slot))
        needed = self.kept.lows(slots, self.grid.low(slots)).tolist()
        for slot in self.watched:
            until = self.kept.until(slot) or 0
            needed += [held.offset for held in self.by_slot[slot].clock_guard.held if held.offset >= until]
        low = min(needed, default=NEVER)
        return None if low == NEVER else low

    def sweeps(self, offsets: Ints, previous_offset: int | None) -> dict[int, int]:
        """Places of a batch at which evictions are looked at: {place before which: offset as of which}."""
        every = max(1, self._limits.evict_after_records // SWEEPS)
        # A restart begins before the offset that it has processed.
        previous = int(offsets[0] if previous_offset is None else min(previous_offset, offsets[0])) // every
        if int(offsets[-1]) // every == previous:
            return {}
        epoch = offsets // every
        return {int(place): int(epoch[place]) * every for place in np.flatnonzero(np.diff(epoch, prepend=previous))}

    def evicted(self, offset: int) -> Iterator[tuple[int, Asset]]:
        """Lets go of the assets that lag in event time and have not been heard of for long, as of `offset`."""
        slots = np.array(sorted(self.by_slot), np.int64)
        if not len(slots):
            return
        watermark = self.grid.positions.watermark[slots]
        newest = self.history.watermark(offset, float(watermark.max()))
        lags = watermark < newest - self._limits.evict_after_seconds
        unheard = self.offsets.last[slots] < offset - self._limits.evict_after_records
        known_to_live = self.offsets.decided_until[slots] > offset
        # By name: slots are no function of the log.
        for slot in sorted(slots[lags & unheard & ~known_to_live].tolist(), key=lambda slot: self.by_slot[slot].name):
            yield slot, self.by_slot[slot]
            self.let_go(slot)

    def let_go(self, slot: int) -> None:
        """Free the slot of an asset."""
        name = self.by_slot.pop(slot).name
        del self.slots[name], self.slots_by_key[name.encode()]
        self.watched.discard(slot)
        self.unsaved.discard(slot)
        self.grid.release(slot)
        self.kept.forget(slot)
        self._free_slots.give_back(slot)
