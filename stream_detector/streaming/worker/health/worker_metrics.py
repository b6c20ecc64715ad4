"""Writes what a worker does into its Prometheus metrics."""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence

from prometheus_client import Gauge

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
        self._shown: dict[str, list[str]] = {}
        self._watermarks: set[str] = set()
        self._drift: dict[str, tuple[float, DriftMeter]] = {}
        self._manifest = manifest
        metrics.record_seconds.set(ASSUMED_RECORD_SECONDS)
        for reason in CELL_REASONS:
            metrics.missing_cells.labels(reason)
        self.use(manifest)

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
                _remove(metrics.drift, name)
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

    def scored(self, partition: int, outcome: Outcome, seconds: float) -> None:
        """One batch, once the engine has answered. Readings of a rebuild are not counted: they were before."""
        metrics, label, counts, closed = self.metrics, str(partition), outcome.counts, outcome.closed
        metrics.scoring.observe(seconds)
        metrics.received.labels(label).inc(counts.received)
        metrics.windowed.labels(label).inc(counts.windowed)
        metrics.late.labels(label).inc(counts.late)
        metrics.duplicate.labels(label).inc(counts.duplicate)
        metrics.dead_lettered.labels(label).inc(counts.dead_lettered)
        metrics.ignored.labels(label).inc(counts.ignored)
        metrics.unknown.labels("sensor").inc(outcome.unknown.of_sensors)
        metrics.unknown.labels("asset").inc(outcome.unknown.of_assets)
        for reason, count in counts.missing.items():
            metrics.missing_cells.labels(reason).inc(count)
        metrics.held.labels(label).set(counts.held)
        metrics.records.labels("reading").inc(counts.reading_records)
        metrics.records.labels("row").inc(counts.row_records)
        metrics.records.labels("block").inc(counts.block_records)
        metrics.records.labels("event").inc(counts.events)
        records = counts.reading_records + counts.row_records + counts.block_records
        if records >= LARGE_BATCH_RECORDS:
            metrics.record_seconds.set(seconds / records)
        for asset in outcome.event_assets:
            metrics.events.labels(asset).inc()
        metrics.assets_refused.inc(counts.assets_refused)
        metrics.assets_evicted.inc(counts.assets_evicted)
        metrics.steps_scored.inc(closed.scored)
        metrics.steps_unscored.labels("warming-up").inc(closed.warming_up)
        metrics.steps_unscored.labels("off-stride").inc(closed.off_stride)
        metrics.steps_unscored.labels("masked").inc(closed.masked)
        metrics.steps_unscored.labels("event").inc(closed.event)
        metrics.steps_unscored.labels("not-running").inc(closed.not_running)
        metrics.steps_suppressed.inc(closed.suppressed)
        metrics.events_late.inc(closed.late_events)
        metrics.expected_events.inc(closed.expected_events)
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
        # A counter that is born with its first count has no rate yet: these are there from the start.
        for number in partitions:
            for counter in (
                metrics.received, metrics.windowed, metrics.late, metrics.duplicate, metrics.dead_lettered,
                metrics.ignored,
            ):  # fmt: skip
                counter.labels(str(number))

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
        """Renew the sums over all assets, and remove the gauges of assets that are gone.

        Of those that whoever decides now has never heard (`unheard`) only that of their watermark stays, of at most
        `MOST_ASSET_GAUGES` of them.
        """
        metrics = self.metrics
        metrics.assets.set(len(assets))
        metrics.windows.set(sum(not asset.warming_up and not asset.not_running for asset in assets))
        watermarks = [asset.watermark for asset in assets] + [silence.heard for silence in unheard]
        if watermarks:
            metrics.watermark_lag.set(self._wall_clock() - min(watermarks))
        shown = {status.asset for status in assets[:MOST_ASSET_GAUGES]}
        silent = {silence.asset: silence.heard for silence in unheard[:MOST_ASSET_GAUGES]}
        for name in self._shown.keys() - shown:
            self._forget(name)
        for name in self._watermarks - shown - silent.keys():
            _remove(metrics.watermark, name)
        for name, heard in silent.items():
            metrics.watermark.labels(name).set(heard)
        self._watermarks = shown | silent.keys()

    def assets(self, assets: Sequence[AssetStatus]) -> None:
        """Renew the gauges of these assets; they are to be among the first `MOST_ASSET_GAUGES` of all."""
        metrics = self.metrics
        for status in assets:
            name = status.asset
            for counter in (metrics.events, metrics.alarms_raised, metrics.alarms_cleared):
                counter.labels(name)
            metrics.threshold.labels(name).set(status.threshold)
            metrics.alarms_open.labels(name).set(status.alarm_open)
            metrics.degraded_sensors.labels(name).set(0 if status.not_running else status.degraded)
            metrics.warming_up.labels(name).set(status.warming_up)
            metrics.not_running.labels(name).set(status.not_running)
            metrics.provisional.labels(name).set(status.provisional)
            self._show_drift(status)
            metrics.watermark.labels(name).set(status.watermark)
            self._shown[name] = self._show_score(status)

    def _show_score(self, status: AssetStatus) -> list[str]:
        """While the machine stands, or its window fills, the last score is of another time: the gauges are gone.

        Returns the top sensors, which have gauges now.
        """
        metrics, name = self.metrics, status.asset
        judged = not (status.not_running or status.warming_up)
        for gauge, value in ((metrics.score, status.score), (metrics.probability, status.probability)):
            if judged and not math.isnan(value):
                gauge.labels(name).set(value)
            else:
                _remove(gauge, name)
        shares = status.top_shares[:TOP_SENSORS] if judged else []
        top = [sensor for sensor, _ in shares]
        for sensor in self._shown.get(name, []):
            if sensor not in top:
                metrics.reconstruction_error.remove(name, sensor)
        for sensor, share in shares:
            metrics.reconstruction_error.labels(name, sensor).set(share)
        return top

    def _show_drift(self, status: AssetStatus) -> None:
        manifest = manifest_for(self._manifest, status.asset)
        known = None if manifest is None else self._references[manifest.bundle_id]
        if known is None or math.isnan(status.scored_until):
            return
        reference, of = known
        until, meter = self._drift.get(status.asset) or (math.nan, DriftMeter(reference))
        if status.scored_until != until:
            meter.add(status.score if of == "score" else status.probability)
            self._drift[status.asset] = status.scored_until, meter
        level = meter.level
        if level is not None:
            self.metrics.drift.labels(status.asset).set(level)

    def _forget(self, name: str) -> None:
        metrics = self.metrics
        self._drift.pop(name, None)
        for gauge in (metrics.threshold, metrics.alarms_open, metrics.degraded_sensors, metrics.warming_up,
                      metrics.provisional, metrics.not_running, metrics.drift, metrics.score,
                      metrics.probability):  # fmt: skip
            _remove(gauge, name)
        for sensor in self._shown.pop(name, []):
            metrics.reconstruction_error.remove(name, sensor)


def _remove(gauge: Gauge, name: str) -> None:
    # An asset without a score yet has no such gauge, nor has a partition of which nothing was read.
    with contextlib.suppress(KeyError):
        gauge.remove(name)
