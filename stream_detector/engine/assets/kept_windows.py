"""Assets whose windows lie in their snapshots: they hold `low` back only by what came of them since.

Else a machine that stands still would pin `low` where it stopped, and every restart would read all that the others have
sent since. When windows are snapshotted is free, for they are a function of the log up to that moment: when an asset
holds `low` back for much longer than windows reach.
"""

import numpy as np
from numpy.typing import NDArray

from stream_detector.engine.assets.asset_offsets import NEVER, NOT_KEPT, AssetOffsets
from stream_detector.engine.limits import Limits

Ints = NDArray[np.int64]

LOOKS = 16
"""How often it is looked at within `window_lag_records` offsets."""

MOST_SAVED_UP = 2**22
"""Bytes of windows that may be written at once after a calm."""


class KeptWindows:
    """Which assets (by slot) have windows in snapshots. Offsets are the partition's; `until` names the next record."""

    def __init__(self, limits: Limits, offsets: AssetOffsets) -> None:
        self._limits = limits
        self._offsets = offsets
        self._kept: dict[int, tuple[int, bytes]] = {}
        """Packed windows, with the offset that they were taken at."""
        self._looked_at = 0
        self._bytes_left = 0.0
        self._too_large: dict[int, int] = {}

    def keep(self, slot: int, until: int, data: bytes) -> None:
        """From now on the asset's snapshots carry these windows."""
        self._kept[slot] = until, data
        self._offsets.since_kept[slot] = NEVER

    def discard(self, slot: int) -> None:
        """Forget the windows of a slot."""
        if self._kept.pop(slot, None) is not None:
            self._offsets.since_kept[slot] = NOT_KEPT

    def forget(self, slot: int) -> None:
        """The asset of the slot is gone."""
        self.discard(slot)
        self._too_large.pop(slot, None)

    def data(self, slot: int) -> bytes | None:
        return self._kept[slot][1] if slot in self._kept else None

    def until(self, slot: int) -> int | None:
        """Records of the asset below are not needed any more; None where no windows are kept."""
        return self._kept[slot][0] if slot in self._kept else None

    def note_records(self, slots: Ints, offsets: Ints) -> None:
        """Note that records of these slots are used, offsets ascending."""
        if not self._kept:
            return
        since = self._offsets.since_kept
        for place in np.flatnonzero(since[slots] == NEVER).tolist():
            slot, offset = int(slots[place]), int(offsets[place])
            # What rule 1 held when the windows were taken lies in them.
            if offset >= self._kept[slot][0]:
                since[slot] = min(since[slot], offset)

    def lows(self, slots: Ints, windows_from: Ints) -> Ints:
        """(N,) the oldest record that each asset needs; NEVER: none. `windows_from`: where it is for its windows."""
        if not self._kept:
            return windows_from
        since = self._offsets.since_kept[slots]
        return np.where(since == NOT_KEPT, windows_from, since)

    def stirred(self) -> Ints:
        """Slots of the assets that have sent records since their windows were kept."""
        if not self._kept:
            return np.empty(0, np.int64)
        slots = np.fromiter(self._kept, np.int64, len(self._kept))
        stirred: Ints = slots[self._offsets.since_kept[slots] != NEVER]
        return stirred

    def outlived(self, slots: Ints, windows_from: Ints) -> list[int]:
        """Which of these slots have sent so much since that the log alone gives their windows back."""
        until = np.array([self._kept[slot][0] for slot in slots.tolist()], np.int64)
        found: list[int] = slots[windows_from >= until].tolist()
        return found

    def is_time(self, processed: int) -> bool:
        """Whether to look for assets that hold `low` back."""
        since = processed - self._looked_at
        if since < max(1, self._limits.window_lag_records // LOOKS):
            return False
        self._looked_at = processed
        self._bytes_left = min(self._bytes_left + since * self._limits.window_bytes_per_record, MOST_SAVED_UP)
        return True

    def due(self, processed: int, slots: Ints, windows_from: Ints, last_offset: Ints, since: Ints) -> list[int]:
        """Slots that hold `low` back for much longer than windows reach, the oldest first.

        windows_from, last_offset: (N,) from and to which offset the windows of each reach by its own records. since:
        (N,) offset of its first record; while windows begin there, nobody knows how far they will reach.
        """
        reach = np.where(windows_from > since, last_offset, processed) - windows_from
        reach = reach[windows_from >= 0]
        usual = float(np.median(reach)) if len(reach) else 0.0
        lows = self.lows(slots, windows_from)
        lagging = processed - lows > max(self._limits.window_lag_records, self._limits.window_lag_spans * usual)
        oldest_first: list[int] = slots[lagging][np.argsort(lows[lagging], kind="stable")].tolist()
        return oldest_first

    @property
    def may_write(self) -> bool:
        """Whether windows may be written now: `window_bytes_per_record` bytes a record of the log at most."""
        return self._bytes_left > 0

    def wrote(self, size: int) -> None:
        self._bytes_left -= size

    def may_fit(self, slot: int, processed: int) -> bool:
        """Whether they may fit into a message: they did, or were not tried for long."""
        return processed - self._too_large.get(slot, -NEVER) > self._limits.window_lag_records

    def is_too_large(self, slot: int, processed: int) -> None:
        """The windows do not fit into a message: the asset goes on holding `low`, and is tried again later."""
        self._too_large[slot] = processed
