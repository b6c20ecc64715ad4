"""What a worker says of its lag and of the brokers."""

import pytest
from prometheus_client import CollectorRegistry

from stream_detector.metrics import WorkerMetrics
from stream_detector.streaming.worker.health.watchdog import Observation, PartitionObservation
from stream_detector.streaming.worker.health.worker_metrics import MetricsRecorder
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from tests.support.bundles import small_manifest

NOW = 1_800_000_000.0


def lag_seconds(*, end: int, silent_until: int = 0, newest_ms: int | None = int(1000 * (NOW - 36_000))) -> float | None:
    """The gauge of a partition that is processed up to 100."""
    registry = CollectorRegistry()
    recorder = MetricsRecorder(WorkerMetrics(registry), small_manifest(), wall_clock=lambda: NOW)
    progress = PartitionProgress(1, 100, silent_until, 100, newest_ms=newest_ms)
    seen = Observation(True, {0: PartitionObservation(end, 100, 100)})
    recorder.watched(seen, {0: progress}, ready=True)
    return registry.get_sample_value("stream_detector_kafka_lag_seconds", {"partition": "0"})


def test_thirty_records_behind_is_ten_hours_in_a_slow_plant() -> None:
    assert lag_seconds(end=130) == 36_000


def test_nothing_waits_so_there_is_no_lag_however_old_the_last_record_is() -> None:
    assert lag_seconds(end=100) == 0


def test_what_a_rebuild_reads_is_no_lag() -> None:
    assert lag_seconds(end=130, silent_until=120) == 0


def test_a_worker_that_has_read_nothing_yet_claims_no_lag() -> None:
    assert lag_seconds(end=130, newest_ms=None) == 0


@pytest.mark.parametrize("answers", [True, False])
def test_it_is_told_whether_the_brokers_answer(answers: bool) -> None:
    registry = CollectorRegistry()
    MetricsRecorder(WorkerMetrics(registry), small_manifest()).watched(Observation(answers, None), {}, ready=False)
    assert registry.get_sample_value("stream_detector_broker_answers") == answers


def test_a_bundle_whose_data_had_no_time_is_not_of_1970() -> None:
    registry, manifest = CollectorRegistry(), small_manifest()
    undated = manifest.model_copy(update={"training": manifest.training.model_copy(update={"until_time": None})})
    MetricsRecorder(WorkerMetrics(registry), undated)
    assert registry.get_sample_value("stream_detector_bundle_trained_timestamp_seconds") is None
