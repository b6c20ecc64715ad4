"""A reader of the log that stays open for a while: while a switch waits for a connection, decisions pause."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka.errors import KafkaError

from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.worker.ports import OpenLog

IDLE_SECONDS = 60.0
"""It is closed when nobody has used it for so long: partitions change over one after another within seconds."""

WARM_SECONDS = 2.0
"""Whoever wants it meanwhile waits no longer for its questions, of which a partition without a leader answers none."""


class KeptReader:
    """One for all partitions of a worker, used by one after another. `open_log`: makes a reader, not started."""

    def __init__(self, open_log: OpenLog, idle_seconds: float = IDLE_SECONDS) -> None:
        self._open_log = open_log
        self._idle_seconds = idle_seconds
        self._reader: LogReader | None = None
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[LogReader]:
        """The reader, opened where it is not. After a failure or an interruption the next use opens another.

        Raises:
            KafkaError: the brokers cannot be reached.
        """
        async with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._reader is None:
                reader = self._open_log()
                await reader.__aenter__()
                self._reader = reader
            try:
                yield self._reader
            except BaseException:
                await self._close()
                raise
            self._reader.rest()
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._close_soon)

    def warm(self) -> None:
        """Begin to open it: it will be wanted soon."""
        if self._reader is None and not self._lock.locked():
            self._begin(self._warmed())

    async def close(self) -> None:
        """The worker ends: nobody uses it from now on."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await self._closed()

    def _close_soon(self) -> None:
        if self._reader is not None:
            self._begin(self._closed())

    async def _warmed(self) -> None:
        with suppress(KafkaError, TimeoutError):
            async with self.use() as reader, asyncio.timeout(WARM_SECONDS):
                await reader.warm()

    async def _closed(self) -> None:
        async with self._lock:
            await self._close()

    async def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
