"""Which offsets may be committed: what the transport asks of whoever processes its batches."""

from collections.abc import Iterable, Mapping
from typing import Protocol


class CommittedOffsets(Protocol):
    """The consumer, as far as a keeper needs it."""

    async def committed_with_metadata(self, partitions: Iterable[int]) -> dict[int, tuple[int, str]]:
        """(offset, metadata) of the partitions that have a committed offset."""


class OffsetKeeper(Protocol):
    """What the transport asks of the worker."""

    async def plan(self, partitions: set[int], consumer: CommittedOffsets) -> dict[int, tuple[int, int]]:
        """(offset to read from, epoch) of every assigned partition; called after each assignment."""

    async def flush(self) -> None:
        """Wait until all that came of the processed records is acknowledged, and declare them done."""

    def to_commit(self) -> dict[int, tuple[int, str]]:
        """(offset, metadata) of the partitions that have something new."""

    def committed(self, offsets: Mapping[int, int]) -> None: ...

    def fail(self, error: BaseException) -> None:
        """End the process with this error."""
