import shutil
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import stream_detector.operations as templates
from stream_detector.errors import UsageError
from stream_detector.messages import Alarm, TopSensor
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.notify.last_time import last_time
from stream_detector.operations.notify.notification import LANGUAGES, Writer
from stream_detector.operations.notify.receivers import to_alert
from stream_detector.operations.signing import sign, verify
from tests.support.messages import MIDNIGHT, fill, make_alarm, make_event, make_feedback


def test_the_english_text_says_when_how_likely_why_and_what_to_do() -> None:
    alarm = make_alarm(
        300,
        top_sensors=[
            TopSensor(sensor="x7", share=0.61, value=12.5, expected=10.25),
            TopSensor(sensor="x9", share=0.05, value=None, expected=None),
        ],
    )
    texts = Writer("en").write(alarm, "raised").texts
    assert texts["summary"] == "pm-1: event expected between 10:02 and 10:04 (UTC), probability 12 %"
    assert texts["expected"] == "2026-05-01, 10:02 to 10:04 (UTC)"
    assert texts["probability"] == "12 %; it pays to act from 5.0 %"
    assert texts["why"] == "x7 is 12.5, expected 10.25 (61 % of the evidence); x9 is missing (5.0 % of the evidence)"
    assert texts["action"] == "Slow the machine down for a moment and look at x7, x9 first."
    assert texts["cost"] == "The event costs 100, acting on this alarm 5; on average 12 is at stake."
    assert texts["description"].splitlines()[0] == "When: 2026-05-01, 10:02 to 10:04 (UTC)"


def test_the_text_of_a_provisional_alarm_says_so() -> None:
    plain, provisional = make_alarm(300), make_alarm(300, provisional=True)
    for language, word in (("en", "provisional"), ("ko", "임시")):
        assert word in Writer(language).write(provisional, "raised").texts["description"]
        assert word not in Writer(language).write(plain, "raised").texts["description"]


def test_the_korean_text_is_korean_and_in_the_plants_time() -> None:
    texts = Writer("ko", ZoneInfo("Asia/Seoul")).write(make_alarm(300), "raised").texts
    assert texts["summary"] == "pm-1: 19:02~19:04(KST) 사이에 이상 발생 예상, 확률 12 %"
    assert texts["why"] == "x7 현재값 12.5, 예상값 10.25 (근거의 60 %)"
    assert texts["action"] == "초지기를 잠시 감속하십시오. 먼저 확인할 센서: x7."
    assert "KST" in texts["expected"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "changes", [{}, {"probability": None}, {"top_sensors": []}, {"recipe": "lstm"}, {"costs": make_alarm(1).costs}]
)
@pytest.mark.parametrize("state", ["raised", "cleared", "suppressed"])
def test_every_text_is_complete_whatever_is_unknown(language: str, changes: dict[str, Any], state: str) -> None:
    notification = Writer(language).write(make_alarm(300, **changes), state, MIDNIGHT + 36_600, "calibration")
    for text in notification.texts.values():
        assert text
        assert "None" not in text
        assert "{" not in text


def test_a_plant_may_replace_a_single_template(tmp_path: Path) -> None:
    (tmp_path / "ko").mkdir()
    (tmp_path / "ko" / "action.j2").write_text("{{ asset }}: call the shift leader")
    texts = Writer("ko", folder=tmp_path).write(make_alarm(300), "raised").texts
    assert texts["action"] == "pm-1: call the shift leader"
    assert "사이에" in texts["summary"]


@pytest.mark.parametrize("content", ["{{ nothing_of_that_name }}", "{% if %}"])
def test_a_template_that_cannot_be_used_is_a_mistake_of_the_user(tmp_path: Path, content: str) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "why.j2").write_text(content)
    with pytest.raises(UsageError, match="template"):
        Writer("en", folder=tmp_path)


def test_a_template_that_fails_on_one_alarm_does_not_keep_it_from_people(tmp_path: Path) -> None:
    (tmp_path / "ko").mkdir()
    (tmp_path / "ko" / "why.j2").write_text("{{ 1 / top_sensors | length }}")
    notification = Writer("ko", folder=tmp_path).write(make_alarm(300, top_sensors=[]), "raised")
    assert notification.texts["why"] == "no single sensor stands out"
    assert notification.key == f"{make_alarm(300).id}:raised"


def test_an_unknown_language_names_those_that_are_shipped() -> None:
    with pytest.raises(UsageError, match="en, ko"):
        Writer("tlh")


def test_the_labels_stay_the_same_from_raised_to_cleared() -> None:
    writer, alarm = Writer(), make_alarm(300, probability=0.5)
    raised = to_alert(writer.write(alarm, "raised"), MIDNIGHT + 40_000)
    cleared = to_alert(writer.write(alarm, "cleared", MIDNIGHT + 36_600), MIDNIGHT + 40_000)
    assert raised["labels"] == cleared["labels"]
    assert raised["labels"]["severity"] == "critical"
    assert "endsAt" not in raised
    assert (cleared["startsAt"], cleared["endsAt"]) == ("2026-05-01T10:00:00Z", "2026-05-01T10:10:00Z")


def test_a_plant_clock_that_is_ahead_gives_no_end_in_the_future_and_none_before_the_start() -> None:
    alert = to_alert(Writer().write(make_alarm(300), "cleared", MIDNIGHT + 36_600), MIDNIGHT)
    assert alert["startsAt"] == alert["endsAt"] == "2026-05-01T00:00:00Z"


def test_a_signature_holds_for_this_body_this_secret_and_a_while() -> None:
    headers = sign(b"secret", b"body", 1_000.0)
    assert verify(b"secret", b"body", headers, 1_100.0)
    assert not verify(b"secret", b"bodY", headers, 1_100.0)
    assert not verify(b"other", b"body", headers, 1_100.0)
    assert not verify(b"secret", b"body", headers, 1_301.0)
    assert not verify(b"secret", b"body", {**headers, "X-Stream-Detector-Timestamp": "1001"}, 1_100.0)
    assert not verify(b"secret", b"body", {}, 1_100.0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_plants_with_machines_of_the_same_name_are_told_apart(language: str) -> None:
    ulsan, pohang = (Writer(language, site=site).write(make_alarm(300), "raised") for site in ("ulsan", "pohang"))
    assert ulsan.texts["summary"].startswith("ulsan, pm-1: ")
    assert ulsan.key != pohang.key
    assert to_alert(ulsan, MIDNIGHT)["labels"]["site"] == "ulsan"
    assert to_alert(pohang, MIDNIGHT)["labels"]["site"] == "pohang"


def test_without_a_site_labels_and_keys_stay_as_they_are() -> None:
    notification = Writer().write(make_alarm(300), "raised")
    assert set(to_alert(notification, MIDNIGHT)["labels"]) == {"alertname", "asset", "severity", "bundle", "recipe"}
    assert notification.key == f"{notification.alarm.id}:raised"


def test_people_are_told_what_became_of_the_last_alarms_like_this_one() -> None:
    first, second, third = (make_alarm(step, step + 2) for step in (10, 20, 30))
    ledger = fill(Ledger(), first, second, third, make_event(12), make_event(21))
    ledger.add_feedback(make_feedback("false-alarm", third.id))
    before = partial(last_time, ledger)
    texts = Writer(before=before).write(make_alarm(300), "raised").texts
    said = "2 of the last 3 like this were followed by an event, 2 to 4 min later; 1 judged false."
    assert texts["before"] == said
    assert texts["description"].splitlines()[-1] == f"Before: {said}"
    assert "3건 중 2건은 2~4분 뒤" in Writer("ko", before=before).write(make_alarm(300), "raised").texts["before"]
    assert "before" not in Writer(before=before).write(make_alarm(300), "cleared", MIDNIGHT + 36_600).texts
    unlike = make_alarm(300, top_sensors=[TopSensor(sensor="x9", share=0.9, value=1.0, expected=0.0)])
    assert "before" not in Writer(before=before).write(unlike, "raised").texts


def test_alarms_after_which_nothing_came_are_told_as_such() -> None:
    before = partial(last_time, fill(Ledger(), make_alarm(10, 12)))
    texts = Writer(before=before).write(make_alarm(300), "raised").texts
    assert texts["before"] == "None of the last 1 like this was followed by an event."


def test_what_was_before_is_found_once_for_each_alarm_and_keeps_none_from_people() -> None:
    asked = []

    def before(alarm: Alarm) -> None:
        asked.append(alarm.id)
        raise ValueError("the ledger is in pieces")

    writer = Writer(before=before)
    for _ in range(3):
        assert "before" not in writer.write(make_alarm(300), "raised").texts
    assert asked == [make_alarm(300).id]


def test_a_language_of_the_plants_own_that_is_older_than_this_part_goes_on_without_it(tmp_path: Path) -> None:
    shipped = Path(templates.__file__).parent / "templates" / "en"
    shutil.copytree(shipped, tmp_path / "de")
    (tmp_path / "de" / "before.j2").unlink()
    before = partial(last_time, fill(Ledger(), make_alarm(10, 12)))
    texts = Writer("de", folder=tmp_path, before=before).write(make_alarm(300), "raised").texts
    assert "before" not in texts
    assert texts["why"]
