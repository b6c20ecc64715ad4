"""What the watchdog sees: the worker's own progress beside what the brokers say on a connection of their own."""

import asyncio
import logging
import time

from aiokafka.errors import KafkaError

from stream_detector.errors import StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.recovery import LogReader
from stream_detector.streaming.worker.transport import BatchConsumer
from stream_detector.streaming.worker.watchdog import PartitionSight, Sight

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0


class Lookout:
    """Looks when asked. `all_partitions`: of the readings topic, for a worker that has none of its own."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self.all_partitions: set[int] = set()
        self._settings = settings
        self._pipeline = pipeline
        self._reader: LogReader | None = None

    async def look(self, consumer: object) -> Sight:
        """What there is to see now.

        Raises:
            StalledError: the group's offset lies behind what was committed.
        """
        member, seen = consumer.observe() if isinstance(consumer, BatchConsumer) else (False, {})
        progress = self._pipeline.partitions
        known = {number for number in seen if number in progress}
        mine = {number: progress[number].committed for number in known}
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                reader = await self._probe()
                # A worker without partitions watches the whole group: is anybody at work on them?
                committed = await reader.committed(known or self.all_partitions)
        except (KafkaError, TimeoutError, OSError):
            await self.close()
            return Sight(False, None)
        for number, offset in mine.items():
            if number in progress and offset is not None and committed.get(number, -1) < offset:
                # Reading on would skip what a new log holds below our position.
                raise StalledError(
                    f"partition {number}: offset {offset} was committed, but the group is at {committed.get(number)}: "
                    "the topic was made again, or somebody set the offsets; the next start plans anew"
                )
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                ends = await reader.ends(known or self.all_partitions)
        except (KafkaError, TimeoutError, OSError):
            return Sight(True, None)  # the group answers, the topic does not
        if not member or self._pipeline.planning_since is not None:
            return Sight(True, None)
        if not known:
            offsets = {number: committed.get(number, begin) for number, (begin, _) in ends.items()}
            return Sight(True, {n: PartitionSight(ends[n][1], offset, offset) for n, offset in offsets.items()})
        now, wall = time.monotonic(), time.time()
        sights = {}
        for number in known & set(progress) & set(ends):
            position, answered_ms = seen[number]
            waiting_since = progress[number].waiting_since
            sights[number] = PartitionSight(
                end=ends[number][1],
                position=position or 0,
                processed=progress[number].processed,
                commit_waiting_seconds=0.0 if waiting_since is None else now - waiting_since,
                answer_age_seconds=0.0 if answered_ms is None else max(0.0, wall - answered_ms / 1000),
            )
        return Sight(True, sights)

    async def _probe(self) -> LogReader:
        """A connection of the watchdog's own, kept open while it works."""
        if self._reader is None:
            reader = LogReader(self._settings)
            await reader.__aenter__()
            self._reader = reader
        return self._reader

    async def close(self) -> None:
        """Give up the connection of its own, within a second; a broker that is away does not matter."""
        reader, self._reader = self._reader, None
        if reader is not None:
            try:
                async with asyncio.timeout(1.0):
                    await reader.__aexit__(None, None, None)
            except (KafkaError, TimeoutError, OSError) as error:
                log.debug("the watchdog's connection did not close: %r", error)
