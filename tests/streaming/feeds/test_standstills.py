"""When machines stood, by the readings of their topic, and what that means for events in the ledger."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.bundle.bundle import Bundle, load_bundle
from stream_detector.detection.config import OperatingConfig
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine
from stream_detector.engine.outcome import RecordBatch
from stream_detector.operations.ledger.operating import OperatingLog
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.standstills import standstills
from stream_detector.streaming.feeds.topic_history import HistoryCollector
from stream_detector.streaming.readers.topic_reader import TopicRecord
from tests.support.messages import MIDNIGHT
from tests.support.plant import SENSORS, STEP_SECONDS, small_bundle

SETTINGS = Settings()
STOPS, RUNS_AGAIN = 20, 60
HOLD = 5


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rule = OperatingConfig(when="s1 > 0", hold_steps=HOLD)
    folder: Path = small_bundle(tmp_path_factory.mktemp("bundle") / "bundle", operating=rule)
    return load_bundle(folder)


def row(step: int, *, runs: bool) -> bytes:
    values = {**dict.fromkeys(SENSORS, 0.5), "s1": 1.0 if runs else -1.0}
    return json.dumps({"time": MIDNIGHT + step * STEP_SECONDS, "values": values}).encode()


def collected(rows: list[bytes]) -> HistoryCollector:
    collector = HistoryCollector(SETTINGS)
    collector.take(TopicRecord(SETTINGS.topic_readings, 0, at, 0, b"pm-1", value) for at, value in enumerate(rows))
    return collector


def batch_of(rows: list[bytes], begin: int, end: int) -> RecordBatch:
    stamps = [int((MIDNIGHT + at * STEP_SECONDS) * 1000) for at in range(begin, end)]
    return RecordBatch("r", 0, range(begin, end), [b"pm-1"] * (end - begin), rows[begin:end], stamps)


@given(
    stops=st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30)), max_size=4),
    cuts=st.sets(st.integers(1, 99), max_size=4),
    restart=st.integers(1, 99),
)
def test_what_workers_tell_of_their_machines_is_what_the_readings_say(
    bundle: Bundle, stops: list[tuple[int, int]], cuts: set[int], restart: int
) -> None:
    standing = {step for begin, length in stops for step in range(begin, begin + length)}
    rows = [row(step, runs=step not in standing) for step in range(100)]
    told, engine = OperatingLog(), Engine(DetectorSpec.of(bundle))
    snapshots: dict[str, bytes] = {}
    for begin, end in pairwise(sorted({0, *cuts, restart, 100})):
        if begin == restart:
            low, engine = engine.low(0) or 0, Engine(DetectorSpec.of(bundle))
            engine.restore(0, snapshots, begin)
            engine.process(batch_of(rows, low, begin))
        outcome = engine.process(batch_of(rows, begin, end))
        snapshots |= {asset: data for asset, data in outcome.snapshots if data is not None}
        for change in outcome.operating:
            told.add(change)
    found = standstills(collected(rows), bundle.manifest)
    times = [MIDNIGHT + step * STEP_SECONDS + 3.0 for step in range(98)]
    assert [told.before("pm-1", time) for time in times] == [found.before("pm-1", time) for time in times]


def test_an_event_is_left_out_where_the_machine_stood_all_through_its_lead_window(bundle: Bundle) -> None:
    rows = [row(step, runs=not STOPS <= step < RUNS_AGAIN) for step in range(100)]
    found, lead = standstills(collected(rows), bundle.manifest), bundle.manifest.lead
    steps = [step for step in range(1, 95) if found.before("pm-1", MIDNIGHT + step * STEP_SECONDS)]
    # Start-up is no running either; what comes right after the stop could have been foreseen from before it.
    assert steps == list(range(STOPS + lead.until_steps, RUNS_AGAIN + HOLD + lead.from_steps))
    assert not found.before("pm-2", MIDNIGHT + 40 * STEP_SECONDS)
