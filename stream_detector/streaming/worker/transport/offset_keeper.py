"""Protocols between a stream and whoever processes its fetches: where to read, what may be committed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from stream_detector.streaming.worker.transport.fetched import Fetched


class CommittedOffsets(Protocol):
    """The consumer, as far as a keeper needs it."""

    async def committed_with_metadata(self, partitions: Iterable[int]) -> dict[int, tuple[int, str]]:
        """(offset, metadata) of the partitions that have a committed offset."""


class OffsetKeeper(Protocol):
    """Knows where to read and what may be committed."""

    async def plan(self, partitions: set[int], consumer: CommittedOffsets) -> dict[int, tuple[int, int]]:
        """(offset to read from, epoch) of every assigned partition; called after each assignment."""

    async def flush(self) -> None:
        """Wait until all that came of the processed records is acknowledged, and declare them done."""

    def to_commit(self) -> dict[int, tuple[int, str]]:
        """(offset, metadata) of the partitions that have something new."""

    def committed(self, offsets: Mapping[int, int]) -> None: ...

    def interrupt(self) -> None:
        """Stop waiting for what may never come: a rebalance or the end waits for the batch in hand."""

    def fail(self, error: BaseException) -> None:
        """End the process with this error."""


class FetchHandler(Protocol):
    """Whoever processes the fetches."""

    async def begin(self, *fetches: Fetched) -> Awaitable[None] | None:
        """Process what was fetched from different partitions; returns when all alarms are on their way.

        The answer comes when they are acknowledged; None where there is nothing to wait for. Fetches are begun one
        after another.
        """

    def fail(self, error: BaseException) -> None:
        """End the process with this error."""


class BatchProcessor(OffsetKeeper, FetchHandler, Protocol):
    """An offset keeper that also handles the fetches: the pipeline."""

    def commit_with(self, commit: Callable[[], Awaitable[object]]) -> None:
        """The stream commits by this whenever it is called."""

    def revoke_others(self, kept: set[int]) -> None:
        """Forget the partitions that are not among these."""
