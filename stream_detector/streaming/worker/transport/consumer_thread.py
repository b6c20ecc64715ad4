"""The consumer's thread: fetches, seeks and commits in an event loop of its own.

Seeks and fetches are numbered (epochs) here, where nothing can come in between: a fetch that crossed a seek is known.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import aiokafka
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownError,
)
from aiokafka.protocol.group import LeaveGroupRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream_detector.errors import StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import own_committed_offsets
from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, TopicPartition
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.worker.ports import FetchState, GroupView
from stream_detector.streaming.worker.transport.draining import drain
from stream_detector.streaming.worker.transport.fetched import Columns, Fetched
from stream_detector.streaming.worker.transport.membership import Membership
from stream_detector.streaming.worker.transport.pacing import Pacing

log = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0

MANY_RECORDS = 1_000
"""Who is given so many at a time catches up."""
LEAST_REST_SECONDS = 0.001
"""Brokers wait whole milliseconds."""
CATCH_UP_WAIT_SECONDS = 0.02
"""For so long a broker may hold back a fetch meanwhile: fifty useless ones a second cost nothing that could be seen."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread. Everything here runs in its event loop."""

    def __init__(self, *args: Any, settings: Settings, **kwargs: Any) -> None:
        self.settings = settings
        super().__init__(*args, **kwargs)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positions: dict[TopicPartition, int] = {}
        self.epochs: dict[TopicPartition, int] = {}
        self.pacing = Pacing()
        self._membership = Membership(self.settings.session_timeout_seconds)

    async def on_start(self) -> None:
        await super().on_start()
        if self.settings.instance is not None:
            self._membership.watch(self._ensure_consumer()._coordinator)  # noqa: SLF001 - the answers to heartbeats pass there

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002 - theirs
        self._assignor = RoundRobinPartitionAssignor
        settings = self.settings
        return aiokafka.AIOKafkaConsumer(
            **aiokafka_options(settings),
            client_id=f"stream-detector-{settings.instance or 'worker'}",
            group_id=settings.group,
            group_instance_id=settings.instance,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=settings.max_poll_records,
            max_partition_fetch_bytes=settings.fetch_bytes,
            fetch_max_wait_ms=int(settings.fetch_wait_seconds * 1000),
            session_timeout_ms=int(settings.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_seconds * 1000 / 5),
            rebalance_timeout_ms=int(settings.rebalance_timeout_seconds * 1000),
            max_poll_interval_ms=int(max(settings.rebalance_timeout_seconds, settings.stall_seconds) * 1000),
            request_timeout_ms=40_000,
            # How soon a topic that was deleted and made again is noticed.
            metadata_max_age_ms=10_000,
        )

    async def seek_to(self, plan: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """Seek and number in one go: no fetch can come in between, for this does not wait."""
        consumer = self._ensure_consumer()
        self.positions.clear()
        self.epochs.clear()
        assigned = consumer.assignment()
        for partition, (offset, epoch) in plan.items():
            if partition not in assigned:
                continue  # taken away since it was planned; the rebalance plans anew
            consumer.seek(partition, offset)
            self.positions[partition] = offset
            self.epochs[partition] = epoch
        for partition in assigned - plan.keys():
            # Not to be read for now; without any position the client would ask for one again and again.
            consumer.seek(partition, 0)
            consumer.pause(partition)

    async def take_back(self, unread: Sequence[Fetched]) -> None:
        """Fetch these again, for nobody took them; a seek that has come since decides for itself."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for fetched in unread:
            partition = TopicPartition(fetched.topic, fetched.partition)
            if partition in assigned and self.epochs.get(partition) == fetched.epoch:
                consumer.seek(partition, fetched.start)
                self.positions[partition] = fetched.start

    async def _fetch_records(  # type: ignore[override]  # their values are lists of records, ours are `Fetched`
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - theirs
        max_records: int | None = None,  # noqa: ARG002 - theirs
    ) -> dict[TP, Fetched]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher  # noqa: SLF001 - what was fetched lies there
        if consumer._closed or fetcher._closed:  # noqa: SLF001 - as aiokafka's getmany asks
            raise ConsumerStoppedError
        most = self.settings.max_poll_records
        with_headers = self.settings.field_mapping_file is not None
        try:
            with fetcher._subscriptions.fetch_context():  # noqa: SLF001 - as aiokafka's getmany holds it
                drained = await drain(fetcher, active_partitions, timeout, most, with_headers)
        except NoOffsetForPartitionError:
            return {}  # assigned, and the seek is still to come
        except OffsetOutOfRangeError as error:
            raise StalledError(
                f"the log does not hold the offsets that are next to be read ({error}): retention removed them, or the "
                "topic was deleted and made again; the next start plans anew"
            ) from None
        self._ask_for_the_next(fetcher, sum(map(len, drained.values())))
        # From here to the end nothing waits, so positions and epochs belong to the records.
        assignment = consumer._subscription.subscription and consumer._subscription.subscription.assignment  # noqa: SLF001 - the state of an assignment is told nowhere else
        if assignment is None:
            return {}
        fetched = {}
        for partition, start in self.positions.items():
            if partition not in assignment.tps:
                continue
            state = assignment.state_value(partition)
            if not state.has_valid_position:
                continue
            end = state.position
            if end == start:
                continue
            # A position that moved without records passed markers of transactions or aborted records.
            name, number = partition
            fetched[TP(name, number)] = Fetched(
                name, number, self.epochs[partition], start, end, drained.get(partition) or Columns()
            )
            self.positions[partition] = end
        return fetched

    def look_again(self) -> None:
        """A buffer has room again: a fetch that waits for news of the others looks at what lies here of its partition.

        Called from another thread.
        """
        self.thread_loop.call_soon_threadsafe(self._wake_waiting_fetches)

    def _wake_waiting_fetches(self) -> None:
        fetcher = None if self._consumer is None else self._consumer._fetcher  # noqa: SLF001 - only news of a broker end a wait in public
        if fetcher is not None:
            for waiter in list(fetcher._fetch_waiters):  # noqa: SLF001 - the same
                fetcher._notify(waiter)  # noqa: SLF001 - the same

    def _ask_for_the_next(self, fetcher: Any, records: int) -> None:
        """Tell the next fetches how many bytes a broker may wait for, and how long. `records`: of this fetch.

        A broker has one fetch of ours at a time. While the records of one partition wait here for their turn, the next
        fetch asks for the others alone; where those have nothing new, it would hold up the one that has much.
        """
        least_bytes, wait = 1, self.settings.fetch_wait_seconds
        if records >= MANY_RECORDS:
            wait = min(wait, CATCH_UP_WAIT_SECONDS)
        elif (rest := self.pacing.rest()) >= LEAST_REST_SECONDS:
            least_bytes, wait = self.settings.fetch_bytes, min(wait, rest)
        fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = least_bytes, round(1000 * wait)  # noqa: SLF001 - set for all fetches at once in public

    async def commit_with_metadata(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> bool:
        """Commit; False where the group has moved on and the offsets are another's business now.

        Raises:
            StalledError: the broker refuses, e.g. for another worker runs under the same instance name.
        """
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        mine = {tp: OffsetAndMetadata(*value) for tp, value in offsets.items() if tp in assigned}
        if not mine:
            return False
        try:
            await consumer.commit(mine)
        except UnknownError as error:
            # aiokafka does not know the code of a fenced instance (82).
            name = self.settings.instance
            raise StalledError(
                f"the commit was refused ({error}); if another worker of the group runs as instance {name!r}, it owns "
                "the partitions now: give each worker a name of its own"
            ) from None
        except (CommitFailedError, IllegalStateError) as error:
            log.info("offsets not committed, the group has moved on: %s", error)
            return False
        except KafkaError as error:
            log.warning("offsets not committed, will try again: %s", error)
            return False
        return len(mine) == len(offsets)

    async def committed_with_metadata(
        self, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        return await own_committed_offsets(self._ensure_consumer(), partitions)

    def observe(self) -> GroupView:
        """What the consumer knows now, without asking anybody.

        Raises:
            StalledError: another worker of the group runs under the same instance name.
        """
        if self._membership.replaced:
            raise StalledError(
                f"another worker of the group runs as instance {self.settings.instance!r} and has taken this one's "
                "place; give each worker a name of its own"
            )
        consumer = self._consumer
        subscription = None if consumer is None else consumer._subscription.subscription  # noqa: SLF001 - the state of an assignment is told nowhere else
        if subscription is None or subscription.assignment is None or subscription._reassignment_in_progress:  # noqa: SLF001 - a rebalance is told nowhere else
            return GroupView(False, {})
        seen = {}
        for tp in subscription.assignment.tps:
            state = subscription.assignment.state_value(tp)
            seen[tp.partition] = FetchState(state.position if state.has_valid_position else None, state.timestamp)
        return GroupView(True, seen)

    async def leave(self) -> None:
        """Leave the consumer group for good, as a member with an instance name never does by itself.

        Without effect where the coordinator does not answer within a second. Called from another thread.
        """
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.call_thread(_leave, self._ensure_consumer()._coordinator)  # noqa: SLF001 - a static member leaves by no public call
        except (KafkaError, TimeoutError, OSError) as error:
            log.info("the group was not left: %r", error)


async def _leave(coordinator: Any) -> None:
    if coordinator.generation > 0:
        await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))  # noqa: SLF001 - a static member leaves by no public call
