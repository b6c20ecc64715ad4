"""Plans an assignment: asks the brokers how far each partition is, and reads the snapshots that a start needs."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from stream_detector.streaming.clients.log_reader import LogReader
from stream_detector.streaming.worker.ports import Clock, OpenLog
from stream_detector.streaming.worker.recovery import PartitionOffsets, Start, choose_start, from_metadata

log = logging.getLogger(__name__)

TRUNCATION_PATIENCE_SECONDS = 5.0
"""A new leader may for a moment report an end of the log below what was committed."""

LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class PartitionPlan:
    """Where one partition starts, and the snapshots {asset: data} to start with."""

    start: Start
    snapshots: Mapping[str, bytes] = field(default_factory=dict)


class Planner:
    """Changes nothing: whoever asks puts the plan into effect.

    Args:
        open_log: makes a reader of the log; one is opened for each plan.
        bundle_id: snapshots of other bundles do not count.
        rewind_seconds: how far to read back where a commit does not say it (Kafka timestamps).
        clock, sleep: monotonic seconds, and how to let them pass.
    """

    def __init__(
        self,
        open_log: OpenLog,
        bundle_id: str,
        rewind_seconds: float,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._open_log = open_log
        self._bundle_id = bundle_id
        self._rewind_seconds = rewind_seconds
        self._clock = clock
        self._sleep = sleep

    async def plan(
        self, partitions: set[int], committed: Mapping[int, tuple[int, str]], in_memory: Mapping[int, int]
    ) -> dict[int, PartitionPlan]:
        """Every partition's plan.

        Args:
            partitions: those that are assigned.
            committed: (offset, metadata) of those with a committed offset.
            in_memory: the next offset of those whose live state this worker holds already.

        Raises:
            KafkaError: the brokers cannot be reached.
        """
        async with self._open_log() as reader:
            ends = await self._trusted_ends(reader, partitions, committed)
            starts = {
                number: await self._choose(reader, number, ends[number], committed.get(number), in_memory.get(number))
                for number in sorted(partitions)
            }
            restored = {number: ends[number][1] for number, start in starts.items() if start.restore_snapshots}
            snapshots = await reader.snapshots(self._bundle_id, restored) if restored else {}
        return {number: PartitionPlan(start, snapshots.get(number, {})) for number, start in starts.items()}

    async def _trusted_ends(
        self, reader: LogReader, partitions: set[int], committed: Mapping[int, tuple[int, str]]
    ) -> dict[int, tuple[int, int]]:
        deadline = self._clock() + TRUNCATION_PATIENCE_SECONDS
        while True:
            ends = await reader.ends(partitions)
            if all(offset <= ends[number][1] for number, (offset, _) in committed.items()) or self._clock() > deadline:
                return ends
            await self._sleep(LOOK_AGAIN_SECONDS)

    async def _choose(
        self,
        reader: LogReader,
        number: int,
        ends: tuple[int, int],
        committed: tuple[int, str] | None,
        in_memory: int | None,
    ) -> Start:
        beginning, end = ends
        offset, low = None, None
        if committed is not None:
            offset, low = committed[0], from_metadata(committed[1])
            if low is None and offset <= end:
                low = await reader.low_by_time(number, offset, beginning, self._rewind_seconds)
                log.warning("partition %d: offset %d was set by hand, rebuilding from %d", number, offset, low)
        start = choose_start(PartitionOffsets(beginning, end, offset, low, in_memory))
        if start.lost:
            log.error("partition %d: retention removed %d records before they were read", number, start.lost)
        elif low is not None and low < beginning and start.restore_snapshots:
            log.warning(
                "partition %d: retention removed records that windows are rebuilt from; they warm up anew", number
            )
        if offset is not None and offset > end:
            log.warning("partition %d: offset %d is beyond the end %d, the log is another one", number, offset, end)
        return start
