"""Bytes to columns: what is accepted, and that what is not is pointed at exactly."""

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stream_detector.decoding.asset_names import AssetNames, fitting
from stream_detector.decoding.decoded import REASONS, Decoded
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.notes import Notes
from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.detection.grid.contents import EVENT_SENSOR
from stream_detector.messages import Block, Event, Reading, Readings, Row
from tests.fuzz.corpus import JSON_RECORDS
from tests.support.properties import examples

SENSORS = ("x1", "x2")
TIME = "2026-05-01T00:02:00Z"
SECONDS = 1_777_593_720.0
GOOD = b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":12.5}'


TOLD = UnknownPolicies("dead-letter", "dead-letter")


def ours(globs: str = "*", allowed: tuple[str, ...] = ("*",)) -> AssetNames:
    return AssetNames(fitting(globs, allowed))


def decode(
    *values: bytes | None,
    key: bytes | None = b"m1",
    assets: str = "*",
    policies: UnknownPolicies = TOLD,
    allowed: tuple[str, ...] = ("*",),
) -> Decoded:
    return Decoder(SENSORS, ours(assets, allowed), None, policies).decode([key] * len(values), values)


def reject(value: bytes | None, **options: Any) -> tuple[str, int]:
    """Reason and number of readings of the only reject."""
    decoded = decode(value, **options)
    assert not len(decoded.index)
    (found,) = decoded.rejects
    assert found.detail
    return found.reason, found.readings


def check_alike(short: Decoded, long: Decoded) -> None:
    """Both say the same, whatever way each went."""
    for column in ("index", "last_time"):
        np.testing.assert_array_equal(getattr(short, column), getattr(long, column), column)
    for column in ("record", "sensor", "time", "value"):
        np.testing.assert_array_equal(getattr(short.cells, column), getattr(long.cells, column), column)
    assert (short.asset, short.rows, short.blocks, short.events) == (long.asset, long.rows, long.blocks, long.events)
    assert (short.missing, short.unknown.of_sensors, short.unknown.of_assets) == (
        long.missing, long.unknown.of_sensors, long.unknown.of_assets
    )  # fmt: skip
    by_place = [sorted(found.rejects, key=lambda reject: reject.index) for found in (short, long)]
    assert by_place[0] == by_place[1]


def test_a_reading_becomes_one_line_of_the_columns() -> None:
    decoded = decode(GOOD)
    cells = decoded.cells
    assert (decoded.asset, cells.sensor.tolist(), cells.time.tolist(), cells.value.tolist()) == (
        ["m1"], [0], [SECONDS], [12.5]
    )  # fmt: skip


@pytest.mark.parametrize(
    "time", ["2026-05-01T00:02:00Z", "2026-05-01T09:02:00+09:00", SECONDS, int(SECONDS), int(SECONDS * 1000)]
)
def test_a_time_is_iso_with_a_zone_or_epoch_seconds_or_milliseconds(time: Any) -> None:
    assert decode(orjson.dumps({"sensor": "x1", "time": time, "value": 1})).cells.time.tolist() == [SECONDS]


@pytest.mark.parametrize(
    "time",
    ["2026-05-01T00:02:00", "1777593720", "", "soon", "1899-12-31T23:59:59Z", "2200-01-01T00:00:00Z", 1e300, -1e300,
     SECONDS * 1e6, "0001-01-01T00:00:00+23:59"],
)  # fmt: skip
def test_a_time_without_zone_or_outside_of_our_calendar_is_refused(time: Any) -> None:
    assert reject(orjson.dumps({"sensor": "x1", "time": time, "value": 1})) == ("bad-time", 1)


@pytest.mark.parametrize(
    ("value", "reason", "readings"),
    [
        (None, "tombstone", 1),
        (b"", "malformed", 1),
        (b"\xff\xfe", "malformed", 1),
        (GOOD + GOOD, "malformed", 1),
        (b"[" + GOOD + b"]", "malformed", 1),
        (b'{"sensor":"\\ud800","time":0,"value":1}', "malformed", 1),
        (b'{"sensor":"x1","time":0}', "malformed", 1),
        (b'{"sensor":"x1","time":NaN,"value":1}', "bad-time", 1),
        (b'{"sensor":"x1","time":0,"step_seconds":0,"values":[1]}', "malformed", 1),
        (b'{"time":NaN,"asset":"\\ud800","readings":[{"sensor":"x1","value":1}]}', "malformed", 1),
        (b'{"time":0,"readings":[{"value":1}]}', "malformed", 1),
        (b'{"time":0,"event":""}', "malformed", 1),
        (b'{"sensor":"y","time":0,"value":1}', "unknown-sensor", 1),
        (b'{"time":0,"values":{"y":1,"z":2}}', "unknown-sensor", 2),
        (b'{"sensor":"y","value":1}', "unknown-sensor", 1),
        (b'{"sensor":"y","time":"soon","value":[]}', "unknown-sensor", 1),
        (b'{"sensor":"y","time":0,"step_seconds":1,"values":[1,2,3]}', "unknown-sensor", 3),
        (b'{"sensor":"x1","time":7e9,"step_seconds":1e9,"values":[1,2,3]}', "bad-time", 3),
        (b'{"a":' * 50_000, "malformed", 1),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(value: bytes | None, reason: str, readings: int) -> None:
    assert reject(value) == (reason, readings)


@pytest.mark.filterwarnings("error")
def test_a_block_whose_end_is_beyond_all_numbers_is_refused_without_a_warning() -> None:
    assert reject(b'{"sensor":"x1","time":0,"step_seconds":1.7e308,"values":[1,2]}') == ("bad-time", 2)


@pytest.mark.parametrize(
    ("key", "assets", "reason"),
    [(None, "*", "bad-key"), (b"", "*", "bad-key"), (b"\xff", "*", "bad-key"), (b"a" * 300, "*", "bad-key"),
     (b"m1", "mill-*", "unknown-asset")],
)  # fmt: skip
def test_an_asset_needs_a_name_that_the_bundle_is_for(key: bytes | None, assets: str, reason: str) -> None:
    assert reject(GOOD, key=key, assets=assets) == (reason, 1)


def test_the_asset_in_the_record_overrides_the_key() -> None:
    value = b'{"sensor":"x1","time":0,"value":1,"asset":"m2"}'
    assert decode(value, GOOD).asset == ["m2", "m1"]
    assert decode(value, key=None).asset == ["m2"]


def test_a_row_loses_only_what_is_wrong_in_it() -> None:
    decoded = decode(b'{"time":0,"values":{"x2":1,"nonsense":2,"other":"3"}}')
    assert (decoded.cells.sensor.tolist(), decoded.cells.value.tolist()) == ([1], [1.0])
    (found,) = decoded.rejects
    assert (found.reason, found.readings, found.detail) == ("unknown-sensor", 2, "nonsense, other")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [(b"NaN", "not-finite"), (b"-Infinity", "not-finite"), (b"1e999", "not-finite"), (b"9" * 400, "not-finite"),
     (b'"NaN"', "not-finite"), (b"true", "boolean"), (b'"12.5"', "number-as-text"), (b'"RUNNING"', "text"),
     (b'""', "text"), (b"[1]", "other"), (b"{}", "other")],
)  # fmt: skip
@pytest.mark.parametrize(
    "record",
    [b'{"sensor":"x1","time":7,"value":%s}', b'{"time":7,"values":{"x1":%s}}',
     b'{"sensor":"x1","time":7,"step_seconds":1,"values":[%s]}', b'{"time":7,"readings":[{"sensor":"x1","value":%s}]}'],
    ids=["reading", "row", "block", "several readings"],
)  # fmt: skip
def test_what_is_no_number_is_a_missing_cell_with_its_reason(record: bytes, cell: bytes, reason: str) -> None:
    decoded = decode(record % cell, GOOD)
    assert decoded.cells.time.tolist() == [7.0, SECONDS]
    assert np.isnan(decoded.cells.value).tolist() == [True, False]
    assert (decoded.missing, decoded.rejects) == ({reason: 1}, [])


def test_a_dead_sensor_costs_a_row_nothing_but_its_own_cell() -> None:
    decoded = decode(b'{"time":0,"values":{"x1":NaN,"x2":2.5}}')
    np.testing.assert_array_equal(decoded.cells.value, [np.nan, 2.5])
    assert decoded.missing == {"not-finite": 1}


def test_several_readings_in_a_record_stay_one_record_of_their_asset() -> None:
    decoded = decode(
        b'{"time":5,"readings":[{"sensor":"x2","value":2,"time":6},{"sensor":"x1","value":1},{"sensor":"y","value":0},'
        b'{"sensor":"x1","value":3,"asset":"m2","quality":"bad"},{"sensor":"x1","value":4,"time":"soon"}]}'
    )
    assert (decoded.index.tolist(), decoded.asset, decoded.cells.record.tolist()) == (
        [0, 0],
        ["m1", "m2"],
        [0, 0, 1],
    )
    assert (
        decoded.cells.time.tolist(),
        decoded.cells.sensor.tolist(),
        decoded.last_time.tolist(),
    ) == (
        [5, 6, 5],
        [0, 1, 0],
        [6, 5],
    )
    np.testing.assert_array_equal(decoded.cells.value, [1, 2, np.nan])
    assert decoded.missing == {"bad-quality": 1}
    assert [(found.index, found.reason, found.readings) for found in decoded.rejects] == [
        (0, "unknown-sensor", 1), (0, "bad-time", 1)
    ]  # fmt: skip


def test_unknown_names_are_counted_and_the_newest_told() -> None:
    others = [b'{"sensor":"other-%d","time":%d,"value":"RUNNING"}' % (number, number) for number in range(300)]
    row = b'{"time":1,"values":{"x1":1,"extra":2}}'
    decoded = decode(GOOD, *others, row, policies=IGNORING)
    assert (decoded.index.tolist(), decoded.rejects) == ([0, 301], [])
    assert (decoded.unknown.of_sensors, decoded.unknown.of_assets) == (301, 0)
    assert set(decoded.unknown.sensors) == {"extra", *(f"other-{number}" for number in range(281, 300))}


def test_an_asset_that_no_glob_allows_is_unknown_whatever_its_sensors() -> None:
    allowed = ("m[1-2]", "pm-*")
    for key, sensor in ((b"m3", "x1"), (b"m3", "y"), (b"xm-1", "x2")):
        found = decode(
            b'{"sensor":"%s","time":0,"value":1}' % sensor.encode(), key=key, allowed=allowed, policies=IGNORING
        )
        assert (len(found.index), found.unknown.of_assets, found.unknown.assets) == (0, 1, (key.decode(),))
    assert decode(GOOD, key=b"pm-7", allowed=allowed).asset == ["pm-7"]


def test_rows_with_columns_of_others_are_read_together() -> None:
    rows = [b'{"time":%d,"values":{"other":1,"x2":%d,"more":"on"}}' % (number, number) for number in range(3)]
    plain = [b'{"time":%d,"values":{"other":1,"x2":%d,"more":2}}' % (number, number) for number in range(3)]
    for values in (rows, plain):
        decoded = decode(*values, policies=IGNORING)
        assert (
            decoded.cells.value.tolist(),
            decoded.cells.sensor.tolist(),
            decoded.unknown.of_sensors,
        ) == ([0, 1, 2], [1] * 3, 6)


@pytest.mark.parametrize("others", [{"z": 9.0, "x2": 2.0}, {"z": 9.0, "x2": 2.0, "x1": 1.0}])
def test_rows_of_two_layouts_in_a_batch_keep_their_own_sensors(others: dict[str, float]) -> None:
    decoder = Decoder(SENSORS, ours())
    one, other = (orjson.dumps({"time": TIME, "values": values}) for values in ({"x1": 1.0, "x2": 2.0}, others))
    decoder.decode([b"m1"] * 30, [one] * 30)
    for few in (1, 2, 3):
        decoded = decoder.decode([b"m1"] * 30 + [b"m2"] * few, [one] * 30 + [other] * few)
        assert decoded.cells.value.tolist() == (decoded.cells.sensor + 1.0).tolist()
        assert len(decoded.cells.sensor) == 2 * 30 + (len(others) - 1) * few
        assert decoded.unknown.of_sensors == few


@pytest.mark.parametrize("name", ['3" pipe', "a\\b", "two\nlines"])
def test_a_name_with_a_quote_a_backslash_or_a_control_character_is_one_like_others(name: str) -> None:
    rows = [orjson.dumps({"time": 1 + number, "values": {"x1": number, name: 2}}) for number in range(3)]
    for sensors, values in ((("x1", name), [0, 2, 1, 2, 2, 2]), (("x1",), [0, 1, 2])):
        decoder = Decoder(sensors, ours())
        # The rows of a batch say how those of the next one are parsed.
        found = [decoder.decode([b"m1"] * 3, rows) for _ in range(2)]
        assert [decoded.cells.value.tolist() for decoded in found] == [values] * 2


def test_null_and_bad_quality_are_missing() -> None:
    decoded = decode(
        b'{"sensor":"x1","time":0,"value":null}',
        b'{"sensor":"x1","time":0,"value":1,"quality":"bad"}',
        b'{"time":0,"values":{"x1":null,"x2":0}}',
    )
    assert np.isnan(decoded.cells.value).tolist() == [True, True, True, False]


def test_a_block_is_one_reading_a_sample() -> None:
    decoded = decode(b'{"sensor":"x2","time":10,"step_seconds":0.5,"values":[1,null,3]}')
    assert decoded.cells.time.tolist() == [10.0, 10.5, 11.0]
    assert decoded.last_time.tolist() == [11.0]
    assert decoded.cells.sensor.tolist() == [1, 1, 1]


def test_records_of_all_kinds_stay_in_the_order_of_the_batch() -> None:
    decoded = decode(
        GOOD, b"junk", b'{"time":1,"values":{"x1":1,"x2":2}}', GOOD, None, b'{"time":2,"event":"break"}',
        b'{"sensor":"x2","time":"soon","value":1}', b'{"sensor":"x2","time":4,"value":1}', GOOD,
    )  # fmt: skip
    assert decoded.index.tolist() == [0, 2, 3, 5, 7, 8]
    assert decoded.cells.record.tolist() == [0, 1, 1, 2, 3, 4, 5]
    assert decoded.cells.sensor.tolist() == [0, 0, 1, 0, EVENT_SENSOR, 1, 0]
    assert sorted((found.index, found.reason) for found in decoded.rejects) == [
        (1, "malformed"), (4, "tombstone"), (6, "bad-time")
    ]  # fmt: skip


def test_one_poison_record_changes_nothing_for_the_others() -> None:
    values = [b'{"sensor":"x%d","time":%d,"value":%d}' % (1 + n % 2, n, n) for n in range(100)]
    clean = decode(*values)
    for poison in JSON_RECORDS:
        mixed = decode(*values[:50], poison, *values[50:])
        others = mixed.index != 50
        assert np.flatnonzero(others).tolist() == [*range(50), *range(len(mixed.index) - 50, len(mixed.index))]
        cells, wanted = mixed.cells, clean.cells
        kept = others[cells.record]
        for column in ("time", "sensor", "value"):
            assert getattr(cells, column)[kept].tolist() == getattr(wanted, column).tolist()
        assert all(found.index == 50 and found.reason in REASONS for found in mixed.rejects)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70), st.none(), st.booleans(),
    st.text(max_size=3), st.just([]),
)  # fmt: skip
objects = st.fixed_dictionaries(
    {},
    optional={
        "sensor": st.one_of(st.sampled_from(["x1", "x2"]), st.none(), st.integers()),
        "time": st.one_of(
            st.floats(0, 4e9), st.integers(0, 4 * 10**12), st.just(TIME), st.just("2026-05-01T00:02:00"), st.none()
        ),
        "value": numbers,
        "asset": st.one_of(st.text("ab", max_size=2), st.none(), st.integers()),
        "quality": st.one_of(st.sampled_from(["good", "bad"]), st.none()),
        "event": st.one_of(st.text("ab", max_size=2), st.integers()),
        "values": st.one_of(
            st.dictionaries(st.sampled_from(["x1", "x2"]), numbers, max_size=2), st.lists(numbers, max_size=3)
        ),
        "step_seconds": st.one_of(st.floats(-1, 2), st.integers(0, 2), st.text(max_size=1)),
    },
)


def _messages_accept(value: bytes) -> bool:
    """Whether one of the public messages does."""
    for model in (Event, Reading, Block, Row, Readings):
        try:
            model.model_validate_json(value)
        except ValidationError:
            continue
        return True
    return False


@settings(max_examples=examples(400))
@given(objects)
def test_it_accepts_what_the_public_messages_accept(message: dict[str, Any]) -> None:
    try:
        value = orjson.dumps(message)
    except TypeError:
        return  # an integer beyond 64 bits
    decoded = decode(value)
    assert all(math.isfinite(time) for time in decoded.cells.time)
    assert not np.isinf(decoded.cells.value).any()
    if len(decoded.index):
        assert _messages_accept(value) or decoded.missing, "only what is no number may be missing"
    elif _messages_accept(value) and not isinstance(message.get("event"), str):
        # Refused though the form is right: the time, or a message of several kinds of which the first one counts.
        refused = decoded.rejects or decoded.unknown.readings
        assert refused or message["values"] in ({}, []) or "value" in message


_KEYS: list[bytes | None] = [b"m1", b"m2", b"other", b"\xff", b"", None]
_ODD: list[bytes | None] = [
    None, b"", b'{"time":1,"event":"break"}', b'{"time":3,"values":{"x1":1,"x2":null}}',
    b'{"sensor":"x2","time":3,"step_seconds":1,"values":[1,2]}', b'{"sensor":"x1","time":4,"value":1,"asset":"m3"}',
    b'{"sensor":"x1","time":4,"value":1,"asset":null,"quality":"good"}',
    b'{"sensor":"x1","time":5,"value":7,"unit":"C"}',
    b'{"sensor":"x1","time":5,"value":7,"quality":"bad"}', b'{"sensor":"y","time":5,"value":7}',
    b'{"sensor":"x1","time":6}', b'{"sensor":"y"}', b'{"sensor":"y","time":5,"value":"on","asset":"m1"}',
    b'{"sensor":"x1","time":5,"value":NaN}', b'{"sensor":"y","time":5,"value":NaN}', b'{"sensor":"y","asset":"other"}',
    b'{"time":5,"readings":[{"sensor":"x1","value":1},{"sensor":"y","value":1},{"sensor":"x2","value":2,"asset":"m1"}]}',
    b'{"sensor":"x1","time":"soon","value":1}', b'{"sensor":"x1","time":1e300,"value":1}', *JSON_RECORDS,
]  # fmt: skip


_FORMS: list[dict[str, Any]] = [
    {"sensor": "x1", "value": 1 / 7},
    {"values": {"x1": 0.1, "x2": None}},
    {"values": {"x2": 3, "x1": 7.5}},
    {"values": {"x2": 3}},
    {"values": {"y": "on", "x1": 7.5, "z": [1, {"x2": 2}]}},
    {"values": {"x1": 7.5, "x2": 1}, "unit": "C"},
    {"values": {"x1": 7.5, 'y 2"': 1}},
    {"sensor": "x2", "step_seconds": 0.5000001, "values": [0.1, None, 3]},
    {"sensor": "x1", "step_seconds": 2, "values": [1, 2.5]},
    {"sensor": "x1", "step_seconds": 1e10, "values": [1, 2]},
    {"sensor": "x1", "step_seconds": 0, "values": [1, 2]},
    {"sensor": "x1", "step_seconds": 1, "values": []},
    {"sensor": "y", "step_seconds": 1, "values": [1, 2]},
]
"""What plain records of a batch are like, and those of the batch before it."""


@settings(max_examples=examples(300))
@given(
    st.lists(st.tuples(st.integers(0, 999), st.sampled_from(_KEYS), st.sampled_from(_ODD)), max_size=40),
    st.sampled_from([0, 30, 970, 1000]),
    st.builds(UnknownPolicies, st.sampled_from(["ignore", "dead-letter"]), st.sampled_from(["ignore", "dead-letter"])),
    st.sampled_from(_FORMS),
    st.sampled_from(_FORMS),
)
def test_what_is_plain_on_its_short_way_is_what_it_is_on_the_long_one(
    drawn: list[tuple[int, bytes | None, bytes | None]],
    odd_per_mille: int,
    policies: UnknownPolicies,
    form: dict[str, Any],
    form_before: dict[str, Any],
) -> None:
    records: list[tuple[bytes | None, bytes | None]] = [
        (key if number < odd_per_mille else b"m1", odd)
        if number < odd_per_mille
        else (b"m%d" % (number % 3), orjson.dumps({**form, "time": 1.5e9 + number}))
        for number, key, odd in drawn
    ]
    keys, values = [key for key, _ in records], [value for _, value in records]
    decoder = Decoder(SENSORS, ours("m*"), 0.5, policies)
    decoder.decode([b"m1"] * 3, [orjson.dumps({**form_before, "time": 1.5e9})] * 3)
    short = decoder.decode(keys, values)
    notes = Notes(policies)
    other = Decoder(SENSORS, ours("m*"), 0.5, policies)
    long = notes.write_to(other._decode_any(keys, values, np.arange(len(keys)), notes))
    check_alike(short, long)


def test_known_assets_are_told_by_their_slots() -> None:
    decoder = Decoder(SENSORS, ours())
    decoded = decoder.decode([b"m1", b"m2"], [GOOD, GOOD], {b"m2": 4, b"m1": 7})
    assert decoded.slot is not None
    assert decoded.slot.tolist() == [7, 4]
    assert decoder.decode([b"m1", b"m3"], [GOOD, GOOD], {b"m1": 7}).asset == ["m1", "m3"]


@settings(max_examples=examples(200))
@given(st.lists(st.sampled_from([*[GOOD] * 6, *JSON_RECORDS]), max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_records_that_were_parsed_with_others_are_decoded_as_by_themselves(
    values: list[bytes], begin: int, end: int
) -> None:
    decoder, keys = Decoder(SENSORS, ours(), None, TOLD), [b"m1"] * len(values)
    parsed = decoder.parse(values)
    span = slice(begin, end)
    part = None if parsed is None else parsed.part(begin, min(end, len(values)))
    found = decoder.decode(keys[span], values[span], None, part)
    alone = Decoder(SENSORS, ours(), None, TOLD).decode(keys[span], values[span])
    check_alike(found, alone)
