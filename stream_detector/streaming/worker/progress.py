"""How far a worker has come in each partition of the readings topic."""

import time
from dataclasses import dataclass, field

from stream_detector.streaming.worker.draining import Columns


@dataclass(slots=True)
class Fetched:
    """What one fetch brought from one partition.

    `start` is the position before the fetch and `end` after it: the offsets in between that carry no record (markers of
    transactions, aborted records, holes of compaction) belong to this fetch, so a chain of fetches has no gap.
    `epoch` counts the seeks of the partition; a fetch from before the last seek is worthless.
    """

    topic: str
    partition: int
    epoch: int
    start: int
    end: int
    columns: Columns


@dataclass(slots=True)
class PartitionProgress:
    """One partition that this worker owns. Offsets name the next record, not the last."""

    epoch: int
    processed: int
    silent_until: int
    """Records below were answered for before: the engine rebuilds windows from them, with no other effect."""
    committed: int | None
    declared: int | None = None
    """Everything below is processed, and all that came of it is acknowledged by the broker."""
    low: int | None = None
    """The offset from which a successor has to read to rebuild the state at `declared`."""
    moved_at: float = field(default_factory=time.monotonic)
    waiting_since: float | None = None
    """Since when `declared` is ahead of `committed` (monotonic clock)."""

    @property
    def rebuilding(self) -> bool:
        return self.processed < self.silent_until

    def declare(self, offset: int, low: int) -> None:
        if self.declared is not None and offset <= self.declared:
            return
        self.declared, self.low = offset, min(low, offset)
        if self.committed is None or offset > self.committed:
            self.waiting_since = self.waiting_since or time.monotonic()

    def to_commit(self) -> int | None:
        """The offset to commit now; None where there is nothing new."""
        if self.declared is None or (self.committed is not None and self.declared <= self.committed):
            return None
        return self.declared

    def commit_acknowledged(self, offset: int) -> None:
        self.committed = offset
        if self.to_commit() is None:
            self.waiting_since = None
        else:
            self.waiting_since = time.monotonic()
