import pytest

from stream_detector.__main__ import main
from stream_detector.messages import Feedback, from_iso, to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka
from tests.support.messages import make_alarm
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.topics import records_of


@pytest.mark.kafka
def test_feedback_from_the_command_line_reaches_its_topic(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_topic(kafka.bootstrap, unique_name)
    monkeypatch.setenv("STREAM_DETECTOR_TOPIC_FEEDBACK", unique_name)
    arguments = ["shelve", "--asset", "pm-1", "--for", "8h", "--reason", "calibration", "--who", "shift leader"]
    assert main(["feedback", *arguments, "--bootstrap", kafka.bootstrap]) == 0
    assert "shelve of pm-1 by shift leader" in capsys.readouterr().out
    found = records_of(kafka.bootstrap, unique_name, 1)
    feedback = Feedback.model_validate_json(found[0].value)
    assert (found[0].key, feedback.reason) == (b"pm-1", "calibration")
    assert from_iso(feedback.until) - from_iso(feedback.at) == 8 * 3_600


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["shelve", "--for", "8h"], "shelve needs a reason (--reason)"),
        (["shelve", "--reason", "calibration"], "shelve needs an end (--for)"),
        (["shelve", "--reason", "calibration", "--for", "soon"], "30m, 8h or 2d"),
        (["shelve", "--reason", "calibration", "--for", "8d"], "7d at most"),
        (["shelve", "--reason", "calibration", "--for", "999999999d"], "7d at most"),
        (["acknowledge"], "needs the id of the alarm (--alarm)"),
        (["forget"], "action 'forget'"),
    ],
)
def test_incomplete_feedback_is_refused_with_what_is_missing(
    arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["feedback", *arguments, "--asset", "pm-1"]) == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.kafka
def test_an_answer_to_an_alarm_that_never_was_is_refused_and_one_to_a_real_alarm_written(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alarm = make_alarm(8)
    for part in ("alarms", "feedback"):
        create_topic(kafka.bootstrap, f"{unique_name}-{part}")
        monkeypatch.setenv(f"STREAM_DETECTOR_TOPIC_{part.upper()}", f"{unique_name}-{part}")
    producer = librdkafka.producer(Settings.load(bootstrap=kafka.bootstrap))
    producer.produce(f"{unique_name}-alarms", b"not an alarm " + alarm.id.encode())
    producer.produce(f"{unique_name}-alarms", to_bytes(alarm), key=alarm.asset)
    producer.flush(30)
    common = ["--who", "Kim", "--bootstrap", kafka.bootstrap]
    for asset, id_ in ((alarm.asset, "nope"), ("elsewhere", alarm.id)):
        assert main(["feedback", "acknowledge", "--asset", asset, "--alarm", id_, *common]) == 2
        assert f"{asset} has no alarm {id_}" in capsys.readouterr().err
    assert main(["feedback", "unjudge", "--asset", alarm.asset, "--alarm", alarm.id, *common]) == 0
    [found] = records_of(kafka.bootstrap, f"{unique_name}-feedback", 1)
    assert Feedback.model_validate_json(found.value).action == "unjudge"
