"""The Faust app: one agent on the readings topic, whose events are what was fetched together."""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import faust
from faust.tables import GlobalTable, Table, TableManager
from faust.types import TP, EventT
from mode import Service
from yarl import URL

from stream_detector.settings import Settings
from stream_detector.streaming.worker.ports import GroupView
from stream_detector.streaming.worker.transport.faust_driver import BatchConsumer, BatchTransport
from stream_detector.streaming.worker.transport.fetched import Columns, Fetched
from stream_detector.streaming.worker.transport.handle_and_commit import begin_or_fail
from stream_detector.streaming.worker.transport.offset_keeper import BatchProcessor

log = logging.getLogger(__name__)

TURNS_IN_HAND = 10
"""Turns of the event loop between two batches while alarms are on their way; they take a tenth of a millisecond.

The Kafka client takes three to write a request, and about eight from an answer to the next request. Between two batches
that wait there would be none, and each of them would wait for whole batches.
"""


class _App(faust.App):
    def _create_directories(self) -> None:
        """Faust keeps tables on disk; there are none here, and the file system may be read-only."""

    def _init_fixups(self) -> list[Any]:
        """Faust looks for adapters to Django and the like in the metadata of every package that is installed."""
        return []


class _NoTables(TableManager):
    async def on_start(self) -> None:
        """Faust waits a second for tables to be declared; there are none."""
        await self._update_channels()
        await self.recovery.start()


class _NoAssignor:
    """Faust asks its assignor which tables it keeps; partitions are shared out by the consumer's."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def assigned_actives(self) -> set[TP]:
        return set()

    def assigned_standbys(self) -> set[TP]:
        return set()


class _NoLeader(Service):
    """Faust starts one for timers that run in one worker alone; there are none."""

    def __init__(self, app: faust.App, **options: Any) -> None:  # noqa: ARG002 - theirs
        super().__init__(**options)


class _AsItIs(faust.Schema[Any, Any]):
    """The value of an event is the list of `Fetched` that the transport made."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002 - theirs
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002 - theirs
        return message.value


class FaustStream:
    """`ReadingsStream` on Kafka."""

    def __init__(self, settings: Settings, pipeline: BatchProcessor) -> None:
        self._app = build_app(settings, pipeline)
        pipeline.commit_with(self._commit)

    async def _commit(self) -> None:
        consumer = self._app.consumer
        if isinstance(consumer, BatchConsumer):
            await consumer.commit()

    async def start(self) -> None:
        await self._app.start()

    async def stop(self) -> None:
        await self._app.stop()

    async def crashed(self) -> BaseException:
        await self._app._crashed.wait()  # noqa: SLF001 - Faust tells of a crash nowhere else
        reason: BaseException | None = self._app.crash_reason
        return reason or RuntimeError("the stream framework crashed without a reason")

    def observe(self) -> GroupView:
        consumer = self._app.consumer
        return consumer.observe() if isinstance(consumer, BatchConsumer) else GroupView(False, {})

    async def leave(self) -> None:
        consumer = self._app.consumer
        if isinstance(consumer, BatchConsumer):
            await consumer.leave()


def build_app(settings: Settings, pipeline: BatchProcessor) -> faust.App:
    """The app, not started."""
    app = _App(
        settings.group,
        broker=[URL(f"kafka://{address}") for address in settings.bootstrap.split(",")],
        datadir=tempfile.gettempdir(),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # With standby replicas Faust picks its own assignor, which gives three workers two, two and no partitions.
        table_standby_replicas=0,
        TableManager=_NoTables,
        # What is not used. Its own Faust would import, 20 ms of a start.
        PartitionAssignor=_NoAssignor,
        LeaderAssignor=_NoLeader,
        SetTable=Table,
        SetGlobalTable=GlobalTable,
        Worker=Service,
        # Counts events; the default of 4096 would be hundreds of megabytes.
        stream_buffer_maxsize=2,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        broker_max_poll_records=settings.max_poll_records,
        broker_commit_interval=settings.commit_interval_seconds,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 5,
        broker_rebalance_timeout=settings.rebalance_timeout_seconds,
        # Bounds `perform_seek` too, after which Faust would go on without it.
        broker_request_timeout=max(90.0, settings.rebalance_stall_seconds),
        consumer_auto_offset_reset="earliest",
    )
    app.transport = BatchTransport(app.conf.broker_consumer, app, settings=settings, keeper=pipeline)
    readings = app.topic(settings.topic_readings, schema=_AsItIs(allow_empty=True), acks=True)

    in_hand: set[asyncio.Task[None]] = set()

    async def detect(stream: Any) -> AsyncIterator[None]:
        async for event in stream.noack().events():
            began = time.thread_time()
            await _handle(event, pipeline, in_hand)
            cast(BatchConsumer, app.consumer).worked(time.thread_time() - began)
            yield

    # `app.agent` also looks up where in its source the function stands, for a search that is off: 50 ms of a start.
    agent = faust.Agent(detect, name="detect", app=app, channel=readings, on_error=app._on_agent_error)  # noqa: SLF001 - as `app.agent` does it
    app.agents[agent.name] = agent
    app.topics.beacon.add(agent)

    async def assigned(_sender: Any, partitions: set[Any], **_: Any) -> None:
        # `perform_seek` is not called where no partition is left.
        if not partitions:
            pipeline.revoke_others(set())

    app.on_partitions_assigned.connect(cast(Any, assigned))
    return app


async def _handle(event: EventT[Any], pipeline: BatchProcessor, in_hand: "set[asyncio.Task[None]]") -> None:
    """Returns when the next event may be handled; this one is in hand until its alarms are acknowledged."""
    # An exception in an agent's body would lose its batch silently, so it never leaves: the process ends instead, and
    # until then this batch is neither acknowledged nor followed by another.
    acknowledged = await begin_or_fail(cast(list[Fetched], event.value), pipeline)

    def ended(task: "asyncio.Task[None]") -> None:
        in_hand.discard(task)
        if not task.cancelled():
            _let_go(event)

    if acknowledged is None:
        _let_go(event)
    else:
        in_hand.add(acknowledged)  # the event loop alone would not keep it
        acknowledged.add_done_callback(ended)
    for _ in range(TURNS_IN_HAND if in_hand else 1):
        await asyncio.sleep(0)


def _let_go(event: EventT[Any]) -> None:
    # Faust keeps events in cycles until the garbage collector comes by, which is rare here: what is done is let go.
    for fetched in cast(list[Fetched], event.value):
        fetched.columns = Columns()
    event.ack()
