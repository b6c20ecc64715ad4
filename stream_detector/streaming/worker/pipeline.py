"""The heart of a worker: fetched records in, everything that comes of them acknowledged, then the offset declared done.

The order is what makes the promise: alarms acknowledged, then scores, dead letters and snapshots acknowledged, then the
offset committed. A crash anywhere in between repeats messages that say the same, and loses none.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.engine.outcome import AssetStatus, Outcome, RecordBatch
from stream_detector.errors import StalledError
from stream_detector.messages import to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.producer import Burst, ConfirmedProducer, Outgoing
from stream_detector.streaming.worker.dead_letter_rate import DeadLetterGate
from stream_detector.streaming.worker.offset_keeper import CommittedOffsets
from stream_detector.streaming.worker.progress import Fetched, PartitionProgress
from stream_detector.streaming.worker.recovery import (
    LogReader,
    Standing,
    Start,
    choose_start,
    from_metadata,
    snapshot_message,
    to_metadata,
)
from stream_detector.streaming.worker.worker_metrics import Measuring

log = logging.getLogger(__name__)

MOST_UNCONFIRMED = 50_000
"""Scores and dead letters that may be on their way at once."""

TRUNCATION_PATIENCE_SECONDS = 5.0
"""A new leader may for a moment report an end of the log below what was committed."""


class DetectionEngine(Protocol):
    """What the pipeline asks of `engine.Engine`."""

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome: ...
    def low(self, partition: int) -> int | None: ...
    def restore(self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0) -> None: ...
    def forget(self, partition: int) -> None: ...
    def status(self, detailed: int | None = None) -> list[AssetStatus]: ...


class Pipeline:
    """Owns the engine and the progress of every assigned partition. All methods run in the main event loop."""

    def __init__(
        self,
        settings: Settings,
        engine: DetectionEngine,
        bundle_id: str,
        rewind_seconds: float,
        producer: ConfirmedProducer,
        measuring: Measuring,
        on_failure: Callable[[BaseException], None],
        field_mapping: FieldMapping | None = None,
    ) -> None:
        self.settings = settings
        self.partitions: dict[int, PartitionProgress] = {}
        self.planning_since: float | None = None
        self._engine = engine
        self._bundle_id = bundle_id
        self._rewind_seconds = rewind_seconds
        self._producer = producer
        self._measuring = measuring
        self._on_failure = on_failure
        self._field_mapping = None if field_mapping is None or field_mapping.is_identity else field_mapping
        self._gate = DeadLetterGate(settings.dead_letters_per_second)
        self._epoch = 0
        # A batch is handled whole before the next one, a plan or the capture of a flush.
        self._handling = asyncio.Lock()
        self._flushing = asyncio.Lock()
        self._snapshots: dict[int, dict[str, tuple[bytes | None, int]]] = {}
        self._bursts: dict[int, list[Burst]] = {}

    def fail(self, error: BaseException) -> None:
        self._on_failure(error)

    async def handle(self, fetched: Fetched) -> None:
        """Process one fetch; returns when its alarms are acknowledged.

        Raises:
            StalledError: the fetch does not start where the last one ended, or the brokers acknowledge nothing.
        """
        async with self._handling:
            progress = self.partitions.get(fetched.partition)
            if progress is None or progress.epoch != fetched.epoch:
                return  # from before a rebalance; it is read again by whoever owns the partition
            if fetched.start != progress.processed:
                raise StalledError(
                    f"partition {fetched.partition}: a fetch starts at {fetched.start}, not at {progress.processed}"
                )
            if len(fetched.columns):
                await self._handle_records(fetched)
            was_rebuilding = progress.rebuilding
            progress.processed = fetched.end
            progress.moved_at = time.monotonic()
            if was_rebuilding and not progress.rebuilding:
                self._measuring.rebuilt(rebuilding=self.rebuilding)

    @property
    def rebuilding(self) -> bool:
        """Whether any partition is still rebuilding its windows."""
        return any(progress.rebuilding for progress in self.partitions.values())

    async def _handle_records(self, fetched: Fetched) -> None:
        columns = fetched.columns
        batch = RecordBatch(
            fetched.topic,
            fetched.partition,
            columns.offsets,
            columns.keys,
            self._values(fetched),
            columns.timestamps_ms,
        )
        started = time.perf_counter()
        outcome = self._engine.process(batch, self.settings.publish_scores)
        self._measuring.scored(fetched.partition, outcome, time.perf_counter() - started)
        if outcome.alarms:
            topic = self.settings.topic_alarms
            messages = [Outgoing(topic, alarm.asset.encode(), to_bytes(alarm)) for alarm in outcome.alarms]
            await self._producer.confirm(await self._producer.enqueue(messages))
            self._measuring.alarms_acknowledged(outcome)
        await self._send_the_rest(fetched.partition, outcome)
        pending = self._snapshots.setdefault(fetched.partition, {})
        for asset, data in outcome.snapshots:
            pending[asset] = (data, fetched.end)

    def _values(self, fetched: Fetched) -> list[bytes | None]:
        mapping, columns = self._field_mapping, fetched.columns
        if mapping is None:
            return columns.values
        topic = fetched.topic
        return [
            mapping.to_message(value, topic, timestamp_ms)
            for value, timestamp_ms in zip(columns.values, columns.timestamps_ms, strict=True)
        ]

    async def _send_the_rest(self, partition: int, outcome: Outcome) -> None:
        """Scores and dead letters: sent now, waited for by the flush, unless too many are on their way."""
        settings = self.settings
        messages = [Outgoing(settings.topic_scores, score.asset.encode(), to_bytes(score)) for score in outcome.scores]
        for letter in outcome.dead_letters:
            if self._gate.admits():
                messages.append(self._gate.message(settings.topic_dead_letters, letter))
            else:
                self._measuring.suppressed()
        if not messages:
            return
        bursts = self._bursts.setdefault(partition, [])
        bursts.append(await self._producer.enqueue(messages))
        while sum(len(burst.messages) for burst in bursts) > MOST_UNCONFIRMED:
            await self._producer.confirm(bursts[0])
            del bursts[0]

    async def flush(self) -> None:
        """Wait until all that came of the processed records is acknowledged; then declare them done."""
        async with self._flushing:
            async with self._handling:
                captured = [
                    (
                        number,
                        progress,
                        progress.processed,
                        self._engine.low(number),
                        dict(self._snapshots.get(number, {})),
                        list(self._bursts.get(number, ())),
                    )
                    for number, progress in self.partitions.items()
                    if not progress.rebuilding and progress.processed != progress.declared
                ]
            messages = []
            for number, _, _, _, snapshots, bursts in captured:
                for burst in bursts:
                    await self._producer.confirm(burst)
                messages += [
                    snapshot_message(self.settings, self._bundle_id, number, asset, data, offset)
                    for asset, (data, offset) in snapshots.items()
                ]
            if messages:
                await self._producer.confirm(await self._producer.enqueue(messages))
            for number, progress, processed, low, snapshots, bursts in captured:
                if self.partitions.get(number) is not progress:
                    continue
                pending = self._snapshots.get(number, {})
                for asset, entry in snapshots.items():
                    if pending.get(asset) is entry:
                        del pending[asset]
                if bursts:
                    self._bursts[number] = [burst for burst in self._bursts[number] if burst not in bursts]
                progress.declare(processed, processed if low is None else low)

    def to_commit(self) -> dict[int, tuple[int, str]]:
        offsets = {}
        for number, progress in self.partitions.items():
            offset = progress.to_commit()
            if offset is not None:
                offsets[number] = (offset, to_metadata(offset if progress.low is None else progress.low))
        return offsets

    def committed(self, offsets: Mapping[int, int]) -> None:
        for number, offset in offsets.items():
            progress = self.partitions.get(number)
            if progress is not None:
                progress.commit_acknowledged(offset)
        self._measuring.committed()

    def revoke_others(self, kept: set[int]) -> None:
        """Forget the partitions that this worker no longer owns."""
        for number in set(self.partitions) - kept:
            self._forget(number)
            del self.partitions[number]
        self._measuring.assigned(kept)

    async def plan(self, partitions: set[int], consumer: CommittedOffsets) -> dict[int, tuple[int, int]]:
        """(offset to read from, epoch) of every assigned partition."""
        self.planning_since = time.monotonic()
        async with self._handling:
            self.revoke_others(partitions)
            committed = await consumer.committed_with_metadata(partitions)
            async with LogReader(self.settings) as reader:
                ends = await self._trusted_ends(reader, partitions, committed)
                starts = {
                    number: await self._choose(reader, number, ends[number], committed.get(number))
                    for number in partitions
                }
                restored = {number: ends[number][1] for number, start in starts.items() if start.restore_snapshots}
                snapshots = await reader.snapshots(self._bundle_id, restored) if restored else {}
            # From here on nothing waits: the plan takes effect as a whole.
            self._epoch += 1
            for number, start in starts.items():
                self._begin(number, start, snapshots.get(number))
            self._measuring.planned(rebuilding=self.rebuilding)
            self.planning_since = None
            return {number: (self.partitions[number].processed, self._epoch) for number in partitions}

    async def _trusted_ends(
        self, reader: LogReader, partitions: set[int], committed: Mapping[int, tuple[int, str]]
    ) -> dict[int, tuple[int, int]]:
        deadline = time.monotonic() + TRUNCATION_PATIENCE_SECONDS
        while True:
            ends = await reader.ends(partitions)
            if (
                all(offset <= ends[number][1] for number, (offset, _) in committed.items())
                or time.monotonic() > deadline
            ):
                return ends
            await asyncio.sleep(0.5)

    async def _choose(
        self, reader: LogReader, number: int, ends: tuple[int, int], committed: tuple[int, str] | None
    ) -> Start:
        beginning, end = ends
        held = self.partitions.get(number)
        offset, low = None, None
        if committed is not None:
            offset, low = committed[0], from_metadata(committed[1])
            if low is None and offset <= end:
                low = await reader.low_by_time(number, offset, beginning, self._rewind_seconds)
                log.warning("partition %d: offset %d was set by hand, rebuilding from %d", number, offset, low)
        start = choose_start(Standing(beginning, end, offset, low, held.processed if held is not None else None))
        if start.lost:
            log.error("partition %d: retention removed %d records before they were read", number, start.lost)
        elif low is not None and low < beginning and start.restore_snapshots:
            log.warning(
                "partition %d: retention removed records that windows are rebuilt from; they warm up anew", number
            )
        if offset is not None and offset > end:
            log.warning("partition %d: offset %d is beyond the end %d, the log is another one", number, offset, end)
        return start

    def _begin(self, number: int, start: Start, snapshots: Mapping[str, bytes] | None) -> None:
        if start.keep_state:
            self.partitions[number].epoch = self._epoch
            return
        self._forget(number)
        self._engine.restore(number, snapshots or {}, start.silent_until)
        self.partitions[number] = PartitionProgress(self._epoch, start.offset, start.silent_until, start.committed)
        log.info(
            "partition %d: from %d, in silence up to %d, %d snapshots",
            number, start.offset, start.silent_until, len(snapshots or {}),
        )  # fmt: skip

    def _forget(self, number: int) -> None:
        self._engine.forget(number)
        self._snapshots.pop(number, None)
        self._bursts.pop(number, None)
