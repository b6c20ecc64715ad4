"""The heart of a worker: fetched records in, everything that comes of them acknowledged, then the offset declared done.

The order is what makes the promise: alarms acknowledged, then scores, dead letters and snapshots acknowledged, then the
offset committed. A crash anywhere in between repeats messages that say the same, and loses none.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.engine.outcome import Outcome, RecordBatch, ScoredSteps
from stream_detector.errors import StalledError
from stream_detector.messages import to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.producer import Burst, BurstSender, Outgoing
from stream_detector.streaming.clients.snapshots import snapshot_message
from stream_detector.streaming.worker.dead_letter_rate import DeadLetterRate
from stream_detector.streaming.worker.offset_keeper import CommittedOffsets
from stream_detector.streaming.worker.planning import PartitionPlan, Planner
from stream_detector.streaming.worker.ports import Clock, DetectionEngine, PipelineObserver
from stream_detector.streaming.worker.progress import Fetched, PartitionProgress
from stream_detector.streaming.worker.recovery import to_metadata
from stream_detector.streaming.worker.takeover import alarm_message

log = logging.getLogger(__name__)

MOST_UNCONFIRMED = 50_000
"""Scores and dead letters that may be on their way at once."""


class Pipeline:
    """Owns the engine and the progress of every assigned partition. All methods run in the main event loop.

    Args:
        bundle_id: goes with every snapshot.
        observer: is told what happens.
        on_failure: is given the error that ends the process.
        on_steps: is given the scored steps of every batch, for those who show them.
        field_mapping: of other people's records to ours.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        engine: DetectionEngine,
        bundle_id: str,
        planner: Planner,
        producer: BurstSender,
        observer: PipelineObserver,
        on_failure: Callable[[BaseException], None],
        on_steps: Callable[[Sequence[ScoredSteps]], None] | None = None,
        field_mapping: FieldMapping | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings
        self.partitions: dict[int, PartitionProgress] = {}
        self.planning = False
        """An assignment has not taken effect yet."""
        self._engine = engine
        self._bundle_id = bundle_id
        self._planner = planner
        self._producer = producer
        self._observer = observer
        self._on_failure = on_failure
        self._on_steps = on_steps
        self._field_mapping = None if field_mapping is None or field_mapping.is_identity else field_mapping
        self._clock = clock
        self._dead_letter_rate = DeadLetterRate(settings.dead_letters_per_second, clock)
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
            if was_rebuilding and not progress.rebuilding:
                self._observer.rebuilt(rebuilding=self.rebuilding)

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
        started = self._clock()
        outcome = self._engine.process(batch, self.settings.publish_scores)
        self._observer.scored(fetched.partition, outcome, self._clock() - started)
        if self._on_steps is not None:
            self._on_steps(outcome.steps)
        if outcome.alarms:
            number = fetched.partition
            await self._send([alarm_message(self.settings, number, alarm) for alarm in outcome.alarms])
            self._observer.alarms_acknowledged(outcome)
        await self._send_the_rest(fetched.partition, outcome)
        pending = self._snapshots.setdefault(fetched.partition, {})
        for asset, data in outcome.snapshots:
            pending[asset] = (data, fetched.end)

    async def _send(self, messages: Sequence[Outgoing]) -> None:
        """Returns when they are acknowledged."""
        if messages:
            await self._producer.confirm(await self._producer.enqueue(messages))

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
            if self._dead_letter_rate.admits():
                messages.append(self._dead_letter_rate.message(settings.topic_dead_letters, letter))
            else:
                self._observer.dead_letter_held_back()
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
            await self._send(messages)
            for number, progress, processed, low, snapshots, bursts in captured:
                if self.partitions.get(number) is not progress:
                    continue
                pending = self._snapshots.get(number, {})
                for asset, entry in snapshots.items():
                    if pending.get(asset) is entry:
                        del pending[asset]
                if bursts:
                    self._bursts[number] = [burst for burst in self._bursts[number] if burst not in bursts]
                progress.declare(processed, processed if low is None else low, self._clock())

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
                progress.commit_acknowledged(offset, self._clock())
        self._observer.committed()

    def revoke_others(self, kept: set[int]) -> None:
        """Forget the partitions that this worker no longer owns."""
        for number in set(self.partitions) - kept:
            self._forget(number)
            del self.partitions[number]
        self._observer.assigned(kept)

    async def plan(self, partitions: set[int], consumer: CommittedOffsets) -> dict[int, tuple[int, int]]:
        """(offset to read from, epoch) of every assigned partition."""
        self.planning = True
        async with self._handling:
            self.revoke_others(partitions)
            committed = await consumer.committed_with_metadata(partitions)
            in_memory = {number: progress.processed for number, progress in self.partitions.items()}
            plans = await self._planner.plan(partitions, committed, in_memory)
            for plan in plans.values():
                for burst in plan.bursts:
                    await self._send(burst)
            # From here on nothing waits: the plan takes effect as a whole.
            self._epoch += 1
            for number, plan in plans.items():
                self._begin(number, plan)
            self._observer.planned(rebuilding=self.rebuilding)
            self.planning = False
            return {number: (self.partitions[number].processed, self._epoch) for number in partitions}

    def _begin(self, number: int, plan: PartitionPlan) -> None:
        start, snapshots = plan.start, plan.snapshots
        if start.keep_state:
            self.partitions[number].epoch = self._epoch
            return
        self._forget(number)
        self._engine.restore(number, snapshots, start.silent_until)
        self.partitions[number] = PartitionProgress(self._epoch, start.offset, start.silent_until, start.committed)
        log.info(
            "partition %d: from %d, in silence up to %d, %d snapshots",
            number, start.offset, start.silent_until, len(snapshots),
        )  # fmt: skip

    def _forget(self, number: int) -> None:
        self._engine.forget(number)
        self._snapshots.pop(number, None)
        self._bursts.pop(number, None)
