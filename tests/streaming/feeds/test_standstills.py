"""When machines stood, by the readings of their topic, and what that means for events in the ledger."""

import json
from pathlib import Path

import pytest

from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.manifest import Manifest
from stream_detector.detection.config import OperatingConfig
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.standstills import standstills
from stream_detector.streaming.feeds.topic_history import HistoryCollector
from stream_detector.streaming.readers.topic_reader import TopicRecord
from tests.support.messages import MIDNIGHT
from tests.support.plant import SENSORS, STEP_SECONDS, small_bundle

STOPS, RUNS_AGAIN = 20, 60
HOLD = 5


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    rule = OperatingConfig(when="s1 > 0", hold_steps=HOLD)
    folder: Path = small_bundle(tmp_path_factory.mktemp("bundle") / "bundle", operating=rule)
    return load_bundle(folder).manifest


def test_an_event_is_left_out_where_the_machine_stood_all_through_its_lead_window(manifest: Manifest) -> None:
    settings = Settings()
    collector = HistoryCollector(settings)
    for step in range(100):
        speed = -1.0 if STOPS <= step < RUNS_AGAIN else 1.0
        row = {"time": MIDNIGHT + step * STEP_SECONDS, "values": {**dict.fromkeys(SENSORS, 0.5), "s1": speed}}
        value = json.dumps(row).encode()
        collector.take([TopicRecord(settings.topic_readings, 0, step, 0, b"pm-1", value)])
    found = standstills(collector, manifest)
    lead = manifest.lead
    steps = [step for step in range(1, 95) if found.before("pm-1", MIDNIGHT + step * STEP_SECONDS)]
    # Start-up is no running either; what comes right after the stop could have been foreseen from before it.
    assert steps == list(range(STOPS + lead.until_steps, RUNS_AGAIN + HOLD + lead.from_steps))
    assert not found.before("pm-2", MIDNIGHT + 40 * STEP_SECONDS)
