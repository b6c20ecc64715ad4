"""How far a worker is in each partition of the readings topic: processed, declared done, committed."""

from msgspec import Struct, field

from stream_detector.streaming.state.group_facts import Departure, Fact, Silence
from stream_detector.streaming.worker.offsets.recovery import ScoredBy
from stream_detector.streaming.worker.offsets.unacknowledged import Unacknowledged


class PartitionProgress(Struct):
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
    in_hand: bool = False
    """A batch is being handled; once it failed, for ever: the engine may be ahead of `processed` then."""
    broken_off: bool = False
    """A rebalance or the end came while a switch was waited for: what follows is read again after the next plan."""
    waiting_since: float | None = None
    """Since when `declared` is ahead of `committed` (monotonic clock)."""
    unacknowledged: Unacknowledged = field(default_factory=Unacknowledged)
    """What came of the batches since the last flush."""

    windows_read: int = 0
    """Records that were read again for the windows of bundles that a control record names."""
    newest_ms: int | None = None
    """Kafka timestamp of the newest record processed, epoch milliseconds."""
    term: int = 0
    """In which this worker decides (`BundleSwitch`)."""
    next_term: int = 1
    """Of the next switch of bundle."""
    next_id_term: int = 1
    """Goes into the ids of alarms behind it."""
    scored_by: ScoredBy | None = None
    """Who decides; None = the bundle that the worker was started with."""
    facts: tuple[Fact, ...] = ()
    """What the group has written down about the partition."""
    departures: list[Departure] = field(default_factory=list)
    """Assets whose life here has not ended yet."""
    silences: dict[str, Silence] = field(default_factory=dict)
    """{asset: since when it is silent}, as the group has written it down."""
    known_silent: set[str] = field(default_factory=set)
    """Those of them that whoever decides now has heard itself: its engine holds them, or has let go of them since."""
    state_end: int = 0
    """The next offset of the partition's state, as far as this worker has read and written it."""
    state_lost: bool = False
    """The topic of state is another one than the worker has written to."""

    @property
    def rebuilding(self) -> bool:
        return self.processed < self.silent_until

    @property
    def rebuild_records(self) -> int | None:
        """How many records a successor reads again; None before anything is declared."""
        return None if self.declared is None or self.low is None else self.declared - self.low

    def take_unacknowledged(self) -> Unacknowledged:
        """Hand over what is not acknowledged; what comes of later batches is kept apart from it."""
        taken, self.unacknowledged = self.unacknowledged, Unacknowledged()
        return taken

    def declare(self, offset: int, low: int, now: float) -> None:
        """Declare that everything below `offset` is done; `now`: monotonic, in seconds."""
        if self.declared is not None and offset <= self.declared:
            return
        self.declared, self.low = offset, min(low, offset)
        if self.committed is None or offset > self.committed:
            self.waiting_since = now if self.waiting_since is None else self.waiting_since

    def to_commit(self) -> int | None:
        """The offset to commit now; None where there is nothing new."""
        if self.declared is None or (self.committed is not None and self.declared <= self.committed):
            return None
        return self.declared

    def commit_acknowledged(self, offset: int, now: float) -> None:
        """Note that the group's offset is `offset`; `now`: monotonic, in seconds."""
        if self.declared is None or offset > self.declared:
            return  # of an earlier assignment of this partition
        self.committed = offset if self.committed is None else max(self.committed, offset)
        self.waiting_since = None if self.to_commit() is None else now
