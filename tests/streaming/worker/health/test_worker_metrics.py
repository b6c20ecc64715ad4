"""What a batch, a commit, a plan and the assets leave in the Prometheus metrics."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from stream_detector.bundle.bundle_table import AnyManifest, TableManifest
from stream_detector.bundle.manifest import Manifest
from stream_detector.decoding.asset_table import AssetTable
from stream_detector.decoding.unknown_names import UnknownNames
from stream_detector.detection.config import GridConfig
from stream_detector.engine.outcome import AssetStatus, Closed, Counts, Outcome
from stream_detector.metrics import WorkerMetrics
from stream_detector.streaming.state.group_facts import Silence
from stream_detector.streaming.worker.health.watchdog import Observation, PartitionObservation
from stream_detector.streaming.worker.health.worker_metrics import MetricsRecorder
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from tests.support.messages import MIDNIGHT, STEP_SECONDS, make_alarm
from tests.support.pipelines import make_letter
from tests.support.plant import small_bundle


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = small_bundle(tmp_path_factory.mktemp("bundles") / "small")
    return Manifest.model_validate_json((folder / "manifest.json").read_bytes())


class Recorded:
    """A recorder on clocks of the test's, and what it has recorded."""

    def __init__(self, manifest: AnyManifest) -> None:
        self.now, self.wall = 100.0, MIDNIGHT + 10_000.0
        self.registry = CollectorRegistry()
        self.recorder = MetricsRecorder(WorkerMetrics(self.registry), manifest, lambda: self.now, lambda: self.wall)

    def show(self, assets: list[AssetStatus]) -> None:
        self.recorder.fleet(assets)
        self.recorder.assets(assets)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"stream_detector_{name}", labels)


def status(asset: str = "m", **changes: Any) -> AssetStatus:
    values: dict[str, Any] = {
        "asset": asset, "partition": 0, "watermark": 50.0, "score": 1.5, "probability": math.nan, "threshold": 2.0,
        "alarm_open": False, "degraded": 1, "warming_up": False, "top_shares": [("s1", 0.6), ("s2", 0.4)],
        "scored_until": 60.0, "newest": np.zeros(2, np.float32), "expected": np.zeros(2, np.float32),
    }  # fmt: skip
    return AssetStatus(**(values | changes))


def test_of_an_asset_that_whoever_decides_now_has_never_heard_the_watermark_alone_stays(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.show([status("m"), status("n", watermark=900.0)])
    others, silence = [status("n", watermark=950.0)], Silence(0, "m", 50.0, 7)
    recorded.recorder.fleet(others, [silence])
    assert recorded.value("watermark_timestamp_seconds", asset="m") == 50.0
    assert recorded.value("score", asset="m") is None
    assert recorded.value("threshold", asset="m") is None
    assert recorded.value("assets_held") == 1
    assert recorded.value("watermark_lag_seconds") == recorded.wall - 50.0
    recorded.show([*others, status("m", watermark=960.0)])  # heard again
    assert recorded.value("watermark_timestamp_seconds", asset="m") == 960.0
    recorded.recorder.fleet(others, [silence])
    recorded.recorder.fleet(others, [])
    assert recorded.value("watermark_timestamp_seconds", asset="m") is None
    recorded.recorder.evicted(1)
    assert recorded.value("assets_evicted_total") == 1


def test_what_a_record_takes_is_told_by_large_batches_alone(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.recorder.scored(0, Outcome(counts=Counts(row_records=1)), 0.05)
    assert recorded.value("record_seconds") == 1e-4
    recorded.recorder.scored(0, Outcome(counts=Counts(row_records=4_000, reading_records=1_000)), 0.05)
    assert recorded.value("record_seconds") == pytest.approx(1e-5)


def test_every_reading_of_a_batch_is_counted_as_what_became_of_it(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    counts = Counts(
        received=22, windowed=5, late=4, duplicate=3, dead_lettered=3, ignored=7, held=2, reading_records=6,
        row_records=7, block_records=8, events=9, assets_refused=1, missing=Counter({"text": 2}),
    )  # fmt: skip
    closed = Closed(
        scored=10, warming_up=11, off_stride=12, masked=13, event=14, late_events=15, not_running=16, suppressed=17,
        ratios=[np.array([0.5, 2.5])],
    )  # fmt: skip
    outcome = Outcome(
        counts=counts,
        closed=closed,
        dead_letters=[make_letter(), make_letter(1)],
        event_assets=["m", "m", "n"],
        unknown=UnknownNames(of_sensors=4, of_assets=3),
    )
    recorded.recorder.scored(3, outcome, 0.02)
    recorded.recorder.scored(3, outcome, 0.02)
    found = {
        name: recorded.value(f"readings_{name}", partition="3")
        for name in ("received_total", "windowed_total", "late_total", "duplicate_total", "dead_lettered_total",
                     "ignored_total", "held")
    }  # fmt: skip
    assert list(found.values()) == [44, 10, 8, 6, 6, 14, 2]
    assert [recorded.value("unknown_readings_total", kind=kind) for kind in ("sensor", "asset")] == [8, 6]
    assert recorded.value("cells_missing_total", reason="text") == 4
    assert recorded.value("cells_missing_total", reason="boolean") == 0
    assert [recorded.value("records_total", kind=kind) for kind in ("reading", "row", "block", "event")] == [
        12, 14, 16, 18,
    ]  # fmt: skip
    assert recorded.value("steps_scored_total") == 20
    reasons = ("warming-up", "off-stride", "masked", "event", "not-running")
    assert [recorded.value("steps_unscored_total", reason=reason) for reason in reasons] == [22, 24, 26, 28, 32]
    assert recorded.value("steps_suppressed_total") == 34
    assert recorded.value("dead_letters_total", reason="malformed") == 4
    assert (recorded.value("events_total", asset="m"), recorded.value("events_total", asset="n")) == (4, 2)
    assert recorded.value("events_late_total") == 30
    assert recorded.value("assets_refused_total") == 2
    assert recorded.value("score_ratio_count") == 4


def test_batches_that_came_together_take_their_time_once(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.recorder.decided(0.04)
    assert (recorded.value("scoring_seconds_count"), recorded.value("scoring_seconds_sum")) == (1, 0.04)


def test_delays_run_to_the_acknowledgement(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    raised, cleared = make_alarm(2), make_alarm(2, 4)
    recorded.wall = MIDNIGHT + 2 * STEP_SECONDS + STEP_SECONDS + 7.0
    outcome = Outcome(alarms=[raised, cleared], alarm_timestamps_ms=[round((recorded.wall - 3.0) * 1000)] * 2)
    recorded.recorder.alarms_acknowledged(outcome)
    assert recorded.value("alarms_raised_total", asset="pm-1") == 1
    assert recorded.value("alarms_cleared_total", asset="pm-1") == 1
    assert recorded.value("alarm_delay_seconds_sum") == pytest.approx(3.0, abs=0.01)
    assert recorded.value("alarm_delay_event_seconds_sum") == pytest.approx(7.0, abs=0.01)


def test_counters_of_a_partition_are_there_before_its_first_reading(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.recorder.assigned({0, 2})
    assert recorded.value("partitions_assigned") == 2
    assert recorded.value("readings_late_total", partition="2") == 0


def test_a_rebuild_is_told_while_it_lasts_and_timed(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.recorder.planned(rebuilding=True)
    assert recorded.value("rebuilding") == 1
    recorded.now += 4.0
    recorded.recorder.rebuilt(rebuilding=True)
    assert recorded.value("rebuilding") == 1
    recorded.recorder.rebuilt(rebuilding=False)
    assert (recorded.value("rebuilding"), recorded.value("rebuild_seconds")) == (0, 4.0)


def test_lag_and_ages_are_those_of_the_last_look(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.recorder.committed()
    recorded.now += 5.0
    seen = Observation(
        True, {0: PartitionObservation(20, 15, 12, 0.0, 0.5), 1: PartitionObservation(9, 9, 9, 0.0, 2.0)}
    )
    recorded.recorder.watched(seen, {0: PartitionProgress(1, 12, 0, 10)}, ready=True)
    assert recorded.value("kafka_lag_records", partition="0") == 10
    assert recorded.value("kafka_lag_records", partition="1") is None
    assert (recorded.value("commit_age_seconds"), recorded.value("fetch_age_seconds")) == (5.0, 2.0)
    assert recorded.value("ready") == 1
    recorded.recorder.watched(Observation(False, None), {}, ready=False)
    assert (recorded.value("ready"), recorded.value("fetch_age_seconds")) == (0, 0)


def test_a_partition_that_another_worker_has_now_is_told_of_by_that_one_alone(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    behind = {number: PartitionObservation(20, 15, 12, 0.0, 0.5) for number in (0, 1)}
    held = {number: PartitionProgress(1, 12, 0, 10, declared=12, low=3, newest_ms=0) for number in (0, 1)}
    names = ("kafka_lag_records", "kafka_lag_seconds", "rebuild_records", "readings_held")
    for number in (0, 1):
        recorded.recorder.scored(number, Outcome(counts=Counts(held=3)), 0.1)
    recorded.recorder.watched(Observation(True, behind), held, ready=True)
    assert None not in [recorded.value(name, partition=number) for name in names for number in ("0", "1")]
    recorded.recorder.watched(Observation(False, None), {1: held[1]}, ready=True)
    assert [recorded.value(name, partition="0") for name in names] == [None] * 4
    assert None not in [recorded.value(name, partition="1") for name in names]


def test_a_partition_whose_commits_stand_still_is_seen_beside_one_that_is_committed(manifest: Manifest) -> None:
    recorded, away = Recorded(manifest), Observation(False, None)
    stuck, moving, idle = (PartitionProgress(1, 12, 0, 10) for _ in range(3))
    idle.processed = 10

    def ages() -> list[float | None]:
        recorded.recorder.watched(away, {0: stuck, 1: moving, 2: idle}, ready=False)
        return [recorded.value("partition_commit_age_seconds", partition=str(number)) for number in range(3)]

    assert ages() == [0.0, 0.0, 0.0]
    recorded.now += 30.0
    moving.committed, moving.processed = 12, 20
    assert ages() == [30.0, 0.0, 0.0]
    recorded.now += 5.0
    assert ages() == [35.0, 5.0, 0.0]
    recorded.recorder.watched(away, {1: moving}, ready=False)
    assert recorded.value("partition_commit_age_seconds", partition="0") is None


def test_a_batch_that_waits_for_its_alarms_is_progress_that_is_not_stored(manifest: Manifest) -> None:
    recorded, away = Recorded(manifest), Observation(False, None)
    waiting = PartitionProgress(1, 10, 0, 10, in_hand=True)

    def age() -> float | None:
        recorded.recorder.watched(away, {0: waiting}, ready=False)
        return recorded.value("partition_commit_age_seconds", partition="0")

    assert age() == 0.0
    recorded.now += 150.0
    assert age() == 150.0
    waiting.in_hand = False
    assert age() == 0.0


def test_gauges_of_an_asset_come_and_go_with_it(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.show([status("m"), status("n", watermark=40.0, warming_up=True, score=math.nan)])
    assert (recorded.value("assets_held"), recorded.value("windows_held")) == (2, 1)
    assert [recorded.value("not_running", asset=name) for name in ("m", "n")] == [0, 0]
    assert recorded.value("watermark_lag_seconds") == recorded.wall - 40.0
    assert (recorded.value("score", asset="m"), recorded.value("score", asset="n")) == (1.5, None)
    assert recorded.value("probability", asset="m") is None
    assert recorded.value("reconstruction_error", asset="m", sensor="s2") == 0.4
    assert recorded.value("alarms_raised_total", asset="n") == 0
    assert recorded.value("provisional", asset="n") == 0
    recorded.show([status("m", top_shares=[("s3", 0.9)], alarm_open=True, provisional=True)])
    assert (recorded.value("provisional", asset="m"), recorded.value("provisional", asset="n")) == (1, None)
    assert recorded.value("not_running", asset="n") is None
    assert recorded.value("reconstruction_error", asset="m", sensor="s2") is None
    assert recorded.value("reconstruction_error", asset="m", sensor="s3") == 0.9
    assert (recorded.value("alarms_open", asset="m"), recorded.value("watermark_timestamp_seconds", asset="n")) == (
        1, None,
    )  # fmt: skip
    recorded.show([])
    assert (recorded.value("assets_held"), recorded.value("threshold", asset="m")) == (0, None)


@pytest.mark.parametrize("why", ["not_running", "warming_up"])
def test_no_score_of_another_time_is_left_while_a_machine_is_not_judged(manifest: Manifest, why: str) -> None:
    recorded = Recorded(manifest)
    recorded.show([status("m", probability=0.2)])
    recorded.show([status("m", probability=0.2, **{why: True})])
    assert (recorded.value("windows_held"), recorded.value(why, asset="m")) == (0, 1)
    assert [recorded.value(name, asset="m") for name in ("score", "probability")] == [None, None]
    assert recorded.value("reconstruction_error", asset="m", sensor="s1") is None
    assert recorded.value("degraded_sensors", asset="m") == (0 if why == "not_running" else 1)
    recorded.show([status("m", probability=0.3)])
    assert (recorded.value("probability", asset="m"), recorded.value("windows_held")) == (0.3, 1)


def test_drift_is_measured_once_for_each_scored_step(manifest: Manifest) -> None:
    reference = {"edges": list(np.linspace(0, 1, 9)), "shares": [0.1] * 10}
    with_scores = manifest.model_copy(update={"metrics": {"scores": reference}})
    without, known = Recorded(manifest), Recorded(with_scores)
    for step in range(600):
        for _ in range(2):
            for recorded in (without, known):
                recorded.show([status(score=5.0, scored_until=float(step))])
    assert without.value("drift_level", asset="m") is None
    assert (known.value("drift_level", asset="m") or 0) > 1


def test_the_drift_of_a_head_is_that_of_its_probability(manifest: Manifest) -> None:
    reference = {"edges": list(np.linspace(0, 1, 9)), "shares": [0.1] * 10}
    recorded = Recorded(manifest.model_copy(update={"metrics": {"scores": None, "probabilities": reference}}))
    for step in range(600):
        probability = (step * 7 % 10 - 0.5) / 8
        recorded.show([status(score=5.0, probability=probability, scored_until=float(step))])
    assert (recorded.value("drift_level", asset="m") or 1) < 0.1


def test_the_bundle_in_use_is_told(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    assert recorded.value("bundle_info", bundle=manifest.bundle_id, recipe="small") == 1
    assert recorded.value("bundle_sensors") == len(manifest.sensors)
    assert recorded.value("bundle_loaded_timestamp_seconds") == recorded.wall


def test_a_dead_letter_that_is_held_back_is_counted(manifest: Manifest) -> None:
    recorded = Recorded(manifest)
    recorded.recorder.dead_letter_held_back()
    assert recorded.value("dead_letters_suppressed_total") == 1


def test_of_a_table_every_bundle_is_named_and_drift_is_measured_against_the_assets_own(manifest: Manifest) -> None:
    scores = {"scores": {"edges": list(np.linspace(0, 1, 9)), "shares": [0.1] * 10}}
    changes = {"bundle_id": "b" * 16, "sensors": ("s1", "s2"), "metrics": scores, "grid": GridConfig(step_seconds=60.0)}
    other = manifest.model_copy(update=changes)
    table = TableManifest(AssetTable([("*", manifest.bundle_id), ("m", other.bundle_id)]), (manifest, other))
    recorded = Recorded(table)
    for each in (manifest, other):
        assert recorded.value("bundle_info", bundle=each.bundle_id, recipe=each.recipe) == 1
    assert recorded.value("bundle_sensors") == 2
    assert recorded.value("bundle_step_seconds") == 60.0
    for step in range(600):
        recorded.show([status(name, score=5.0, scored_until=float(step)) for name in ("m", "n")])
    assert (recorded.value("drift_level", asset="m") or 0) > 1
    assert recorded.value("drift_level", asset="n") is None


def test_the_drift_of_a_bundle_ends_with_it_and_goes_on_where_the_bundle_does(manifest: Manifest) -> None:
    scores = {"scores": {"edges": list(np.linspace(0, 1, 9)), "shares": [0.1] * 10}}
    first, second = (manifest.model_copy(update={"bundle_id": name * 16, "metrics": scores}) for name in "ab")
    lines = AssetTable([("*", first.bundle_id)])
    recorded = Recorded(TableManifest(lines, (first,)))
    for step in range(600):
        recorded.show([status(name, score=5.0, scored_until=float(step)) for name in ("m", "n")])
    level = recorded.value("drift_level", asset="m")
    assert level is not None
    recorded.recorder.use(TableManifest(AssetTable([("*", first.bundle_id), ("n", second.bundle_id)]), (first, second)))
    assert (recorded.value("drift_level", asset="m"), recorded.value("drift_level", asset="n")) == (level, None)
    recorded.show([status(name, score=5.0, scored_until=601.0) for name in ("m", "n")])
    assert recorded.value("drift_level", asset="m") is not None
    assert recorded.value("drift_level", asset="n") is None
