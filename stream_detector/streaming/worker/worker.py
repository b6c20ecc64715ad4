"""The life of a worker: wait for the broker, run, watch, end within bounds."""

import asyncio
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import faust
import stamina
from aiohttp import web
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from stream_detector.bundle.manifest import Manifest
from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.detection.drift import ScoreReference
from stream_detector.errors import StalledError, StreamDetectorError
from stream_detector.exit_codes import EXIT_SOFTWARE
from stream_detector.metrics import WorkerMetrics, new_registry
from stream_detector.settings import Settings
from stream_detector.streaming.clients.producer import ConfirmedProducer
from stream_detector.streaming.clients.topics import ensure_topics
from stream_detector.streaming.feeds.console_feed import ConsoleFeed
from stream_detector.streaming.sources.repartition import Repartition, read_map
from stream_detector.streaming.worker.agent import build_app
from stream_detector.streaming.worker.broker_probe import PROBE_SECONDS, Lookout
from stream_detector.streaming.worker.leaving import leave_for_good
from stream_detector.streaming.worker.metrics_server import MetricsServer
from stream_detector.streaming.worker.pipeline import DetectionEngine, Pipeline
from stream_detector.streaming.worker.start_clock import StartClock
from stream_detector.streaming.worker.watchdog import Sight, Watchdog
from stream_detector.streaming.worker.worker_metrics import MOST_ASSET_GAUGES, Measuring

log = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
SHOW_SHARE = 0.02
"""Most of a worker's time that showing its assets may take."""
FIRST_WATCH_SECONDS = 0.1
FIRST_WATCHES = 50
"""So often the first looks follow each other, until the worker is ready: nobody shall wait for a look at a clock."""


STARTING, WAITING, REBUILDING = "starting", "waiting for the broker", "rebuilding windows"
PASSING = (STARTING, WAITING, REBUILDING)
"""Reasons for not being ready that are no trouble."""


def exit_code_of(error: BaseException) -> int:
    """What the process ends with: a broker's error means start again (75), one of ours is 70."""
    if isinstance(error, StreamDetectorError):
        return error.exit_code
    return StalledError.exit_code if isinstance(error, KafkaError) else EXIT_SOFTWARE


class Worker:
    """Runs one engine on its share of the partitions until `stop` is called or it fails."""

    def __init__(
        self,
        settings: Settings,
        engine: DetectionEngine,
        bundle_id: str,
        rewind_seconds: float,
        registry: CollectorRegistry | None = None,
        clock: StartClock | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock or StartClock(0.0)
        self.registry = registry or new_registry()
        self.metrics = WorkerMetrics(self.registry)
        self.measuring = Measuring(self.metrics)
        self.error: BaseException | None = None
        self._engine = engine
        assets_file, mapping_file = settings.sensor_assets_file, settings.field_mapping_file
        mapping = None if mapping_file is None else FieldMapping.load(mapping_file)
        self._repartition = None
        if assets_file is not None:
            # Re-keying translates the records already, where the name of their topic is known.
            self._repartition, mapping = Repartition(settings, read_map(assets_file), mapping), None
        self._producer = ConfirmedProducer(settings)
        self.pipeline = Pipeline(
            settings, engine, bundle_id, rewind_seconds, self._producer, self.measuring, self._fail, mapping
        )
        self._watchdog = Watchdog(settings, time.monotonic())
        self._lookout = Lookout(settings, self.pipeline)
        self._not_ready: str | None = STARTING
        self.server = MetricsServer(
            settings, self.registry, self._unhealthy, lambda: self._not_ready, self._extend_server
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._beat_at = time.monotonic()
        self._show_at = 0.0

    def describe_bundle(self, manifest: Manifest) -> None:
        """Show the bundle in the metrics and on the console."""
        if self.settings.console:
            self.measuring.console = ConsoleFeed(self.settings, manifest, lambda: self._not_ready)
        self.metrics.bundle_info.labels(manifest.bundle_id, manifest.recipe).set(1)
        self.measuring.expect(ScoreReference.from_json(manifest.metrics.get("scores")))
        self.metrics.bundle_sensors.set(len(manifest.sensors))
        self.metrics.bundle_loaded.set_to_current_time()
        if manifest.training.until_time is not None:
            self.metrics.bundle_trained.set(manifest.training.until_time)

    def stop(self) -> None:
        """Ask for an orderly end; safe to call from a signal handler or another thread."""
        if self._loop is None:
            self._ending.set()
        else:
            self._loop.call_soon_threadsafe(self._ending.set)

    async def run(self) -> int:
        """Run until stopped; returns the exit code. The reason of a failure is in `error` and in the log.

        Raises:
            UsageError: the metrics cannot be served as set.
        """
        self._loop = asyncio.get_running_loop()
        self.server.start()
        log.info("metrics on http%s://%s:%d/metrics", "s" if self.settings.metrics_cert_file else "",
                 self.settings.metrics_host, self.server.port)  # fmt: skip
        app: faust.App | None = None
        watching: asyncio.Task[None] | None = None
        try:
            if await self._until_ending(self._reach_broker()):
                self._clock.passed("broker")
                app = build_app(self.settings, self.pipeline)
                await self._until_ending(app.start())
                self._clock.passed("framework")
                watching = asyncio.create_task(self._watch(app))
                rekeying = None if self._repartition is None else asyncio.create_task(self._rekey(self._repartition))
                crashed = asyncio.create_task(app._crashed.wait())
                ending = asyncio.create_task(self._ending.wait())
                await asyncio.wait([crashed, ending], return_when=asyncio.FIRST_COMPLETED)
                if app.crashed and self.error is None:
                    self._fail(app.crash_reason or RuntimeError("the stream framework crashed without a reason"))
                for task in (crashed, ending, watching, rekeying):
                    if task is not None:
                        task.cancel()
        except (StreamDetectorError, KafkaError) as error:
            self._fail(error)
        finally:
            self._not_ready = "ending"
            await self._wind_down(app)
            self.server.stop()
        return 0 if self.error is None else exit_code_of(self.error)

    async def _rekey(self, repartition: Repartition) -> None:
        try:
            await repartition.run()
        except Exception as error:  # noqa: BLE001 - reported, and the process ends
            self._fail(error)

    async def _until_ending(self, work: Awaitable[Any]) -> bool:
        """Do the work unless the end comes first; True when it was done."""
        task = asyncio.ensure_future(work)
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait([task, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        return False

    async def _reach_broker(self) -> None:
        """Wait for the broker with growing pauses, create topics, connect the producer."""
        settings = self.settings
        try:
            async for attempt in stamina.retry_context(
                on=KafkaError, attempts=None, timeout=settings.start_seconds, wait_initial=0.2, wait_max=5.0
            ):
                with attempt:
                    self._not_ready = WAITING
                    topics = await ensure_topics(settings)
                    self._lookout.all_partitions = set(range(topics[settings.topic_readings]))
                    await self._producer.start()
        except KafkaError as error:
            raise StalledError(f"no broker at {settings.bootstrap} for {settings.start_seconds:g} s: {error}") from None

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
            code = exit_code_of(error)
            ours = code == EXIT_SOFTWARE
            log.error("ending with exit code %d: %s", code, error or repr(error), exc_info=error if ours else None)
        self._not_ready = str(error)
        self._ending.set()

    async def _wind_down(self, app: faust.App | None) -> None:
        """Finish the batch in hand, commit and leave the group; after a failure leave as things are."""
        # Faust waits for unacknowledged events whatever is cancelled, so it is left behind rather than cancelled.
        work = asyncio.create_task(self._close_all(None if self.error is not None else app))
        done, _ = await asyncio.wait({work}, timeout=self.settings.shutdown_seconds if self.error is None else 2.0)
        if not done:
            log.warning("no orderly end in time; what is not committed will be read again")
        elif work.exception() is not None:
            log.warning("no orderly end: %r", work.exception())

    async def _close_all(self, app: faust.App | None) -> None:
        if app is not None:
            await app.stop()
        await self._lookout.close()
        await self._producer.stop()

    async def _watch(self, app: faust.App) -> None:
        looks = 0
        while True:
            looks += 1
            self._beat_at = time.monotonic()
            try:
                sight = await self._lookout.look(app.consumer)
                verdict = self._watchdog.look(sight, time.monotonic())
                self._report(sight)
                if verdict is not None:
                    try:
                        await leave_for_good(app.consumer)
                    finally:  # it ends, whatever becomes of that
                        self._fail(StalledError(verdict))
                    return
            except asyncio.CancelledError:
                raise
            except StalledError as error:
                self._fail(error)
                return
            except Exception:
                log.exception("the watchdog could not look")
            starting = "ready" not in self._clock.stages and looks < FIRST_WATCHES
            await asyncio.sleep(FIRST_WATCH_SECONDS if starting else WATCH_SECONDS)

    def _report(self, sight: Sight) -> None:
        if (self._watchdog.reason is None) != (self._not_ready is None or self._not_ready in PASSING):
            log.warning("%s", self._watchdog.reason or "all is well again")
        self._not_ready = self._watchdog.reason
        if self._not_ready is None and self.pipeline.rebuilding:
            self._not_ready = REBUILDING
        if self._not_ready is None and "ready" not in self._clock.stages:
            self._clock.passed("ready")
            log.info("ready; seconds since the process began: %s", self._clock)
        self.measuring.watched(sight, self.pipeline.partitions, ready=self._not_ready is None)
        if time.monotonic() >= self._show_at:
            self._show()

    def _show(self) -> None:
        """Renew the gauges and the console; with ten thousand assets that takes a tenth of a second."""
        began = time.monotonic()
        self.measuring.assets(self._engine.status(MOST_ASSET_GAUGES))
        taken = time.monotonic() - began
        self._show_at = began + max(WATCH_SECONDS / 2, taken / SHOW_SHARE)

    def _extend_server(self, app: web.Application) -> None:
        if self.measuring.console is not None:
            self.measuring.console.serve(app)

    def _unhealthy(self) -> str | None:
        """Alive unless the event loop hangs; asked from the metrics thread."""
        still = time.monotonic() - self._beat_at
        if still > self.settings.stall_seconds + PROBE_SECONDS + WATCH_SECONDS:
            return f"the worker's loop has not turned for {still:.0f} s"
        return None


def tame_garbage_collector() -> None:
    """What is there now stays; full collections become rare. Twice the throughput, measured with `make bench`.

    Without a collection before: it takes a tenth of a second of the start and frees a few megabytes.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    gc.enable()


def force_exit_after(seconds: float, code: Callable[[], int]) -> None:
    """End the process after so long whatever hangs: a broker that is away makes an orderly end wait for ever."""

    def end() -> None:
        logging.getLogger(__name__).warning("no orderly end within %g s, forced", seconds)
        sys.stderr.flush()
        os._exit(code())

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
