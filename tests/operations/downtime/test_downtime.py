"""Maintenance calendars: what they mean, and which are refused."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from stream_detector.errors import UsageError
from stream_detector.operations.downtime.calendar_file import LOOK_EVERY_SECONDS, CalendarFile, read_calendar
from stream_detector.operations.downtime.planned import Downtime, Planned
from stream_detector.operations.downtime.toml_calendar import parse


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


WEEKLY = """
[[window]]
assets = "pm-*"
what = "cleaning"
every = ["monday", "thursday"]
from = 22:00:00
until = 02:00:00
zone = "Europe/Berlin"
first = 2026-03-20
last = 2026-04-30

[[window]]
what = "inspection"
from = 2026-03-31T06:00:00+02:00
until = 2026-03-31T14:00:00+02:00
"""

ICAL = b"""BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//plant//calendar//EN\r
BEGIN:VEVENT\r
UID:1\r
DTSTART;TZID=Europe/Berlin:20260323T220000\r
DTEND;TZID=Europe/Berlin:20260324T020000\r
RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=4\r
EXDATE;TZID=Europe/Berlin:20260330T220000\r
SUMMARY:cleaning\r
LOCATION:pm-1, pm-2\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:2\r
DTSTART;VALUE=DATE:20260401\r
SUMMARY:works holiday\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:3\r
DTSTART:20260402T060000Z\r
DURATION:PT2H\r
STATUS:CANCELLED\r
SUMMARY:called off\r
END:VEVENT\r
END:VCALENDAR\r
"""


@pytest.fixture
def weekly() -> Downtime:
    return Downtime(parse(WEEKLY))


@pytest.mark.parametrize(
    ("asset", "moment", "what"),
    [
        ("pm-3", "2026-03-26T21:59:59+01:00", None),
        ("pm-3", "2026-03-26T22:00:00+01:00", "cleaning"),
        ("pm-3", "2026-03-27T01:59:59+01:00", "cleaning"),
        ("pm-3", "2026-03-27T02:00:00+01:00", None),
        ("pm-3", "2026-03-30T22:00:00+02:00", "cleaning"),  # the clocks were changed on the 29th
        ("pm-3", "2026-03-19T22:30:00+01:00", None),  # before the first day
        ("pm-3", "2026-05-04T22:30:00+02:00", None),  # after the last one
        ("boiler", "2026-03-26T23:00:00+01:00", None),
        ("boiler", "2026-03-31T06:00:00+02:00", "inspection"),
        ("boiler", "2026-03-31T14:00:00+02:00", None),
    ],
)
def test_an_asset_is_down_in_its_windows_by_the_clock_of_the_place(
    weekly: Downtime, asset: str, moment: str, what: str | None
) -> None:
    found = weekly.at(asset, at(moment))
    assert (None if found is None else found.what) == what


def test_of_windows_that_overlap_the_one_that_ends_last_counts(weekly: Downtime) -> None:
    both = Downtime(parse(WEEKLY.replace("06:00:00+02:00", "01:00:00+02:00")))
    assert both.at("pm-3", at("2026-03-31T01:30:00+02:00")) == Planned(
        "*", at("2026-03-31T01:00:00+02:00"), at("2026-03-31T14:00:00+02:00"), "inspection"
    )


def test_every_window_that_has_a_part_in_a_span_is_listed_in_order(weekly: Downtime) -> None:
    found = weekly.between(at("2026-03-31T00:30:00+02:00"), at("2026-04-02T22:00:01+02:00"))
    assert [window.what for window in found] == ["cleaning", "inspection", "cleaning"]


def test_a_calendar_of_icalendar_brings_recurrences_exceptions_days_and_places(tmp_path: Path) -> None:
    pytest.importorskip("recurring_ical_events")
    path = tmp_path / "plant.ics"
    path.write_bytes(ICAL)
    calendar = read_calendar(path)
    days = ("03-24", "03-30", "04-06", "04-13", "04-20")
    down = [calendar.at("pm-2", at(f"2026-{day}T23:00:00+02:00")) is not None for day in days]
    assert down == [False, False, True, True, False]
    assert calendar.at("pm-1", at("2026-03-23T23:00:00+01:00")) is not None
    assert calendar.at("pm-3", at("2026-03-23T23:00:00+01:00")) is None
    assert calendar.at("pm-3", at("2026-04-01T12:00:00Z")) == Planned(
        "*", at("2026-04-01T00:00:00Z"), at("2026-04-02T00:00:00Z"), "works holiday"
    )
    assert calendar.at("pm-3", at("2026-04-02T07:00:00Z")) is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.toml", "[[window]]\nfrom = 2026-03-31T06:00:00\nuntil = 2026-03-31T07:00:00Z", "window 1: .*has no offset"),
        ("c.toml", "[[window]]\nfrom = 2026-03-31T06:00:00Z\nuntil = 2026-03-31T06:00:00Z", "is not after from"),
        ("c.toml", '[[window]]\nevery = "mon"\nfrom = 06:00:00\nuntil = 07:00:00', "window 1: every"),
        ("c.toml", '[[window]]\nevery = "day"\nfrom = 06:00:00\nuntil = 07:00:00\nzone = "Mars"', "no time zone"),
        ("c.toml", "[[window]]\nfrom = 2026-03-31T06:00:00Z", "window 1: until"),
        ("c.toml", "[window]\nfrom = 1", "something else than tables"),
        ("c.toml", "[[window", "cannot be used"),
        ("missing.toml", None, "cannot be read"),
    ],
)
def test_a_calendar_that_cannot_be_used_is_refused_with_its_name_and_the_window(
    tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=f"(?s){name}.*{said}"):
        read_calendar(tmp_path / name)


def test_a_file_that_is_no_icalendar_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("recurring_ical_events")
    (tmp_path / "c.ics").write_text("hello")
    with pytest.raises(UsageError, match=r"c\.ics cannot be used"):
        read_calendar(tmp_path / "c.ics")


def test_a_calendar_is_read_again_when_it_changes_and_kept_where_the_new_one_is_none(tmp_path: Path) -> None:
    path, now, moment = tmp_path / "c.toml", 0.0, at("2026-03-31T08:00:00+02:00")
    path.write_text(WEEKLY)
    calendar = CalendarFile(path, lambda: now)
    assert calendar.at("boiler", moment) is not None
    path.write_text("[[window")
    os.utime(path, (1, 1))
    now += LOOK_EVERY_SECONDS
    assert calendar.at("boiler", moment) is not None
    path.write_text("")
    path.write_text('[[window]]\nevery = "sunday"\nfrom = 06:00:00\nuntil = 07:00:00\n')
    assert calendar.at("boiler", moment) is not None, "it is not looked at each time"
    now += LOOK_EVERY_SECONDS
    assert calendar.at("boiler", moment) is None
