"""An alarm in words: names are data, and a state is no event to come."""

import pytest

from stream_detector.messages import Alarm, TopSensor, to_bytes
from stream_detector.operations.notify.alarm_text import alarm_line, sensors_in_words
from stream_detector.operations.notify.notification import Writer
from stream_detector.operations.notify.receivers import to_alert
from tests.support.messages import make_alarm

HOSTILE = "pump\x1b[2J\n2026-05-01 00:00  cleared  pm-1"


def test_a_name_with_a_percent_sign_stays_what_it_is() -> None:
    assert sensors_in_words([TopSensor(sensor="O2 12%", share=0.41, value=1, expected=2)]) == "O2 12% 41 %"


def test_a_name_cannot_fake_a_line_or_clear_the_screen() -> None:
    alarm = make_alarm(8, asset=HOSTILE, top_sensors=[TopSensor(sensor=HOSTILE, share=1, value=1, expected=2)])
    line = alarm_line(alarm).plain
    assert line.isprintable()
    assert "pump\\x1b[2J\\n2026" in line
    texts = Writer().write(alarm, "raised").texts
    assert "\x1b" not in "".join(texts.values())
    assert texts["summary"].isprintable()


@pytest.mark.parametrize(
    ("marks", "words", "alert"),
    [
        ("events", "expect it 00:18Z to 00:20Z", "PlantEventExpected"),
        ("states", "anomalous now", "PlantStateAnomalous"),
    ],
)
def test_a_state_is_said_to_be_there_and_an_event_to_come(marks: str, words: str, alert: str) -> None:
    alarm = make_alarm(8, marks=marks)
    assert words in alarm_line(alarm).plain
    notification = Writer().write(alarm, "raised")
    assert to_alert(notification, 2e9)["labels"]["alertname"] == alert
    assert ("expected" in notification.texts["summary"]) == (marks == "events")


def test_an_alarm_of_an_event_is_written_as_it_always_was() -> None:
    assert b"marks" not in to_bytes(make_alarm(8))
    assert Alarm.model_validate_json(to_bytes(make_alarm(8, marks="states"))).marks == "states"
