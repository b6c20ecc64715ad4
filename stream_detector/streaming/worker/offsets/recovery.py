"""Chooses where to start reading a partition after an assignment, and the decision state to start with.

Windows are rebuilt by reading again from `low`, which the commit's metadata carries, in silence up to the committed
offset. Decision state comes from the compacted topic of state. The committed offset stays the true progress, so lag is
truthful.
"""

import orjson
from msgspec import Struct


class PartitionOffsets(Struct, frozen=True):
    """The facts about a partition when it is assigned. Offsets name the next record."""

    beginning: int
    end: int
    committed: int | None = None
    low: int | None = None
    """From the commit's metadata; None where an operator set the offset."""
    in_memory: int | None = None
    """The next offset of the live state that this worker still holds from before a rebalance."""


class Start(Struct, frozen=True):
    """Read from `offset`; below `silent_until` without effects. `lost` records were removed before they were read."""

    offset: int
    silent_until: int
    committed: int | None
    keep_state: bool = False
    restore_snapshots: bool = False
    lost: int = 0


def choose_start(known: PartitionOffsets) -> Start:
    """Decide where to start. `known.low` must have been found by other means if the metadata lacked it. No I/O."""
    committed = known.committed
    if committed is not None and committed > known.end:
        # The topic was deleted and made again, or truncated: the offsets belong to another log.
        committed = None
    held = known.in_memory
    if held is not None and (committed is None or committed <= held) and known.beginning <= held <= known.end:
        return Start(held, committed or 0, known.committed, keep_state=True)
    if committed is None:
        # From the first record on, state is a function of the log alone; snapshots may stem from another log.
        return Start(known.beginning, known.beginning, None)
    resume = max(committed, known.beginning)
    low = known.low if known.low is not None else known.beginning
    return Start(
        offset=min(max(low, known.beginning), resume),
        silent_until=resume,
        committed=committed,
        restore_snapshots=True,
        lost=resume - committed,
    )


class ScoredBy(Struct, frozen=True):
    """Who scored what is committed: the bundle, and how its scores round there (`bundle.score_fingerprint`)."""

    bundle: str
    fingerprint: str

    def rounds_otherwise(self, other: "ScoredBy") -> bool:
        """Whether the same windows get other bits from the other; another bundle gives other scores anyway."""
        return self.bundle == other.bundle and self.fingerprint != other.fingerprint


class CommitMetadata(Struct, frozen=True):
    """What a commit carries beside its offset; None where an operator set the offset, or an older version did.

    low: the offset from which a successor rebuilds its windows.
    """

    low: int | None = None
    scored_by: ScoredBy | None = None


def to_metadata(low: int, scored_by: ScoredBy) -> str:
    """A commit's metadata as text.

    >>> from_metadata(to_metadata(7, ScoredBy("b1", "f1")))
    CommitMetadata(low=7, scored_by=ScoredBy(bundle='b1', fingerprint='f1'))
    >>> from_metadata("by hand")
    CommitMetadata(low=None, scored_by=None)
    """
    return orjson.dumps({"low": low, "bundle": scored_by.bundle, "scores": scored_by.fingerprint}).decode()


def from_metadata(metadata: str) -> CommitMetadata:
    """What `to_metadata` wrote, as far as it is there."""
    try:
        found = orjson.loads(metadata)
        low = found["low"]
        scored_by = ScoredBy(found["bundle"], found["scores"]) if "bundle" in found and "scores" in found else None
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return CommitMetadata()
    return CommitMetadata(low if isinstance(low, int) and low >= 0 else None, scored_by)
