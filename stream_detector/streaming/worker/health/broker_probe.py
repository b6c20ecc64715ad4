"""Observes the worker for its watchdog: its own progress beside what the brokers say on a connection of their own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import ParamSpec, Protocol, TypeVar

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from stream_detector.errors import BrokerError, StalledError
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.worker.health.watchdog import Observation, PartitionObservation
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.ports import Clock, GroupView, OpenLog

Answer = TypeVar("Answer")
Asked = ParamSpec("Asked")

PROBE_SECONDS = 5.0
TICKS = 10
AUTHORIZATION_ERRORS = (GroupAuthorizationFailedError, TopicAuthorizationFailedError)


@asynccontextmanager
async def while_awake(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, but time in which the event loop stands still does not count.

    A batch that takes longer than that, on a machine far too slow, leaves answers unread; they are no silence.
    """
    loop = asyncio.get_running_loop()
    coming: asyncio.TimerHandle | None = None
    async with asyncio.timeout(None) as deadline:

        def tick(left: int) -> None:
            nonlocal coming
            coming = loop.call_later(seconds / TICKS, tick, left - 1) if left else None
            if not left:
                deadline.reschedule(loop.time())

        tick(TICKS)
        try:
            yield
        finally:
            if coming is not None:
                coming.cancel()


async def answer_of(ask: Callable[Asked, Awaitable[Answer]], *asked: Asked.args, **how: Asked.kwargs) -> Answer | None:
    """What the brokers answer; None where they do not, or not in time. Nothing is begun before it is awaited."""
    try:
        async with while_awake(PROBE_SECONDS):
            return await ask(*asked, **how)
    except (KafkaError, TimeoutError, OSError):
        return None


class OwnedPartitions(Protocol):
    """`Pipeline`, as far as it is observed."""

    @property
    def partitions(self) -> Mapping[int, PartitionProgress]: ...
    @property
    def planning(self) -> bool: ...


class BrokerProbe:
    """Looks when asked, on a connection that it keeps open while the brokers answer.

    Args:
        open_log: makes a reader of the log.
        clock: monotonic, in seconds.
        wall_clock: epoch seconds.
    """

    def __init__(self, open_log: OpenLog, clock: Clock = time.monotonic, wall_clock: Clock = time.time) -> None:
        self.all_partitions: set[int] = set()
        """Of the readings topic, for a worker that has none of its own."""
        self._open_log = open_log
        self._clock = clock
        self._wall_clock = wall_clock
        self._reader: LogReader | None = None
        self._opening: asyncio.Task[None] | None = None

    async def check_rights(self) -> None:
        """Ask once what the group has committed: without that right no client says why nothing moves.

        What the first look needs of the topic of readings is opened beside, and nobody waits for it: windows are
        rebuilt then, and each answer waits for the batch in hand.

        Raises:
            BrokerError: this user may not use the group.
            KafkaError: the brokers do not answer.
        """
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                reader = await self._connection()
                if self._opening is None or self._opening.done():
                    self._opening = asyncio.create_task(self._open_topic(reader))
                await reader.committed(self.all_partitions)
        except AUTHORIZATION_ERRORS as error:
            await self.close()
            raise BrokerError(
                f"this user may not use the consumer group or read its topics: {type(error).__name__} {error}; grant "
                "READ on the group and the topics of docs/security.md"
            ) from None
        except (TimeoutError, OSError) as error:
            await self.close()
            raise KafkaConnectionError(f"the group's coordinator does not answer: {error!r}") from None
        except KafkaError:
            await self.close()
            raise

    async def look(self, view: GroupView, owned: OwnedPartitions) -> Observation:
        """One observation of the worker and the brokers.

        Args:
            view: what the consumer knows.
            owned: the worker's partitions, which may change meanwhile.

        Raises:
            StalledError: the group's offset lies behind what was committed.
        """
        progress = owned.partitions
        known = {number for number in view.fetches if number in progress}
        mine = {number: progress[number].committed for number in known}
        reader = await answer_of(self._connection)
        if reader is None:
            await self.close()
            return Observation(False, None)
        # A worker without partitions watches the whole group: is anybody at work on them?
        asked = known or self.all_partitions
        # Asked together: while batches are handled, each answer waits for the one in hand.
        committed, ends = await asyncio.gather(answer_of(reader.committed, asked), answer_of(reader.ends, asked))
        if committed is None:
            await self.close()
            return Observation(False, None)
        for number, offset in mine.items():
            if number in progress and offset is not None and committed.get(number, -1) < offset:
                # Reading on would skip what a new log holds below our position.
                raise StalledError(
                    f"partition {number}: offset {offset} was committed, but the group is at {committed.get(number)}: "
                    "the topic was made again, or somebody set the offsets; the next start plans anew"
                )
        if ends is None:
            return Observation(True, None)  # the group answers, the topic does not
        if not view.member or owned.planning:
            return Observation(True, None)
        if not known:
            offsets = {number: committed.get(number, begin) for number, (begin, _) in ends.items()}
            return Observation(True, {n: PartitionObservation(ends[n][1], at, at) for n, at in offsets.items()})
        now, wall = self._clock(), self._wall_clock()
        observed = {}
        # While windows are read for one partition, all of them stand.
        windows_read = sum(mine.windows_read for mine in progress.values())
        for number in known & set(progress) & set(ends):
            fetches, waiting_since = view.fetches[number], progress[number].waiting_since
            observed[number] = PartitionObservation(
                end=ends[number][1],
                position=fetches.position or 0,
                processed=progress[number].processed,
                commit_waiting_seconds=0.0 if waiting_since is None else now - waiting_since,
                answer_age_seconds=0.0 if fetches.answered_ms is None else max(0.0, wall - fetches.answered_ms / 1000),
                windows_read=windows_read,
            )
        return Observation(True, observed)

    async def _open_topic(self, reader: LogReader) -> None:
        await answer_of(reader.ends, self.all_partitions)

    async def _connection(self) -> LogReader:
        if self._reader is None:
            reader = self._open_log()
            await reader.__aenter__()
            self._reader = reader
        return self._reader

    async def close(self) -> None:
        """Give up the connection, within a second; a broker that is away does not matter."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()
