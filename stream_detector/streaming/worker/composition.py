"""Puts a worker together: the one place where settings, bundle and adapters become objects that know each other."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.bundle_table import AnyBundle, AnyManifest, bundles_of, manifests_of
from stream_detector.bundle.manifest import Manifest
from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.decoding.held_table import HeldTable
from stream_detector.engine.assets.snapshots import largest_bytes
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.table_engine import engine_of
from stream_detector.metrics import WorkerMetrics
from stream_detector.operations.ledger.scope import Scope
from stream_detector.operations.record_guard import RecordGuard
from stream_detector.process_metrics import new_registry
from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import Unreachable, why_unreachable
from stream_detector.streaming.clients.kafka_types import KafkaProducer
from stream_detector.streaming.clients.producer import ConfirmedProducer, open_producer
from stream_detector.streaming.feeds.console_feed import ConsoleFeed
from stream_detector.streaming.readers.log_reader import LogReader, open_log_reader
from stream_detector.streaming.readers.schema_registry import registrar_of, registry_of
from stream_detector.streaming.readers.translation import mapping_of, policies_of
from stream_detector.streaming.sources.placing import read_map
from stream_detector.streaming.sources.repartition import Repartition
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.topics import topics
from stream_detector.streaming.topics.checks import TopicNeeds
from stream_detector.streaming.topics.watch import AdminTopicCounts, TopicCounts, TopicWatch
from stream_detector.streaming.worker.alarm_sender import AlarmSender, StartedSender
from stream_detector.streaming.worker.bundle_watch import BundleWatch
from stream_detector.streaming.worker.health.broker_probe import BrokerProbe
from stream_detector.streaming.worker.health.metrics_server import MetricsServer
from stream_detector.streaming.worker.health.worker_metrics import MetricsRecorder
from stream_detector.streaming.worker.housekeeping import Housekeeping
from stream_detector.streaming.worker.lifecycle import Lifecycle
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.planning import Planner
from stream_detector.streaming.worker.offsets.recovery import ScoredBy
from stream_detector.streaming.worker.password_watch import password_watch_of
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.ports import Clock, DetectionEngine, ReadingsStream
from stream_detector.streaming.worker.start_clock import StartClock
from stream_detector.streaming.worker.transport.agent import FaustStream
from stream_detector.streaming.worker.worker import WATCH_SECONDS, Worker, longest_beat_seconds


def build_worker(
    settings: Settings,
    bundle: AnyBundle,
    start_clock: StartClock | None = None,
    *,
    engine: DetectionEngine | None = None,
    registry: CollectorRegistry | None = None,
    open_log: Callable[[Settings], LogReader] = open_log_reader,
    open_producer: Callable[[Settings], KafkaProducer] = open_producer,
    open_stream: Callable[[Settings, Pipeline], ReadingsStream] = FaustStream,
    ensure_topics: Callable[[Settings], Awaitable[dict[str, int]]] | None = None,
    check_topics: Callable[[Settings, TopicNeeds], Coroutine[Any, Any, None]] | None = None,
    topic_counts: TopicCounts | None = None,
    clock: Clock = time.monotonic,
    watch_seconds: float = WATCH_SECONDS,
    why_unreachable: Callable[[Settings], Awaitable[Unreachable | None]] = why_unreachable,
    bundle_watch: BundleWatch | None = None,
    load_bundle: Callable[[str], Bundle] | None = None,
) -> Worker:
    """A worker that is ready to run; every adapter can be another one.

    Args:
        bundle: what to detect with; one, or a table of several.
        start_clock: is told when each stage of the start is over.
        engine: instead of one that runs the bundle.
        registry: instead of a new one.
        open_log, open_producer, open_stream, ensure_topics: the brokers; topics are made and checked where None.
        check_topics: holds them against what a bundle asks that a control record names; as `ensure_topics` where None.
        topic_counts: tells the partitions of topics while it runs; as `ensure_topics` where None.
        clock: monotonic, in seconds.
        watch_seconds: between two looks of the watchdog.
        why_unreachable: finds out why the brokers cannot be reached.
        bundle_watch: notices that another bundle is to decide.
        load_bundle: fetches the bundle with this id, which a control record names, and checks it as at a start.

    Raises:
        UsageError: a file that the settings name cannot be read.
    """
    manifest = bundle.manifest
    needs = needs_of(bundle, settings)
    rekeying, mapping = _sources(settings)
    lifecycle = Lifecycle(longest_beat_seconds(settings), clock)
    metrics = WorkerMetrics(registry or new_registry(settings.site, settings.certificates()))
    recorder = MetricsRecorder(metrics, manifest, clock)
    guard = RecordGuard(lambda topic, reason: metrics.console_skipped.labels(topic, reason).inc())
    console = ConsoleFeed(settings, manifest, lifecycle.why_not_ready, guard) if settings.console else None
    producer: StartedSender = ConfirmedProducer(settings, open_producer, clock)
    if settings.alarm_schema != "none":
        producer = AlarmSender(settings, producer, registrar_of(settings), clock)

    def log() -> LogReader:
        return open_log(settings)

    def detector_of(
        bundle: AnyBundle, held: HeldTable | None = None, engine: DetectionEngine | None = None
    ) -> Detector:
        engine = engine or engine_of(
            bundle, limits_of(settings), keep_steps=settings.console, unknown=policies_of(settings), held=held
        )
        manifest = bundle.manifest
        scored_by = ScoredBy(manifest.bundle_id, bundle.score_fingerprint)
        scope = Scope.of(manifest, settings.globs_of_assets).to_header() if settings.role == "challenger" else None
        seconds, read_until = reach_of(bundle)
        return Detector(engine, scored_by, seconds, bundle, scope, read_until)

    # Where the brokers are others, their topics are their own business.
    real = ensure_topics is None
    check_topics = check_topics or (topics.check_topics if real else None)
    topic_counts = topic_counts or (AdminTopicCounts(settings) if real else None)

    def load(bundle_id: str) -> Detector:
        assert load_bundle is not None
        fetched = load_bundle(bundle_id)
        if check_topics is not None:
            # In the thread that loads: what it waits for holds nobody up.
            asyncio.run(check_topics(settings, needs_of(fetched, settings)))
        return detector_of(fetched)

    detectors = Detectors(detector_of(bundle, engine=engine), None if load_bundle is None else load, detector_of)
    if bundle_watch is not None:
        detectors.follows_log = bundle_watch.follows_log
    shown: list[Callable[[AnyManifest], None]] = [recorder.use, *([] if console is None else [console.use])]

    def show(manifest: AnyManifest) -> None:
        for use in shown:
            use(manifest)

    detectors.on_shown = show
    make_topics = ensure_topics or partial(topics.ensure_topics, needs=needs)
    planner = Planner(
        settings,
        log,
        detectors.configured.scored_by,
        detectors.configured.rewind_seconds,
        clock,
        extend_topics=partial(make_topics, settings),
        require_current=None if bundle_watch is None else bundle_watch.require_current,
        detectors=detectors,
    )
    pipeline = Pipeline(
        settings,
        detectors,
        planner,
        producer,
        recorder,
        lifecycle.fail,
        on_steps=None if console is None else console.scored,
        field_mapping=mapping,
        registry=registry_of(settings),
        clock=clock,
    )
    probe = BrokerProbe(log, clock)
    if console is not None:
        console.fail = lifecycle.fail_soon
        console.unknown = lambda: pipeline.unknown.seen
        console.partitions = lambda: (len(pipeline.partitions), len(probe.all_partitions))
    server = MetricsServer(
        settings,
        recorder.metrics.registry,
        lifecycle.why_not_alive,
        lifecycle.why_not_ready,
        extend=None if console is None else console.serve,
    )
    if console is not None:
        server.reloader.add("token of the console", [settings.console_token_file], console.renew_token)
    server.reloader.add("password at the brokers", [settings.sasl_password_file], settings.password)
    return Worker(
        settings,
        lifecycle,
        detectors,
        pipeline,
        producer,
        lambda: open_stream(settings, pipeline),
        make_topics,
        probe,
        server,
        recorder,
        console,
        rekeying,
        start_clock,
        clock,
        watch_seconds,
        why_unreachable,
        None
        if topic_counts is None
        else Housekeeping(settings, pipeline, TopicWatch(settings, topic_counts, make_topics), log, clock),
        bundle_watch,
        password_watch_of(settings, why_unreachable),
    )


def _sources(settings: Settings) -> tuple[Repartition | None, FieldMapping | None]:
    """The re-keying step, if the settings name one, and the field mapping that is left to the pipeline."""
    assets_file, mapping_file = settings.sensor_assets_file, settings.field_mapping_file
    if assets_file is None:
        return None, mapping_of(settings)
    mapping = None if mapping_file is None else FieldMapping.load(mapping_file)
    return Repartition(settings, read_map(assets_file), mapping), None


def needs_of(bundle: AnyBundle, settings: Settings) -> TopicNeeds:
    """What the bundle asks of the topics under these settings."""
    largest = max(largest_bytes(DetectorSpec.of(each), limits_of(settings)) for each in bundles_of(bundle))
    operated = any(each.manifest.operating is not None for each in bundles_of(bundle))
    tells_operating = operated and settings.role == "champion"
    return TopicNeeds(rewind_seconds(bundle.manifest), largest, tells_operating)


def reach_of(bundle: AnyBundle) -> tuple[float, float | None]:
    """Seconds that windows, heads and an open episode reach back, with room to spare, and since when (epoch seconds) a
    head would have every step, because training has shown it those before."""
    seconds, since = rewind_seconds(bundle.manifest), []
    for each in bundles_of(bundle):
        if each.head is not None:
            reach, grid = each.head.reach, each.manifest.grid
            seconds = max(seconds, 2 * (reach.steps * grid.step_seconds + grid.lateness_seconds))
            since += [] if reach.read_until is None else [reach.read_until]
    return seconds, min(since, default=None)


def rewind_seconds(manifest: AnyManifest) -> float:
    """Seconds that windows and an open episode reach back, with room to spare; used where a commit has no `low`."""
    return max(map(_rewind_seconds, manifests_of(manifest)))


def _rewind_seconds(manifest: Manifest) -> float:
    steps = (
        manifest.window.steps + manifest.episode.max_steps + manifest.grid.staleness_steps + manifest.grid.max_gap_steps
    )
    return float(2 * (steps * manifest.grid.step_seconds + manifest.grid.lateness_seconds))
