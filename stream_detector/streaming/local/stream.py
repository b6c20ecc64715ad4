"""Feeds a pipeline from a `LocalBroker` as Faust does from Kafka: fetches ahead, rebalances, commits now and then."""

import asyncio
import time
from collections.abc import Iterable, Mapping

from aiokafka.errors import KafkaError

from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, TopicPartition
from stream_detector.streaming.local.broker import LocalGroup, LocalRecord
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.ports import FetchState, GroupView
from stream_detector.streaming.worker.transport.fetched import Columns, Fetched, in_groups
from stream_detector.streaming.worker.transport.handle_and_commit import begin_or_fail, commit_declared

FETCHED_AHEAD = 2
"""Fetches that may wait to be handled."""

IDLE_SECONDS = 0.05


class LocalStream:
    """`ReadingsStream` for one member of a group."""

    def __init__(self, settings: Settings, pipeline: Pipeline, group: LocalGroup) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._group = group
        self._broker = group.broker
        self._positions: dict[int, tuple[int, int]] = {}
        self._fetches: asyncio.Queue[list[Fetched]] = asyncio.Queue(FETCHED_AHEAD)
        self._rebalanced = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._crash: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._in_hand: set[asyncio.Task[None]] = set()
        """Fetches whose alarms are on their way."""
        self._member = False
        self._killed = False
        pipeline.commit_with(self.commit)

    async def start(self) -> None:
        self._broker.answer()
        self._group.join(self._on_rebalance)
        self._tasks = [asyncio.create_task(work()) for work in (self._fetch, self._handle, self._commit_regularly)]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def stop(self) -> None:
        if self._killed:
            return
        fetching, handling, committing = self._tasks
        fetching.cancel()
        committing.cancel()
        await asyncio.gather(fetching, committing, return_exceptions=True)
        while not self._fetches.empty():
            self._fetches.get_nowait()
        self._pipeline.interrupt()
        await self._idle.wait()
        await asyncio.gather(*self._in_hand)
        handling.cancel()
        await self.commit()
        self._group.leave(self._on_rebalance)

    def kill(self) -> None:
        """End as SIGKILL ends a process: nothing more is handled or committed, and the group notices."""
        self._killed = True
        for task in (*self._tasks, *self._in_hand):
            task.cancel()
        self._group.leave(self._on_rebalance)

    async def crashed(self) -> BaseException:
        return await asyncio.shield(self._crash)

    def observe(self) -> GroupView:
        answered = round(time.time() * 1000)
        return GroupView(
            self._member, {number: FetchState(position, answered) for number, (position, _) in self._positions.items()}
        )

    async def leave(self) -> None:
        self._group.leave(self._on_rebalance)

    async def commit(self) -> bool:
        """Commit what the pipeline declares done."""
        return await commit_declared(self._pipeline, self._commit)

    async def committed_with_metadata(self, partitions: Iterable[int]) -> dict[int, tuple[int, str]]:
        """(offset, metadata) of the partitions that have a committed offset."""
        self._broker.answer()
        found = {number: self._broker.committed.get((self._group.name, self._tp(number))) for number in partitions}
        return {number: (entry.offset, entry.metadata) for number, entry in found.items() if entry is not None}

    async def _commit(self, offsets: Mapping[int, tuple[int, str]]) -> bool:
        # As Kafka, which knows the generation of who commits: what has become another's is no longer taken.
        share = self._group.share_of(self._on_rebalance)
        mine = {number: entry for number, entry in offsets.items() if number in self._positions and number in share}
        try:
            self._broker.commit(
                self._group.name, {self._tp(number): OffsetAndMetadata(*entry) for number, entry in mine.items()}
            )
        except KafkaError:
            return False  # tried again with the next commit
        return len(mine) == len(offsets)

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_seconds)
            await self.commit()

    async def _fetch(self) -> None:
        while True:
            if self._rebalanced.is_set():
                await self._rebalance()
            brought = []
            for number, (position, epoch) in list(self._positions.items()):
                tp = self._tp(number)
                records, end = self._broker.between(tp, position, self._settings.max_poll_records)
                if end == position or not self._broker.up:
                    continue
                self._positions[number] = end, epoch
                brought.append(Fetched(tp.topic, number, epoch, position, end, _columns(records)))
            for group in in_groups(brought):
                await self._fetches.put(group)
                if self._rebalanced.is_set():
                    break  # what was fetched is read again by whoever owns the partition then
            if not brought:
                await self._broker.wait_for_records(IDLE_SECONDS)

    async def _handle(self) -> None:
        while True:
            fetches = await self._fetches.get()
            self._idle.clear()
            try:
                acknowledged = await begin_or_fail(fetches, self._pipeline)
                if acknowledged is not None:
                    self._in_hand.add(acknowledged)
                    acknowledged.add_done_callback(self._in_hand.discard)
            finally:
                self._idle.set()

    async def _rebalance(self) -> None:
        """As Faust: what is declared is committed, then the new assignment is planned."""
        self._rebalanced.clear()
        self._member = False
        self._pipeline.interrupt()
        await self.commit()
        share = self._group.share_of(self._on_rebalance)
        self._positions.clear()
        if share:
            self._positions.update(await self._pipeline.plan(share, self))
        else:
            self._pipeline.revoke_others(set())
        self._member = True

    def _on_rebalance(self) -> None:
        self._rebalanced.set()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._crash.done():
            self._crash.set_result(error)

    def _tp(self, number: int) -> TopicPartition:
        return TopicPartition(self._settings.topic_readings, number)


def _columns(records: list[LocalRecord]) -> Columns:
    return Columns(
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
        [record.headers for record in records],
    )
