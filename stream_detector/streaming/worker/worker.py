"""The life of a worker: wait for the broker, run, watch, end within bounds."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import stamina
from aiokafka.errors import KafkaConnectionError, KafkaError

from stream_detector.bundle.object_store import shown
from stream_detector.engine.outcome import AssetStatus
from stream_detector.errors import BrokerError, StalledError, StreamDetectorError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import Unreachable, why_unreachable
from stream_detector.streaming.readers.committed_log import wanted_by_us
from stream_detector.streaming.state.group_facts import Silence
from stream_detector.streaming.worker.bundle_watch import BundleMovedError, BundleWatch
from stream_detector.streaming.worker.health.broker_probe import PROBE_SECONDS, BrokerProbe
from stream_detector.streaming.worker.health.metrics_server import MetricsServer
from stream_detector.streaming.worker.health.watchdog import Observation, Watchdog
from stream_detector.streaming.worker.health.worker_metrics import MOST_ASSET_GAUGES, MetricsRecorder
from stream_detector.streaming.worker.housekeeping import Housekeeping
from stream_detector.streaming.worker.lifecycle import ENDING, PASSING, REBUILDING, WAITING, Lifecycle
from stream_detector.streaming.worker.password_watch import PasswordWatch
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.ports import Clock, ReadingsStream
from stream_detector.streaming.worker.start_clock import StartClock
from stream_detector.version import version

log = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
SHOW_SHARE = 0.02
"""Most of a worker's time that showing its assets may take."""
SLICE_ASSETS, MOST_SLICES = 250, 20
"""At once, for the console 5 ms; of very many assets more, for batches have their turn after each slice."""
FIRST_WATCH_SECONDS = 0.03
FIRST_WATCHES = 160
"""Seconds between observations until the worker is ready; short, so that readiness does not wait for the next one."""
REBUILT_LOOK_SECONDS = 0.01
"""Between two looks whether the windows are whole; nobody is asked."""
MOST_REFUSALS = 3
"""In a row, when brokers refuse a login at the start: they may still be learning who their users are."""
FAILED_SHUTDOWN_SECONDS = 2.0
"""An end after a failure leaves things as they are; it waits no longer for connections to close."""


def longest_beat_seconds(settings: Settings) -> float:
    """How long the event loop may stand still: a batch may take as long as a stall, and a look comes on top."""
    return settings.stall_seconds + PROBE_SECONDS + WATCH_SECONDS


class Producer(Protocol):
    """`ConfirmedProducer`, as far as its start and its end go."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class AssetSource(Protocol):
    """Knows how the assets stand: `Detectors`."""

    def status(self, detailed: int | None = None) -> list[AssetStatus]: ...


class AssetView(Protocol):
    """Shows the assets to people, and those that are silent and known to no engine: `console_feed.ConsoleFeed`."""

    def observing(self, assets: Sequence[AssetStatus], unheard: Sequence[Silence], at_once: int) -> Iterator[None]: ...


class Rekeying(Protocol):
    """Runs until it is cancelled: `repartition.Repartition`."""

    async def run(self) -> None: ...


class Worker:
    """Runs one engine on its share of the partitions until `stop` is called or it fails.

    `composition.build_worker` puts one together.

    Args:
        open_stream: makes the stream that feeds the pipeline, once the brokers answer.
        ensure_topics: makes the topics exist; gives their numbers of partitions.
        console: is shown the assets, where there is one.
        rekeying: runs beside the detection, where there is one.
        start_clock: is told when each stage of the start is over.
        clock: monotonic, in seconds.
        watch_seconds: between two looks of the watchdog.
        why_unreachable: finds out why the brokers cannot be reached.
        housekeeping: looks after the topics and what lies in them, where that is the worker's business.
        bundle_watch: notices that another bundle is to decide, where the worker's was named by an alias.
        password_watch: notices that the brokers take another password, where it comes from a file.
    """

    def __init__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        detectors: AssetSource,
        pipeline: Pipeline,
        producer: Producer,
        open_stream: Callable[[], ReadingsStream],
        ensure_topics: Callable[[Settings], Awaitable[dict[str, int]]],
        probe: BrokerProbe,
        server: MetricsServer,
        recorder: MetricsRecorder,
        console: AssetView | None = None,
        rekeying: Rekeying | None = None,
        start_clock: StartClock | None = None,
        clock: Clock = time.monotonic,
        watch_seconds: float = WATCH_SECONDS,
        why_unreachable: Callable[[Settings], Awaitable[Unreachable | None]] = why_unreachable,
        housekeeping: Housekeeping | None = None,
        bundle_watch: BundleWatch | None = None,
        password_watch: PasswordWatch | None = None,
    ) -> None:
        self._bundle_watch = bundle_watch
        self._password_watch = password_watch
        self._begin_again = False
        self._housekeeping = housekeeping
        self._broker_answers = False
        self.settings = settings
        self.lifecycle = lifecycle
        self.pipeline = pipeline
        self.server = server
        self._detectors = detectors
        self._producer = producer
        self._open_stream = open_stream
        self._ensure_topics = ensure_topics
        self._probe = probe
        self._recorder = recorder
        self._console = console
        self._rekeying = rekeying
        self._start_clock = start_clock or StartClock(0.0)
        self._clock = clock
        self._watch_seconds = watch_seconds
        self._why_unreachable = why_unreachable
        self._watchdog = Watchdog(settings, clock())
        self._show_at = 0.0

    @property
    def exit_code(self) -> int:
        """What the process ends with as things stand."""
        return self.lifecycle.exit_code

    @property
    def begins_again(self) -> bool:
        """Whether it ended so that the process begins again, with another bundle or password."""
        return self._begin_again or isinstance(self.lifecycle.error, BundleMovedError)

    def stop(self) -> None:
        """Ask for an orderly end; safe to call from a signal handler or another thread."""
        self.lifecycle.stop()

    def reload(self) -> None:
        """Read secrets, certificates and the log level again."""
        self.server.reloader.reload()

    async def run(self) -> int:
        """Run until stopped; returns the exit code. The reason of a failure is in `lifecycle.error` and in the log.

        Raises:
            UsageError: the metrics cannot be served as set.
        """
        settings = self.settings
        self.lifecycle.begin()
        log.info("detector %s starts: bundle %s, group %s, instance %s, site %s, brokers %s",
                 version(), settings.bundle and shown(settings.bundle), settings.group, settings.instance or "none",
                 settings.site or "none", settings.bootstrap)  # fmt: skip
        self.server.start()
        address = "{}://{}:{}/".format(
            "https" if settings.metrics_cert_file else "http", settings.metrics_host, self.server.port
        )
        log.info("metrics on %smetrics%s", address, f", console on {address}" if self._console is not None else "")
        stream: ReadingsStream | None = None
        try:
            if await self._until_ending(self._reach_broker()):
                self._start_clock.passed("broker")
                self.pipeline.prepare()
                stream = self._open_stream()
                await self._until_ending(stream.start())
                self._start_clock.passed("framework")
                beside = [asyncio.create_task(self._watch(stream))]
                if self._housekeeping is not None:
                    beside.append(asyncio.create_task(self._keep_house(self._housekeeping)))
                if self._bundle_watch is not None:
                    beside.append(asyncio.create_task(self._begin_again_when(self._bundle_watch.moved)))
                if self._password_watch is not None:
                    beside.append(asyncio.create_task(self._begin_again_when(self._password_watch.changed)))
                if self._rekeying is not None:
                    beside.append(asyncio.create_task(self._rekey(self._rekeying)))
                await self._until_ending(self._until_crashed(stream))
                for task in beside:
                    task.cancel()
        except (StreamDetectorError, KafkaError) as error:
            self.lifecycle.fail(error)
        finally:
            self.lifecycle.not_ready = ENDING
            await self._wind_down(stream)
            self.server.stop()
            log.info("ended with exit code %d", self.exit_code)
        return self.exit_code

    async def _until_crashed(self, stream: ReadingsStream) -> None:
        error = await stream.crashed()
        if isinstance(error, KafkaConnectionError):
            # The client says that it cannot, whatever the cause.
            found = await self._why_unreachable(self.settings)
            error = error if found is None else StalledError(found.reason)
        self.lifecycle.fail(error)

    async def _rekey(self, rekeying: Rekeying) -> None:
        try:
            await rekeying.run()
        except asyncio.CancelledError:
            if wanted_by_us():
                raise
            self.lifecycle.fail(
                StalledError("the Kafka client broke the re-keying off; the next start goes on with it")
            )
        except Exception as error:  # noqa: BLE001 - reported, and the process ends
            self.lifecycle.fail(error)

    async def _until_ending(self, work: Coroutine[object, object, None]) -> bool:
        """Do the work unless the end comes first; True when it was done."""
        task = asyncio.create_task(work)
        ending = asyncio.create_task(self.lifecycle.ending.wait())
        await asyncio.wait([task, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        return False

    async def _reach_broker(self) -> None:
        """Wait for the broker with growing pauses, create topics, connect the producer."""
        settings, refusals = self.settings, 0
        self.lifecycle.not_ready = WAITING
        try:
            async for attempt in stamina.retry_context(
                on=KafkaError, attempts=None, timeout=settings.start_seconds, wait_initial=0.2, wait_max=5.0
            ):
                with attempt:
                    try:
                        await self._connect()
                    except KafkaError as error:
                        refusals = await self._say_why(error, refusals)
                        raise
        except KafkaError as error:
            raise StalledError(f"no broker at {settings.bootstrap} for {settings.start_seconds:g} s: {error}") from None

    async def _connect(self) -> None:
        """Create and check the topics, ask for rights, connect the producer."""
        settings = self.settings
        topics = await self._ensure_topics(settings)
        self._probe.all_partitions = set(range(topics[settings.topic_readings]))
        self.pipeline.state_partitions = topics.get(settings.topic_state)
        # A challenger judges the same machines; the champion tells of them.
        self.pipeline.tells_operating = settings.role == "champion" and settings.topic_operating in topics
        await self._probe.check_rights()
        await self._producer.start()

    async def _say_why(self, error: KafkaError, refusals: int) -> int:
        """Name the cause in the log and in the readiness; returns how often in a row the brokers have refused us.

        Raises:
            BrokerError: they have so often that it will not change by itself.
        """
        found = await self._why_unreachable(self.settings)
        reason = str(error) if found is None else found.reason
        if found is not None and found.refused and refusals + 1 >= MOST_REFUSALS:
            raise BrokerError(reason) from None
        self.lifecycle.not_ready = f"{WAITING}: {reason}"
        log.warning("waiting for the brokers: %s", reason)
        return refusals + 1 if found is not None and found.refused else 0

    async def _wind_down(self, stream: ReadingsStream | None) -> None:
        """Finish the batch in hand, commit and leave the group; after a failure leave as things are."""
        failed = self.lifecycle.error is not None
        # Faust waits for unacknowledged events whatever is cancelled, so it is left behind rather than cancelled.
        work = asyncio.create_task(self._close_all(None if failed else stream))
        done, _ = await asyncio.wait(
            {work}, timeout=FAILED_SHUTDOWN_SECONDS if failed else self.settings.shutdown_seconds
        )
        if not done:
            log.warning("no orderly end in time; what is not committed will be read again")
        elif work.exception() is not None:
            log.warning("no orderly end: %r", work.exception())

    async def _close_all(self, stream: ReadingsStream | None) -> None:
        if stream is not None:
            await stream.stop()
        await self._probe.close()
        if self._housekeeping is not None:
            await self._housekeeping.close()
        await self._producer.stop()
        await self.pipeline.close()

    async def _watch(self, stream: ReadingsStream) -> None:
        looks, seen = 0, Observation(False, None)
        while self.lifecycle.error is None:
            looks += 1
            self.lifecycle.beat()
            # Without looks the worker would never be ready, and nobody would see it stall.
            with self._outlived("the watchdog could not look"):
                seen = await self._probe.look(stream.observe(), self.pipeline)
                verdict = self._watchdog.look(seen, self._clock())
                self._broker_answers = seen.broker_answers
                await self._report(seen)
                if verdict is not None:
                    try:
                        await stream.leave()
                    finally:  # it ends, whatever becomes of that
                        self.lifecycle.fail(StalledError(verdict))
            if "ready" in self._start_clock.stages or looks >= FIRST_WATCHES:
                await asyncio.sleep(self._watch_seconds)
            elif self.lifecycle.not_ready == REBUILDING:
                with self._outlived("the watchdog could not look"):
                    await self._report_when_rebuilt(seen, stream)
            else:
                await asyncio.sleep(FIRST_WATCH_SECONDS)

    async def _report_when_rebuilt(self, seen: Observation, stream: ReadingsStream) -> None:
        """Wait until the windows are whole, or the next look at the brokers is due.

        What they have just said still holds then; their answers to another look would wait for the batches that follow.
        """
        for _ in range(max(1, round(self._watch_seconds / REBUILT_LOOK_SECONDS))):
            if self.pipeline.planning or not stream.observe().member:
                return  # the partitions are shared out anew
            if not self.pipeline.rebuilding:
                await self._report(seen)
                return
            await asyncio.sleep(REBUILT_LOOK_SECONDS)

    async def _keep_house(self, housekeeping: Housekeeping) -> None:
        """Apart from the watch: it waits for the batch in hand, and that one may wait for ever."""
        while self.lifecycle.error is None:
            with self._outlived("the topics could not be looked after"):
                if self._broker_answers:
                    await housekeeping.look()
            await asyncio.sleep(self._watch_seconds)

    @contextmanager
    def _outlived(self, trouble: str) -> Iterator[None]:
        """Whatever goes wrong within is said, and the next look comes all the same; a stall ends the worker."""
        try:
            yield
        except asyncio.CancelledError:
            if wanted_by_us():
                raise
            log.warning("%s: the Kafka client broke it off", trouble)
        except StalledError as error:
            self.lifecycle.fail(error)
        except Exception:
            log.exception("%s", trouble)

    async def _begin_again_when(self, moved: Callable[[], Awaitable[bool]]) -> None:
        """Apart from the other looks: a registry whose file system hangs must not keep anybody from watching."""
        while True:
            await asyncio.sleep(self._watch_seconds)  # first too: what it looks at was read just now
            if await moved():
                break
        self._begin_again = True
        self.lifecycle.stop()

    async def _report(self, seen: Observation) -> None:
        before, reason = self.lifecycle.not_ready, self.pipeline.waiting or self._watchdog.reason
        if self._housekeeping is not None and seen.broker_answers:
            reason = self._housekeeping.trouble or reason
        if self._bundle_watch is not None:
            reason = self._bundle_watch.trouble or reason
        if (reason is None) != (before is None or before.startswith(PASSING)):
            if reason is None:
                log.info("all is well again")
            else:
                log.warning("%s", reason)
        if reason is None and self.pipeline.rebuilding:
            reason = REBUILDING
        self.lifecycle.not_ready = reason
        if reason is None and "ready" not in self._start_clock.stages:
            self._start_clock.passed("ready")
            log.info("ready; seconds since the process began: %s", self._start_clock)
        self._recorder.watched(seen, self.pipeline.partitions, ready=reason is None)
        if self._clock() >= self._show_at:
            await self._show()

    async def _show(self) -> None:
        """Renew the console, the sums and the drift; batches have their turn in between."""
        began = self._clock()
        assets = self._detectors.status(MOST_ASSET_GAUGES)
        unheard = self.pipeline.unheard(assets)
        self._recorder.fleet(assets, unheard)
        if self._housekeeping is not None:
            self._housekeeping.observe(assets, unheard)
        taken, resumed = 0.0, began
        for _ in self._show_in_slices(assets, unheard, max(SLICE_ASSETS, len(assets) // MOST_SLICES)):
            taken += self._clock() - resumed
            await asyncio.sleep(0)
            resumed = self._clock()
        taken += self._clock() - resumed
        self._show_at = began + max(self._watch_seconds / 2, taken / SHOW_SHARE)

    def _show_in_slices(
        self, assets: Sequence[AssetStatus], unheard: Sequence[Silence], at_once: int
    ) -> Iterator[None]:
        if self._console is not None:
            yield from self._console.observing(assets, unheard, at_once)
        told = assets[:MOST_ASSET_GAUGES]
        for first in range(0, len(told), at_once):
            self._recorder.assets(told[first : first + at_once])
            yield
