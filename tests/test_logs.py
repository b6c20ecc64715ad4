"""How the commands log: with a zone, as JSON where asked, and no line over and over."""

import json
import logging
import re

from stream_detector.logs import JsonFormatter, RepeatFilter, TextFormatter


def record(text: str, *arguments: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("x", level, "", 7, text, arguments, None)


def test_a_time_has_its_zone() -> None:
    line = TextFormatter().format(record("away for %d s", 3))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d WARNING x: away for 3 s", line)


def test_json_is_one_object_a_line() -> None:
    line = JsonFormatter().format(record("two\nlines of %s", "é"))
    assert "\n" not in line
    found = json.loads(line)
    assert (found["level"], found["logger"], found["message"]) == ("WARNING", "x", "two\nlines of é")
    assert found["time"].endswith("+00:00")


def test_a_message_that_repeats_is_told_once_a_minute_with_its_count() -> None:
    now = 0.0
    repeats = RepeatFilter(lambda: now)
    told = []
    for second in range(720):
        now = float(second)
        line = record("the broker has not answered for %d s", second)
        if repeats.filter(line):
            told.append(line.getMessage())
    assert len(told) == 12
    assert told[1] == "the broker has not answered for 60 s (59 like it since the last)"


def test_messages_that_differ_in_what_was_measured_are_one_and_in_an_address_two() -> None:
    kept = RepeatFilter(lambda: 0.0)

    def passes(message: str) -> bool:
        return bool(kept.filter(record(message)))

    assert passes("Timer commit is overlapping (interval=0.5 runtime=1.558776443998795)")
    assert not passes("Timer commit is overlapping (interval=0.5 runtime=0.7960161519986286)")
    assert passes("no broker answers at 10.0.0.1:9092")
    assert passes("no broker answers at 10.0.0.2:9092")


def test_messages_about_two_assets_are_two_messages_and_infos_are_never_held_back() -> None:
    repeats = RepeatFilter(lambda: 0.0)
    assert repeats.filter(record("asset %s", "pm-1"))
    assert repeats.filter(record("asset %s", "pm-2"))
    assert all(repeats.filter(record("alarm", level=logging.INFO)) for _ in range(3))


def test_a_name_in_a_message_cannot_fake_a_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "asset %s", ("pm\n2026-01-01 INFO all is well\x1b[2J",), None)
    assert TextFormatter().format(record).endswith(r"asset pm\n2026-01-01 INFO all is well\x1b[2J")
