"""The history of a partition's assets that a restart cannot read from the log again; snapshots carry it.

A snapshot may be newer than the committed offset that a restart begins with. What it covers was said before it was
written, so it need not be said again; but assets without such a snapshot are decided about anew from the commit on, and
for them everything must be as it was: how many assets lived at each moment, and the watermark of the partition.
"""

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from stream_detector.engine.assets.snapshots import Snapshot
from stream_detector.engine.limits import SWEEPS

Place = tuple[int, str]
"""(offset, asset): where in the log an asset is admitted. One record may begin several, in the order of their names."""

FIRST = ""
"""Before every asset of a record."""


class Departed(Struct, frozen=True):
    """An asset that was evicted. `since`: offset of its first record. `evicted`: the offset as of which it was let go.

    `floor`: the first step that was not decided; should the asset come back, no step before is decided again.
    `scale`: as in `Snapshot`; should it come back, it goes on from there.
    """

    since: int
    evicted: int
    floor: int
    scale: bytes | None = None


class AssetHistory:
    """The assets that were evicted from a partition, and the newest sweeps (looks for assets to evict).

    It reaches back so far that what is acknowledged beyond a commit may span `evict_after_records` offsets.

    Attributes:
        departed: the newest ones by name, in the order of their eviction.
        answered_until: {asset: offset}: its records below do not count when the log is read again.
    """

    def __init__(self, known: Mapping[str, Snapshot], most_departed: int) -> None:
        self.departed: dict[str, Departed] = {}
        self.answered_until: dict[str, int] = {}
        self._most_departed = most_departed
        self._sweeps: deque[tuple[int, float]] = deque(maxlen=SWEEPS)
        self._known_sweeps: dict[int, float] = {}
        self._differences: list[tuple[Place, Place, int]] = []
        """(after, before, how many more assets lived at the places in between than there are here)."""
        gone = []
        for name, snapshot in known.items():
            self._known_sweeps.update(snapshot.sweeps)
            if snapshot.previous is not None:
                self._differences.append(((snapshot.previous[0], name), (snapshot.previous[1], FIRST), 1))
            if snapshot.evicted is not None:
                gone.append((snapshot.evicted, name))
                self._differences.append(((snapshot.since, name), (snapshot.evicted, FIRST), 1))
                self.answered_until[name] = snapshot.until
                continue
            self.answered_until[name] = max(snapshot.since, snapshot.begin)
            if snapshot.windows is None:
                self._differences.append(((snapshot.since, name), (snapshot.begin, name), 1))
            else:
                self._differences.append(((-1, FIRST), (snapshot.since, name), -1))
        for evicted, name in sorted(gone):
            snapshot = known[name]
            self.departed[name] = Departed(snapshot.since, evicted, snapshot.floor or 0, snapshot.scale)
        self._sweeps.extend(sorted(self._known_sweeps.items())[-SWEEPS:])
        self._alike_from = max((offset for _, (offset, _), _ in self._differences), default=-1)
        self._answered_from = max(self.answered_until.values(), default=0)

    def read_from(self, offset: int) -> None:
        """Note that all records below this offset have been read again."""
        if offset >= self._answered_from:
            self.answered_until.clear()
        if offset > self._alike_from:
            self._differences.clear()

    def others(self, place: Place) -> int:
        """How many more assets lived at this place than have been read again."""
        return sum(more for after, before, more in self._differences if after < place < before)

    def watermark(self, sweep: int, newest: float) -> float:
        """The partition's watermark as of this sweep, where that of the assets here is `newest`."""
        newest = self._known_sweeps.get(sweep, newest)
        if not self._sweeps or self._sweeps[-1][0] < sweep:
            self._sweeps.append((sweep, newest))
        return newest

    @property
    def sweeps(self) -> list[tuple[int, float]]:
        """The newest sweeps: (offset, watermark of the partition in epoch seconds)."""
        return list(self._sweeps)

    def depart(self, name: str, departed: Departed) -> str | None:
        """An asset is evicted. Returns whom to forget for it: memory is bounded."""
        self.departed[name] = departed
        if len(self.departed) <= self._most_departed:
            return None
        forgotten = next(iter(self.departed))
        del self.departed[forgotten]
        return forgotten
