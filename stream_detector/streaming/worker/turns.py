"""Whose turn it is: batches come one after another, and what needs that none is in hand waits for all of them.

While the brokers acknowledge the alarms of a batch, batches of other partitions have their turn; the next one of its
own partition has not. So the batches of a partition follow each other whole, and nothing else sees one in the middle.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager


class Turns:
    """All methods run in one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._ends: dict[int, asyncio.Task[None]] = {}
        """{partition: the end of its last batch that had alarms}."""

    def is_over(self, partition: int) -> bool:
        """Whether the last batch of the partition has ended."""
        return partition not in self._ends or self._ends[partition].done()

    @asynccontextmanager
    async def of_batches(self, partitions: Collection[int]) -> AsyncIterator[None]:
        """The turn of one batch of each; those before them have ended. Raises what one that failed raised."""
        async with self._turn:
            await _over([self._ends[partition] for partition in partitions if partition in self._ends])
            for end in self._ends.values():
                if end.done():
                    end.result()
            yield

    def end_later(self, partition: int, end: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """What is left of the batch whose turn it is: `end` runs beside the turns of other partitions."""
        task = self._ends[partition] = asyncio.create_task(end)
        return task

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """No batch is in hand, but for those that failed, and none begins."""
        async with self._turn:
            await _over(list(self._ends.values()))
            yield


async def _over(tasks: list[asyncio.Task[None]]) -> None:
    """Returns when they are done; who waits for their result is told of their errors."""
    pending = [task for task in tasks if not task.done()]
    if pending:
        await asyncio.wait(pending)
