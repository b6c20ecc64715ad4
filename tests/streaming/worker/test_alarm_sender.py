"""Alarms under a schema: what is written, who reads it, and what a registry that is away does."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("fastavro")

from stream_detector.decoding.registry_records import HEAD, RegistryRecords, Schema
from stream_detector.errors import RegistryError, StalledError
from stream_detector.messages import Alarm, TopSensor, to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.alarm_schemas import AVRO, Form, schema_of, writer_of
from stream_detector.streaming.clients.producer import Burst, Outgoing
from stream_detector.streaming.readers import plain_alarms
from stream_detector.streaming.readers.plain_alarms import PlainAlarms
from stream_detector.streaming.readers.topic_reader import TopicRecord
from stream_detector.streaming.worker import alarm_sender
from stream_detector.streaming.worker.alarm_sender import AlarmSender
from tests.support.event_loop import in_event_loop
from tests.support.messages import make_alarm

SENSORS = [
    TopSensor(sensor="x7", share=0.75, value=None, expected=1.5),
    TopSensor(sensor="x8", share=0.25, value=2.0, expected=None),
]
ALARMS = [
    to_bytes(make_alarm(3, probability=None, top_sensors=SENSORS)),
    to_bytes(make_alarm(3, cleared=5, marks="states", held_back=True)),
]


@pytest.mark.parametrize("form", ["avro", "json"])
@pytest.mark.parametrize("plain", ALARMS)
@in_event_loop
async def test_an_alarm_is_the_same_bytes_after_it_was_under_a_schema(
    form: Form, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, kind = schema_of(form)
    registry = RegistryRecords({7: Schema(kind, text)}.get)
    monkeypatch.setattr(plain_alarms, "registry_of", lambda _: registry)
    settings = Settings(schema_registry_url="http://127.0.0.1:1")
    written = writer_of(form, 7)(plain)
    assert written.startswith(HEAD.pack(0, 7))
    others = (TopicRecord(settings.topic_alarms, 0, 0, 0, b"", plain), TopicRecord("other", 0, 0, 0, b"", written))
    record = TopicRecord(settings.topic_alarms, 0, 1, 0, b"", written)
    found = await PlainAlarms(settings).of([record, *others])
    assert [each.value for each in found] == [plain, plain, written]


@in_event_loop
async def test_without_a_registry_such_alarms_stay_what_they_are_and_the_log_says_what_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = TopicRecord(Settings().topic_alarms, 0, 0, 0, b"", HEAD.pack(0, 7) + b"{}")
    assert await PlainAlarms(Settings()).of([record]) == [record]
    assert "set STREAM_DETECTOR_SCHEMA_REGISTRY_URL here too" in caplog.text


def test_the_avro_schema_has_the_fields_of_an_alarm() -> None:
    assert [each["name"] for each in AVRO["fields"]] == list(Alarm.model_fields)
    (sensors,) = (each["type"]["items"] for each in AVRO["fields"] if each["name"] == "top_sensors")
    assert [each["name"] for each in sensors["fields"]] == list(TopSensor.model_fields)


class FakeSender:
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.started = 0

    async def start(self) -> None:
        self.started += 1

    async def stop(self) -> None:
        self.started = 0

    async def enqueue(self, messages: Sequence[Outgoing]) -> Burst:
        self.sent += messages
        return Burst(messages)

    async def confirm(self, burst: Burst) -> list[int | None]:
        return [None] * len(burst.messages)


SETTINGS = Settings(schema_registry_url="http://127.0.0.1:1", alarm_schema="json", start_seconds=10.0)


@in_event_loop
async def test_only_alarms_are_written_under_the_schema_that_was_registered_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alarm_sender, "AGAIN_SECONDS", 0.0)
    asked: list[Any] = []

    def register(subject: str, text: str, kind: str) -> int:
        asked.append((subject, kind, json.loads(text)["title"]))
        if len(asked) < 3:
            raise RegistryError("the schema registry does not answer")
        return 9

    inner = FakeSender()
    sender = AlarmSender(SETTINGS, inner, register)
    await sender.start()
    await sender.start()
    assert asked == [(f"{SETTINGS.topic_alarms}-value", "JSON", "Alarm")] * 3
    await sender.enqueue([Outgoing(SETTINGS.topic_alarms, b"pm-1", ALARMS[0]), Outgoing("other", b"pm-1", b"x")])
    assert [message.value for message in inner.sent] == [HEAD.pack(0, 9) + ALARMS[0], b"x"]


@in_event_loop
async def test_a_registry_that_never_answers_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_sender, "AGAIN_SECONDS", 0.0)
    now = [0.0]

    def register(*_: str) -> int:
        now[0] += 6.0
        raise RegistryError("the schema registry does not answer")

    with pytest.raises(StalledError, match="alarms cannot be written under a schema: the schema registry does not"):
        await AlarmSender(SETTINGS, FakeSender(), register, lambda: now[0]).start()


def test_a_schema_for_alarms_needs_a_registry() -> None:
    with pytest.raises(ValueError, match="alarm_schema needs schema_registry_url"):
        Settings(alarm_schema="avro")
