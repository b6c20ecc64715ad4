"""Writes what a worker does into its Prometheus metrics."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import Counter, Gauge

from stream_detector.bundle.bundle_table import AnyManifest, manifest_for, manifests_of
from stream_detector.decoding.cells import CELL_REASONS
from stream_detector.detection.drift import DriftMeter, ScoreReference
from stream_detector.engine.outcome import AssetStatus, Outcome
from stream_detector.messages import from_iso
from stream_detector.metrics import WorkerMetrics
from stream_detector.streaming.state.group_facts import Silence
from stream_detector.streaming.worker.health.watchdog import Observation, PartitionObservation
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.ports import Clock

MOST_ASSET_GAUGES = 1_000
"""Gauges per asset exist for at most this many assets; the others are in the sums."""

TOP_SENSORS = 3

LARGE_BATCH_RECORDS = 500
"""So many tell what a record takes; in a smaller batch what comes once for each batch outweighs it."""
ASSUMED_RECORD_SECONDS = 1e-4
"""Far more than any bundle of `docs/performance.md` takes."""


class MetricsRecorder:
    """A `PipelineObserver` that counts; nothing here decides anything.

    Args:
        metrics: what is written to.
        manifest: of the bundle in use; its scores, or probabilities, of data that it did not learn from are what drift
            is measured by, and where they are missing drift is not told.
        clock: monotonic, in seconds.
        wall_clock: epoch seconds.
    """

    def __init__(
        self,
        metrics: WorkerMetrics,
        manifest: AnyManifest,
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
    ) -> None:
        self.metrics = metrics
        self._clock = clock
        self._wall_clock = wall_clock
        self._committed_at = self._planned_at = clock()
        self._uncommitted: dict[int, tuple[int, float]] = {}
        """{partition: (what is committed, since when more than that is processed)}."""
        self._lag_shown: set[int] = set()
        """Partitions that have gauges of lag and rebuild: whoever takes one over tells of it from then on."""
        self._shown: list[AssetStatus] = []
        self._silent: list[Silence] = []
        self._counted: set[str] = set()
        """Assets whose counters are there."""
        self._drift: dict[str, tuple[float, DriftMeter]] = {}
        self._manifest = manifest
        metrics.record_seconds.set(ASSUMED_RECORD_SECONDS)
        # A counter that is born with its first count has no rate yet: these are there from the start, and at hand.
        self._readings: dict[int, list[Counter]] = {}
        self._unknown = {kind: metrics.unknown.labels(kind) for kind in ("sensor", "asset")}
        self._records = {kind: metrics.records.labels(kind) for kind in ("reading", "row", "block", "event")}
        self._unscored = {
            reason: metrics.steps_unscored.labels(reason)
            for reason in ("warming-up", "off-stride", "masked", "event", "not-running")
        }
        for reason in CELL_REASONS:
            metrics.missing_cells.labels(reason)
        self.use(manifest)
        metrics.of_assets.read = self._gauges_of_assets

    def use(self, manifest: AnyManifest) -> None:
        """From now on the gauges tell of this bundle.

        The drift of an asset for which another bundle decides now is measured anew, against the scores of that one.
        Of a table of bundles they tell the fewest sensors, the longest step and the oldest training.
        """
        metrics, bundles = self.metrics, manifests_of(manifest)
        for name in list(self._drift):
            before, now = manifest_for(self._manifest, name), manifest_for(manifest, name)
            if before is None or now is None or before.bundle_id != now.bundle_id:
                del self._drift[name]
        self._manifest = manifest
        self._references = {each.bundle_id: ScoreReference.of_metrics(each.metrics) for each in bundles}
        metrics.bundle_info.clear()
        for each in bundles:
            metrics.bundle_info.labels(each.bundle_id, each.recipe).set(1)
        metrics.bundle_sensors.set(min(len(each.sensors) for each in bundles))
        metrics.bundle_step.set(max(each.grid.step_seconds for each in bundles))
        metrics.bundle_loaded.set(self._wall_clock())
        trained = [each.training.until_time for each in bundles if each.training.until_time is not None]
        if trained:
            metrics.bundle_trained.set(min(trained))

    def decided(self, seconds: float) -> None:
        self.metrics.scoring.observe(seconds)

    def scored(self, partition: int, outcome: Outcome, seconds: float) -> None:
        """One batch, once the engine has answered. Readings of a rebuild are not counted: they were before."""
        metrics, counts, closed = self.metrics, outcome.counts, outcome.closed
        metrics.held.labels(str(partition)).set(counts.held)
        for counter, count in (
            *zip(self._of_partition(partition), counts.parts, strict=True),
            (self._unknown["sensor"], outcome.unknown.of_sensors),
            (self._unknown["asset"], outcome.unknown.of_assets),
            (self._records["reading"], counts.reading_records),
            (self._records["row"], counts.row_records),
            (self._records["block"], counts.block_records),
            (self._records["event"], counts.events),
            (metrics.assets_refused, counts.assets_refused),
            (metrics.assets_evicted, counts.assets_evicted),
            (metrics.steps_scored, closed.scored),
            (self._unscored["warming-up"], closed.warming_up),
            (self._unscored["off-stride"], closed.off_stride),
            (self._unscored["masked"], closed.masked),
            (self._unscored["event"], closed.event),
            (self._unscored["not-running"], closed.not_running),
            (metrics.steps_suppressed, closed.suppressed),
            (metrics.events_late, closed.late_events),
            (metrics.expected_events, closed.expected_events),
        ):
            if count:
                counter.inc(count)
        for reason, count in counts.missing.items():
            metrics.missing_cells.labels(reason).inc(count)
        records = counts.reading_records + counts.row_records + counts.block_records
        if records >= LARGE_BATCH_RECORDS:
            metrics.record_seconds.set(seconds / records)
        for asset in outcome.event_assets:
            metrics.events.labels(asset).inc()
        for ratios in closed.ratios:
            metrics.score_ratio.observe(ratios)
        for letter in outcome.dead_letters:
            metrics.dead_letters.labels(letter.reason).inc()

    def alarms_acknowledged(self, outcome: Outcome) -> None:
        """The delays are to the acknowledgement: from the Kafka time of the closing record, from the step's end."""
        now = self._wall_clock()
        for alarm, milliseconds in zip(outcome.alarms, outcome.alarm_timestamps_ms, strict=True):
            if alarm.state == "raised":
                self.metrics.alarms_raised.labels(alarm.asset).inc()
                self.metrics.delay_broker.observe(max(0.0, now - milliseconds / 1000))
                self.metrics.delay_event.observe(max(0.0, now - from_iso(alarm.raised_at) - alarm.step_seconds))
            else:
                self.metrics.alarms_cleared.labels(alarm.asset).inc()

    def dead_letter_held_back(self) -> None:
        self.metrics.dead_letters_suppressed.inc()

    def evicted(self, assets: int) -> None:
        self.metrics.assets_evicted.inc(assets)

    def committed(self) -> None:
        self._committed_at = self._clock()

    def assigned(self, partitions: set[int]) -> None:
        metrics = self.metrics
        metrics.partitions.set(len(partitions))
        for number in partitions:
            self._of_partition(number)

    def _of_partition(self, number: int) -> list[Counter]:
        """The counters of its readings, in the order of `ReadingCounts.parts`."""
        if number not in self._readings:
            metrics = self.metrics
            counters = (metrics.received, metrics.windowed, metrics.late, metrics.duplicate, metrics.dead_lettered,
                        metrics.ignored)  # fmt: skip
            self._readings[number] = [counter.labels(str(number)) for counter in counters]
        return self._readings[number]

    def planned(self, *, rebuilding: bool) -> None:
        self._planned_at = self._clock()
        self.metrics.rebuilding.set(rebuilding)

    def rebuilt(self, *, rebuilding: bool) -> None:
        if not rebuilding:
            self.metrics.rebuilding.set(0)
            self.metrics.rebuild_seconds.set(self._clock() - self._planned_at)

    def switched(self, partition: int, seconds: float) -> None:  # noqa: ARG002 - the pause is the worker's
        self.metrics.switch_seconds.set(seconds)

    def watched(self, seen: Observation, progress: Mapping[int, PartitionProgress], *, ready: bool) -> None:
        """Enters one observation of the watchdog."""
        metrics = self.metrics
        metrics.ready.set(ready)
        metrics.broker_answers.set(seen.broker_answers)
        metrics.commit_age.set(self._clock() - self._committed_at)
        partitions = seen.partitions or {}
        metrics.fetch_age.set(max((partition.answer_age_seconds for partition in partitions.values()), default=0.0))
        for number in self._lag_shown - progress.keys():
            for gauge in (metrics.kafka_lag, metrics.kafka_lag_seconds, metrics.rebuild_records, metrics.held):
                _remove(gauge, str(number))
        self._lag_shown &= progress.keys()
        for number, partition in partitions.items():
            mine = progress.get(number)
            if mine is not None:
                self._lag_shown.add(number)
                metrics.kafka_lag.labels(str(number)).set(max(0, partition.end - (mine.committed or 0)))
                metrics.kafka_lag_seconds.labels(str(number)).set(self._seconds_behind(partition, mine))
                if mine.rebuild_records is not None:
                    metrics.rebuild_records.labels(str(number)).set(mine.rebuild_records)
        self._show_commit_ages(progress)

    def _show_commit_ages(self, progress: Mapping[int, PartitionProgress]) -> None:
        """Also while the brokers are away: one partition may stand still while others are committed all the time."""
        gauge, now = self.metrics.partition_commit_age, self._clock()
        for number in self._uncommitted.keys() - progress.keys():
            del self._uncommitted[number]
            gauge.remove(str(number))
        for number, mine in progress.items():
            committed = mine.committed or 0
            before, since = self._uncommitted.get(number, (committed, now))
            # A batch in hand may wait for its alarms to be acknowledged: that is progress which is not stored either.
            if committed != before or (mine.processed <= committed and not mine.in_hand):
                since = now
            self._uncommitted[number] = committed, since
            gauge.labels(str(number)).set(now - since)

    def _seconds_behind(self, partition: PartitionObservation, mine: PartitionProgress) -> float:
        # What a rebuild reads was answered for before.
        if mine.newest_ms is None or mine.rebuilding or mine.processed >= partition.end:
            return 0.0
        return max(0.0, self._wall_clock() - mine.newest_ms / 1000)

    def fleet(self, assets: Sequence[AssetStatus], unheard: Sequence[Silence] = ()) -> None:
        """Renew the sums over all assets, and the gauges of the first `MOST_ASSET_GAUGES` of them.

        Of those that whoever decides now has never heard (`unheard`) only that of their watermark stays, of at most as
        many.
        """
        metrics = self.metrics
        metrics.assets.set(len(assets))
        metrics.windows.set(sum(not asset.warming_up and not asset.not_running for asset in assets))
        watermarks = [asset.watermark for asset in assets] + [silence.heard for silence in unheard]
        if watermarks:
            metrics.watermark_lag.set(self._wall_clock() - min(watermarks))
        # Both are replaced as a whole, for another thread reads them.
        self._shown, self._silent = list(assets[:MOST_ASSET_GAUGES]), list(unheard[:MOST_ASSET_GAUGES])
        for name in self._drift.keys() - {status.asset for status in self._shown}:
            del self._drift[name]

    def assets(self, assets: Sequence[AssetStatus]) -> None:
        """Count the newest steps of these assets towards drift; they are to be among those with gauges."""
        for status in assets:
            if status.asset not in self._counted:
                # A counter that is born with its first count has no rate yet.
                self._counted.add(status.asset)
                for counter in (self.metrics.events, self.metrics.alarms_raised, self.metrics.alarms_cleared):
                    counter.labels(status.asset)
            self._note_drift(status)

    def _note_drift(self, status: AssetStatus) -> None:
        manifest = manifest_for(self._manifest, status.asset)
        known = None if manifest is None else self._references[manifest.bundle_id]
        if known is None or math.isnan(status.scored_until):
            return
        reference, of = known
        until, meter = self._drift.get(status.asset) or (math.nan, DriftMeter(reference))
        if status.scored_until != until:
            meter.add(status.score if of == "score" else status.probability)
            self._drift[status.asset] = status.scored_until, meter

    def _gauges_of_assets(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        """While a machine stands, or its window fills, the last score is of another time: it has no such gauges."""
        for status in self._shown:
            name = (status.asset,)
            yield "threshold", name, status.threshold
            yield "alarms_open", name, status.alarm_open
            yield "degraded_sensors", name, 0 if status.not_running else status.degraded
            yield "warming_up", name, status.warming_up
            yield "not_running", name, status.not_running
            yield "provisional", name, status.provisional
            yield "watermark_timestamp_seconds", name, status.watermark
            _, meter = self._drift.get(status.asset, (math.nan, None))
            level = None if meter is None else meter.level
            if level is not None:
                yield "drift_level", name, level
            if status.not_running or status.warming_up:
                continue
            for gauge, value in (("score", status.score), ("probability", status.probability)):
                if not math.isnan(value):
                    yield gauge, name, value
            for sensor, share in status.top_shares[:TOP_SENSORS]:
                yield "reconstruction_error", (status.asset, sensor), share
        shown = {status.asset for status in self._shown}
        for silence in self._silent:
            if silence.asset not in shown:
                yield "watermark_timestamp_seconds", (silence.asset,), silence.heard


def _remove(gauge: Gauge, name: str) -> None:
    # A partition of which nothing was read has no such gauge.
    with contextlib.suppress(KeyError):
        gauge.remove(name)
