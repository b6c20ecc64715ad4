"""Nobody who may write to a topic can stop those who read it."""

import json
import logging
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_detector.messages import AlarmStateChange, Message, to_bytes
from stream_detector.operations.record_guard import MOST_NAMED, RecordGuard
from stream_detector.streaming.readers.topic_reader import TopicRecord
from tests.support.messages import at_step, make_alarm, make_event, make_feedback
from tests.support.properties import examples
from tests.support.readers import read_everywhere

KINDS = ("alarms", "feedback", "events", "alarm_states", "readings")
CHANGE = AlarmStateChange(
    asset="pm-1", alarm=None, state="shelved", previous="normal", at=at_step(0), who="w", why="w", until=at_step(9)
)
READING = {"time": at_step(1), "values": {"x1": 1.0, "x2": None}}
MODELS: list[dict[str, Any]] = [
    json.loads(to_bytes(message))
    for message in (
        make_alarm(1), make_alarm(1, 3), make_event(3), make_event(4, id="e", logged_at=at_step(5)), CHANGE,
        make_feedback("acknowledge", make_alarm(1).id),
        make_feedback("shelve", until=at_step(9), reason="r"),
        make_feedback("out-of-service", reason="r"),
    )
] + [READING]  # fmt: skip

times = st.sampled_from(
    ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "0002-01-01T00:00:00Z", "9998-12-31T23:59:59Z",
     "garbage", "2026-05-01", "2026-05-01T00:00:00", "", 0, -1, 1e300, 1e11, 2.5e14, True, None]
)  # fmt: skip
scalars = st.one_of(
    times, st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.text(max_size=5),
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([5e-324, 1e308, -1e308, math.inf, "\ud800"]),
    st.sampled_from(["raised", "cleared", "shelve", "unshelve", "normal"]),
)  # fmt: skip
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@st.composite
def nearly_messages(draw: st.DrawFn) -> bytes:
    message = dict(draw(st.sampled_from(MODELS)))
    for field in draw(st.lists(st.sampled_from(sorted(message)), min_size=1, max_size=3)):
        message[field] = draw(st.one_of(times, scalars, anything))
    return json.dumps(message).encode()


values = st.one_of(st.binary(max_size=50), anything.map(lambda found: json.dumps(found).encode()), nearly_messages())
records = st.lists(st.tuples(st.sampled_from(KINDS), values), min_size=1, max_size=8)
GOOD = make_alarm(500, asset="pm-9")


@settings(max_examples=examples(100), suppress_health_check=list(HealthCheck))
@given(records, st.sampled_from([-1, 0, 1_790_000_000_000, 2**62]))
def test_whatever_lies_in_the_topics_every_reader_goes_on_and_the_next_alarm_is_told(
    given: list[tuple[str, bytes]], timestamp_ms: int
) -> None:
    told = read_everywhere([*given, ("alarms", to_bytes(GOOD))], timestamp_ms)
    assert (GOOD.id, "raised") in told


def place(offset: int) -> TopicRecord:
    return TopicRecord("alarms", 0, offset, 0, None, None)


def fail(guard: RecordGuard, offset: int, error: Exception | None = None) -> None:
    with guard.skipping(place(offset)):
        raise error or ValueError("it is no alarm\x1b[31m\nWARNING all is well")


def test_a_record_is_counted_and_named_once_however_many_readers_meet_it(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[tuple[str, str]] = []
    guard = RecordGuard(lambda topic, reason: counted.append((topic, reason)))
    for _ in range(3):
        fail(guard, 7)
    fail(guard, 8, KeyError("bug"))
    assert counted == [("alarms", "malformed"), ("alarms", "fault")]
    assert guard.skipped == 4
    assert [record.getMessage() for record in caplog.records] == [
        "alarms/0@7 is skipped (malformed): it is no alarm [31m WARNING all is well",
        "alarms/0@8 is skipped (fault): 'bug'",
        "a well-formed record of alarms could not be handled",
    ]
    assert caplog.records[-1].exc_info is not None


def test_a_flood_of_bad_records_is_counted_and_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    now = 0.0
    guard = RecordGuard(lambda topic, _: counted.append(topic), clock=lambda: now)
    with caplog.at_level(logging.WARNING):
        for offset in range(1_000):
            fail(guard, offset)
        assert (len(counted), len(caplog.records)) == (1_000, MOST_NAMED + 1)
        now = 61.0
        fail(guard, 1_001)
    assert caplog.records[-1].getMessage().startswith("alarms/0@1001")


def test_what_claims_to_be_said_after_the_broker_took_it_is_not_heard() -> None:
    late = make_feedback("out-of-service", at="2200-01-01T00:00:00Z", reason="for ever")
    said: list[tuple[str, Message]] = [("feedback", late), ("alarms", GOOD)]
    assert read_everywhere([(kind, to_bytes(message)) for kind, message in said], 1_790_000_000_000) == [
        (GOOD.id, "raised")
    ]
