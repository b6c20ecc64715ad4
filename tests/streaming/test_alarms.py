"""Following alarms in the terminal."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from stream_detector.__main__ import main
from stream_detector.commands.alarms import remember
from stream_detector.messages import Alarm, Costs, TopSensor, to_bytes
from stream_detector.operations.notify.alarm_text import alarm_line
from stream_detector.settings import Settings
from stream_detector.streaming.clients.embedded import EmbeddedBroker
from stream_detector.streaming.clients.librdkafka import producer
from tests.support.stack.kafka import ExistingKafka, Kafka


def alarm(state: str = "raised", **changes: Any) -> Alarm:
    values: dict[str, Any] = {
        "id": "pm1-1",
        "asset": "pm1",
        "state": state,
        "raised_at": "2026-05-01T08:02:00Z",
        "cleared_at": "2026-05-01T08:12:00Z" if state == "cleared" else None,
        "expected_from": "2026-05-01T08:04:00Z",
        "expected_until": "2026-05-01T08:06:00Z",
        "probability": None,
        "score": 3.2149,
        "threshold": 1.1,
        "top_sensors": [
            TopSensor(sensor=s, share=p, value=1, expected=None) for s, p in (("press_draw", 0.41), ("b", 0.2))
        ],
        "bundle": "0123456789abcdef",
        "recipe": "simulated",
        "costs": Costs(),
        "step_seconds": 120.0,
    }
    return Alarm(**(values | changes))


def test_a_raised_alarm_says_when_to_expect_what_how_sure_and_because_of_what() -> None:
    assert alarm_line(alarm()).plain == (
        "2026-05-01 08:02Z  RAISED   pm1  expect it 08:04Z to 08:06Z  score 3.21 > 1.1  press_draw 41 %, b 20 %"
    )
    assert "P 12.3 % > 5.0 %" in alarm_line(alarm(probability=0.123, threshold=0.05)).plain


def test_a_cleared_alarm_says_how_long_it_was_up() -> None:
    assert "RAISED   provisional  pm1" in alarm_line(alarm(provisional=True)).plain
    assert alarm_line(alarm("cleared")).plain == "2026-05-01 08:12Z  cleared  pm1  up for 10 min"


def test_only_the_newest_records_are_remembered() -> None:
    seen: dict[bytes, None] = {}
    for value in (b"1", b"2", b"3"):
        remember(seen, value, most=2)
    assert list(seen) == [b"2", b"3"]


def send(bootstrap: str, topic: str, *values: bytes) -> None:
    client = producer(Settings.load(bootstrap=bootstrap))
    for value in values:
        client.produce(topic, value, b"pm1")
    assert client.flush(10) == 0


@pytest.mark.slow
def test_json_prints_every_alarm_once_and_ends_when_idle(capsys: pytest.CaptureFixture[str]) -> None:
    raised, cleared = to_bytes(alarm()), to_bytes(alarm("cleared"))
    with EmbeddedBroker() as broker:
        broker.create_topics(["detector.alarms"])
        send(broker.bootstrap, "detector.alarms", raised, b"junk", raised, cleared)
        arguments = ["alarms", "--bootstrap", broker.bootstrap, "--from-beginning", "--until-idle", "1"]
        assert main([*arguments, "--json"]) == 0
        said = capsys.readouterr()
        assert said.out.splitlines() == [raised.decode(), cleared.decode()]
        assert "detector.alarms/0@1 is skipped" in said.err
        assert main([*arguments, "--asset", "pm2"]) == 0
        assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_without_from_beginning_only_new_alarms_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with EmbeddedBroker() as broker:
        broker.create_topics(["detector.alarms"])
        send(broker.bootstrap, "detector.alarms", to_bytes(alarm(id="old")))
        later = threading.Timer(0.7, send, (broker.bootstrap, "detector.alarms", to_bytes(alarm(id="new"))))
        later.start()
        assert main(["alarms", "--bootstrap", broker.bootstrap, "--json", "--until-idle", "2"]) == 0
        later.join()
        assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["new"]


@pytest.mark.kafka
def test_a_topic_that_is_made_later_is_read_from_its_start(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.stack.kafka import create_topic

    monkeypatch.setenv("STREAM_DETECTOR_TOPIC_ALARMS", unique_name)

    def make_and_send() -> None:
        time.sleep(1)
        create_topic(kafka.bootstrap, unique_name, 2)
        send(kafka.bootstrap, unique_name, to_bytes(alarm()))

    thread = threading.Thread(target=make_and_send)
    thread.start()
    assert main(["alarms", "--bootstrap", kafka.bootstrap, "--json", "--until-idle", "6"]) == 0
    thread.join()
    said = capsys.readouterr()
    assert f"waiting for the topic {unique_name}" in said.err
    assert len(said.out.splitlines()) == 1


def test_schemas_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schemas", "alarm"]) == 0
    assert "raised_at" in json.loads(capsys.readouterr().out)["properties"]
    assert main(["schemas", "--out", str(tmp_path / "s")]) == 0
    assert json.loads((tmp_path / "s" / "reading.schema.json").read_text())["title"] == "Reading"
    assert main(["schemas", "letter"]) == 2
    assert "known are reading, row" in capsys.readouterr().err
