"""What a worker measures of itself, written into the Prometheus metrics."""

import time
from collections.abc import Mapping
from typing import Any

from stream_detector.engine import Outcome
from stream_detector.messages import from_iso
from stream_detector.metrics import WorkerMetrics
from stream_detector.streaming.progress import PartitionProgress
from stream_detector.streaming.watchdog import Sight

STATUS_SECONDS = 1.0
"""Gauges per asset are renewed at most this often."""


class Measuring:
    """Called by the pipeline and the worker; holds no state of its own that decides anything."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self.metrics = metrics
        self._committed_at = time.monotonic()
        self._planned_at = time.monotonic()

    def scored(self, partition: int, outcome: Outcome, seconds: float) -> None:
        metrics, label, counts = self.metrics, str(partition), outcome.counts
        metrics.scoring.observe(seconds)
        metrics.received.labels(label).inc(counts.received)
        metrics.windowed.labels(label).inc(counts.windowed)
        metrics.late.labels(label).inc(counts.late)
        metrics.duplicate.labels(label).inc(counts.duplicate)
        metrics.dead_lettered.labels(label).inc(counts.dead_lettered)
        for letter in outcome.dead_letters:
            metrics.dead_letters.labels(letter.reason).inc()
        for alarm in outcome.alarms:
            if alarm.state == "raised":
                metrics.alarms_raised.labels(alarm.asset).inc()
            else:
                metrics.alarms_cleared.labels(alarm.asset).inc()

    def alarms_acknowledged(self, outcome: Outcome, broker_milliseconds: int) -> None:
        now = time.time()
        for alarm in outcome.alarms:
            if alarm.state == "raised":
                self.metrics.delay_broker.observe(max(0.0, now - broker_milliseconds / 1000))
                self.metrics.delay_event.observe(max(0.0, now - from_iso(alarm.raised_at)))

    def suppressed(self) -> None:
        self.metrics.dead_letters_suppressed.inc()

    def committed(self) -> None:
        self._committed_at = time.monotonic()

    def assigned(self, partitions: set[int]) -> None:
        self.metrics.partitions.set(len(partitions))

    def planned(self, rebuilding: bool) -> None:
        self._planned_at = time.monotonic()
        self.metrics.rebuilding.set(rebuilding)

    def rebuilt(self, partition: int, *, rebuilding: bool) -> None:  # noqa: ARG002 - for the log's sake later
        if not rebuilding:
            self.metrics.rebuilding.set(0)
            self.metrics.rebuild_seconds.set(time.monotonic() - self._planned_at)

    def watched(self, sight: Sight, progress: Mapping[int, PartitionProgress], *, ready: bool) -> None:
        """What the watchdog saw, once a look."""
        metrics = self.metrics
        metrics.ready.set(ready)
        metrics.commit_age.set(time.monotonic() - self._committed_at)
        for number, seen in (sight.partitions or {}).items():
            mine = progress.get(number)
            if mine is not None:
                metrics.kafka_lag.labels(str(number)).set(max(0, seen.end - (mine.committed or 0)))

    def status(self, assets: list[Any]) -> None:
        """Renew the gauges of the assets."""
