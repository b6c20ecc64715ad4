"""The page for the plant's manager: what it says follows from the topics, and nothing from them can act in it."""

from typing import Any

import pytest

from stream_detector.messages import Alarm, LoggedEvent, RenewalDecision, TopSensor, to_bytes
from stream_detector.operations.ledger.challenger import Challengers
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import report
from stream_detector.operations.plant_report.page import render
from stream_detector.operations.plant_report.plant_report import PlantReport, plant_report
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.report_feed import ReportFeed
from stream_detector.streaming.readers.topic_reader import TopicRecord
from tests.support.messages import MIDNIGHT, STEPS_A_DAY, fill, make_alarm, make_event

DAY = 86_400.0
DAYS = 10


def of(*messages: Alarm | LoggedEvent, challenger: tuple[Alarm, ...] = (), **more: Any) -> PlantReport:
    ledger = Ledger()
    challengers = Challengers(fill(ledger, *messages))
    for alarm in challenger:
        challengers.add_alarm(alarm)
    since, until = MIDNIGHT, MIDNIGHT + DAYS * DAY
    compared = challengers.compare(since, until)
    alarms = [message for message in messages if isinstance(message, Alarm)]
    return plant_report("mill", since, until, report(ledger, since, until), alarms, compared, **more)


def some_days(caught: int) -> list[Alarm | LoggedEvent]:
    """A break a day; the first ones are announced."""
    events = [make_event(day * STEPS_A_DAY + 100) for day in range(DAYS)]
    return [*events, *(make_alarm(day * STEPS_A_DAY + 98, day * STEPS_A_DAY + 100) for day in range(caught))]


def decision(outcome: str, assets: str = "") -> RenewalDecision:
    names = {"group": "plant", "assets": assets} if assets else {"alias": "champion"}
    return RenewalDecision(
        id=f"{assets}/1", **names, round="2026-05-05T00:00:00Z", at="2026-05-05T00:10:00Z", who="trainer renew",
        outcome=outcome, why="it saves +4.0% more", trigger="", champion="a" * 16, candidate="b" * 16,
    )  # fmt: skip


def test_the_page_says_what_was_saved_missed_and_named() -> None:
    found = of(*some_days(5))
    page = render(found)
    assert "<b>475</b>saved" in page
    assert "<b>5 of 10</b>events announced" in page
    assert page.count("no alarm within the hour before") == 5
    assert [(sensor.name, sensor.alarms) for sensor in found.sensors] == [("x7", 5)]
    assert page.count("<rect") == DAYS


def test_days_that_pay_ask_for_nothing() -> None:
    assert [line[:8] for line in of(*some_days(DAYS)).advice] == ["Nothing:"]


def test_a_week_is_too_little_for_an_interval_and_says_so() -> None:
    ledger = fill(Ledger(), *some_days(5)[:7])
    found = plant_report("", MIDNIGHT, MIDNIGHT + 7 * DAY, report(ledger, MIDNIGHT, MIDNIGHT + 7 * DAY), [])
    assert found.advice[0].startswith("Nothing is shown yet: ")


def test_without_events_nothing_is_claimed() -> None:
    found = of(make_alarm(98, 100))
    assert "No event was logged" in found.advice[0]
    page = render(found)
    assert "<b>–</b>of 0 without alarms" in page


def test_what_came_too_early_or_too_late_is_told_from_what_never_came() -> None:
    found = of(make_event(100), make_alarm(90, 92), make_event(800), make_alarm(801, 803))
    assert [miss.why for miss in found.misses] == [
        "the last alarm came 20 min before, outside its lead window",
        "an alarm came 2 min too late",
    ]


def test_a_challenger_that_is_shown_to_be_better_and_a_proposal_are_advised() -> None:
    better = tuple(make_alarm(day * STEPS_A_DAY + 98, day * STEPS_A_DAY + 100, bundle="new") for day in range(DAYS))
    found = of(*some_days(1), challenger=better, decisions=[decision("proposed")], trained_until=MIDNIGHT - 40 * DAY)
    said = " ".join(found.advice)
    assert "promote new" in said
    assert f"promote {'b' * 16}" in said
    assert "50 days ago" in said
    assert "renewal of" in render(found)


def test_each_line_of_a_table_has_its_own_proposal() -> None:
    found = of(*some_days(1), decisions=[decision("proposed", "line1-*"), decision("failed", "line2-*")])
    said = " ".join(found.advice)
    assert f"promote {'b' * 16} --assets 'line1-*' --group plant" in said
    assert "renewal for 'line2-*' failed" in said


def test_names_from_the_topics_are_text_and_no_markup() -> None:
    bad = "<script>alert(1)</script>"
    top = [TopSensor(sensor=bad, share=1.0, value=1.0, expected=None)]
    page = render(of(make_event(100, event=bad), make_event(900, asset=bad), make_alarm(50, 52, top_sensors=top)))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3


@pytest.mark.parametrize("twice", [False, True])
def test_the_feed_keeps_the_newest_form_of_an_alarm_and_each_decision_once(twice: bool) -> None:
    settings = Settings()
    feed = ReportFeed(Ledger(), settings)
    messages = [
        (settings.topic_alarms, make_alarm(98)),
        (settings.topic_alarms, make_alarm(98, 100)),
        (settings.topic_renewal, decision("proposed")),
    ]
    for topic, message in messages * (2 if twice else 1):
        feed.take([TopicRecord(topic, 0, 0, 0, b"pm-1", to_bytes(message))])
    assert ([alarm.id for alarm in feed.alarms], len(feed.decisions)) == (["pm-1/98/b1"], 1)
