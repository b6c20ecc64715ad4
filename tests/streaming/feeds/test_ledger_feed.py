import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from stream_detector.__main__ import main
from stream_detector.messages import to_bytes
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed
from stream_detector.streaming.readers.topic_reader import TopicRecord
from tests.support.messages import MIDNIGHT, STEPS_A_DAY, make_alarm, make_change, make_event, make_feedback
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic

SETTINGS = Settings()
NO_CHALLENGER = {"challenger": None}


def record(topic: str, value: bytes | None, key: bytes | None = b"pm-1") -> TopicRecord:
    return TopicRecord(topic, 0, 0, 0, key, value)


def test_records_that_are_no_messages_are_counted_and_change_nothing() -> None:
    feed = LedgerFeed(Ledger(), SETTINGS)
    bad = [b"", b"{}", b"\xff", b'{"time":1e300,"event":"break"}', b'{"time":"2026-05-01T00:00:00","event":"break"}']
    touched = feed.take(record(topic, value) for value in bad for topic in feed.topics)
    touched |= feed.take([record(SETTINGS.topic_events, to_bytes(make_event(10)), key=None)])
    touched |= feed.take([record(SETTINGS.topic_events, to_bytes(make_event(10)), key=b"\xff")])
    assert (feed.guard.skipped, touched, feed.ledger.assets) == (len(bad) * 3 + 2, set(), [])


@pytest.mark.parametrize(("judges_standing", "missed"), [(False, 0), (True, 1)])
def test_events_while_a_machine_stands_count_only_where_that_is_asked_for(judges_standing: bool, missed: int) -> None:
    feed = LedgerFeed(Ledger(), SETTINGS)
    feed.judges_standing = judges_standing
    change, event = to_bytes(make_change(5, running=False)), to_bytes(make_event(10))
    assert feed.take([record(SETTINGS.topic_events, event), record(SETTINGS.topic_operating, change)]) == {"pm-1"}
    assert report(feed.ledger).total.missed == missed
    assert SETTINGS.topic_operating in feed.optional_topics


def test_a_tombstone_is_no_fault() -> None:
    feed = LedgerFeed(Ledger(), SETTINGS)
    feed.take([record(SETTINGS.topic_alarms, None)])
    assert feed.guard.skipped == 0


@pytest.fixture
def topics(kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    names = {name: f"{unique_name}-{name}" for name in ("alarms", "events", "feedback", "challenger_alarms")}
    for name, topic in names.items():
        create_topic(kafka.bootstrap, topic, partitions=3)
        monkeypatch.setenv(f"STREAM_DETECTOR_TOPIC_{name.upper()}", topic)
    return names


def send(bootstrap: str, topic: str, messages: Iterable[Any]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for message in messages:
        producer.produce(topic, to_bytes(message), key=(message.asset or "pm-1").encode())
    assert producer.flush(20) == 0


@pytest.mark.kafka
def test_the_command_rebuilds_the_same_ledger_from_topics_in_any_order(
    kafka: Kafka | ExistingKafka, topics: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = [make_alarm(r, asset=a) for r in range(0, 400, 20) for a in ("pm-1", "pm-2")]
    alarms += [make_alarm(r, r + 2, asset=a) for r in range(0, 400, 20) for a in ("pm-1", "pm-2")]
    events = [make_event(step, asset=a) for step in range(2, 400, 50) for a in ("pm-1", "pm-2")]
    feedback = [make_feedback("real", alarms[0].id, at=1), make_feedback("false-alarm", alarms[0].id, at=2)]
    in_memory = Ledger()
    for alarm in alarms:
        in_memory.add_alarm(alarm)
    for event in events:
        in_memory.add_event("", event)
    for said in feedback:
        in_memory.add_feedback(said)
    for messages in (alarms, events, feedback):
        random.Random(4).shuffle(messages)
    send(kafka.bootstrap, topics["alarms"], alarms + alarms[:7])
    send(kafka.bootstrap, topics["events"], events)
    send(kafka.bootstrap, topics["feedback"], feedback)

    file = tmp_path / "ledger.json"
    assert main(["ledger", "--bootstrap", kafka.bootstrap, "--json", str(file)]) == 0
    assert json.loads(file.read_text()) == NO_CHALLENGER | json.loads(json.dumps(report(in_memory).to_json()))
    assert "pm-2" in capsys.readouterr().out

    since = MIDNIGHT + 200 * 120
    arguments = ["--since", "2026-05-01T06:40:00Z", "--asset", "pm-2", "--json", "-"]
    assert main(["ledger", "--bootstrap", kafka.bootstrap, *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)
    expected = report(in_memory, since=since, asset="pm-2").to_json()
    assert shown == NO_CHALLENGER | json.loads(json.dumps(expected))


@pytest.mark.kafka
def test_the_report_reaches_back_from_the_newest_entry_of_the_topics(
    kafka: Kafka | ExistingKafka, topics: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(kafka.bootstrap, topics["alarms"], [make_alarm(98, 100), make_alarm(10 * STEPS_A_DAY + 98)])
    send(kafka.bootstrap, topics["events"], [make_event(step * STEPS_A_DAY + 100) for step in (0, 10)])
    page = tmp_path / "report.html"
    assert main(["report", "--bootstrap", kafka.bootstrap, "--since", "7d", "--out", str(page)]) == 0
    assert "1 of 1 events announced, saved 95" in capsys.readouterr().out
    assert main(["report", "--bootstrap", kafka.bootstrap, "--since", "2026-05-01", "--out", str(page)]) == 0
    assert "2 of 2 events announced, saved 190" in capsys.readouterr().out
    assert "<b>190</b>saved" in page.read_text()


@pytest.mark.kafka
def test_a_topic_that_does_not_exist_is_named_and_read_as_empty(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAM_DETECTOR_TOPIC_EVENTS", unique_name)
    assert main(["ledger", "--bootstrap", kafka.bootstrap]) == 0
    assert f"{unique_name} does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--since", "yesterday"], "2026-05-01T06:30:00Z"),
        (["--since", "2026-05-02", "--until", "2026-05-01"], "is not after"),
        (["--bootstrap", "127.0.0.1:1"], "nothing listens at 127.0.0.1:1"),
    ],
)
def test_a_mistake_is_explained_without_a_traceback(
    arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert wanted in error
    assert "Traceback" not in error
    assert error.count("\n") == 1, "the client of Kafka says nothing of its own"
