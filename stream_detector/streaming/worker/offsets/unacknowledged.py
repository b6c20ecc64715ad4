"""Messages of one partition that the brokers have not acknowledged yet, and who looks after them."""

from collections.abc import Iterable
from typing import NamedTuple, Self

from msgspec import Struct, field

from stream_detector.streaming.clients.producer import Burst


class PendingSnapshot(NamedTuple):
    """An asset's newest decision state, which covers all records below `offset`; `data` None = the asset is gone."""

    data: bytes | None
    offset: int


class Unacknowledged(Struct):
    """Scores and dead letters on their way, and snapshots {asset: newest} that are to be sent behind them.

    It has one owner at a time. The handling of batches adds to it until a flush takes it over whole; from then on
    batches add to another one. A list that both held would be changed by one while the other waits for the brokers.
    """

    bursts: list[Burst] = field(default_factory=list)
    snapshots: dict[str, PendingSnapshot] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        """Number of messages on their way."""
        return sum(len(burst.messages) for burst in self.bursts)

    def renew(self, snapshots: Iterable[tuple[str, bytes | None]], offset: int) -> None:
        """Replace older snapshots by these (asset, data), which cover the records below `offset`."""
        for asset, data in snapshots:
            self.snapshots[asset] = PendingSnapshot(data, offset)

    def take_back(self, older: Self) -> None:
        """A flush that did not end gives back what it had taken; what was added meanwhile is newer."""
        self.bursts[:0] = older.bursts
        self.snapshots = {**older.snapshots, **self.snapshots}
