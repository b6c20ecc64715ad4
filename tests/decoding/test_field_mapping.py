import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.decoding.asset_names import AssetNames, fitting
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.errors import UsageError
from stream_detector.messages import Event, Reading, Row, to_epoch_seconds

NOON = 1_777_636_800


def mapped(
    mapping: dict[str, Any],
    record: Any,
    topic: str = "plant.raw",
    timestamp_ms: int = NOON * 1000,
    key: bytes | None = None,
    headers: Any = (),
) -> Any:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    return json.loads(FieldMapping(**mapping).to_message(raw, topic, timestamp_ms, key, headers))


@pytest.mark.parametrize(
    ("mapping", "record"),
    [
        ({"time": "ts"}, {"ts": NOON, "sensor": "x7", "value": 12.5}),
        ({"time": "timestamp", "time_unit": "ms"}, {"timestamp": NOON * 1000, "sensor": "x7", "value": 12.5}),
        ({"time": "timestamp", "time_unit": "ns"}, {"timestamp": NOON * 10**9, "sensor": "x7", "value": 12.5}),
        ({"time": "time", "zone": "Asia/Seoul"}, {"time": "2026-05-01T21:00:00", "sensor": "x7", "value": 12.5}),
        ({"value": "payload.value", "time": "payload.t"}, {"sensor": "x7", "payload": {"value": 12.5, "t": NOON}}),
        ({"sensor": "tag", "value": "readings.0.v"}, {"tag": "x7", "time": NOON, "readings": [{"v": 12.5}]}),
        ({"value": "v.1"}, {"sensor": "x7", "time": NOON, "v.1": 12.5}),
        ({"numbers_as_text": True}, {"sensor": "x7", "time": str(NOON), "value": "12.5"}),
        ({"time_from_broker": True}, {"sensor": "x7", "value": 12.5}),
        ({"topic_pattern": r"plant\.(?P<sensor>x\d+)"}, {"time": NOON, "value": 12.5}),
        ({"topic_pattern": r"plant\.(?P<sensor>x\d+)", "time_from_broker": True}, b"12.5"),
    ],
)
def test_the_usual_variants_become_the_same_reading(mapping: dict[str, Any], record: bytes | dict[str, Any]) -> None:
    reading = Reading.model_validate_json(json.dumps(mapped(mapping, record, topic="plant.x7")))
    assert (reading.sensor, to_epoch_seconds(reading.time), reading.value) == ("x7", NOON, 12.5)


def test_the_asset_comes_from_a_field_or_from_the_topic() -> None:
    by_topic = {"topic_pattern": r"(?P<asset>[^/]+)/(?P<sensor>.+)"}
    record = {"time": NOON, "value": 1.0}
    assert mapped(by_topic, record, topic="pm-1/x7")["asset"] == "pm-1"
    assert mapped(by_topic | {"asset": "machine.id"}, record | {"machine": {"id": 3}}, topic="pm-1/x7")["asset"] == "3"


def test_a_quality_that_the_plant_calls_good_is_good_and_any_other_is_not() -> None:
    mapping = {"quality": "q", "good": ["GOOD", 192]}
    record = {"sensor": "x7", "time": NOON, "value": 1.0}
    assert "quality" not in mapped(mapping, record | {"q": 192})
    assert mapped(mapping, record | {"q": 0})["quality"] == "0"


def test_a_flat_record_becomes_a_row_of_its_numbers() -> None:
    record = {"ts": NOON, "machine": "pm-1", "x1": 1.5, "x2": None, "operator": "night shift", "ok": True}
    row = mapped({"time": "ts", "asset": "machine", "values": "*"}, record)
    assert Row.model_validate_json(json.dumps(row)).values == {"x1": 1.5, "x2": None}
    assert row["asset"] == "pm-1"


def test_a_row_and_an_event_under_other_names() -> None:
    assert mapped({"time": "ts", "values": "data"}, {"ts": NOON, "data": {"x1": 1.0}})["values"] == {"x1": 1.0}
    event = mapped({"time": "ts", "event": "alarm.text"}, {"ts": NOON, "alarm": {"text": "break"}})
    assert Event.model_validate(event).event == "break"


def test_a_null_value_stays_missing_and_text_that_is_no_number_stays_wrong() -> None:
    assert mapped({"time": "ts"}, {"ts": NOON, "sensor": "x7", "value": None})["value"] is None
    assert mapped({"numbers_as_text": True}, {"time": NOON, "sensor": "x7", "value": "off"})["value"] == "off"
    assert mapped({"numbers_as_text": True}, {"time": NOON, "sensor": "x7", "value": "nan"})["value"] == "nan"
    assert mapped({"time": "ts"}, b'{"ts": 1, "sensor": "x7", "value": NaN}')["value"] == "nan"


UMH = {"time": "timestamp_ms", "time_unit": "ms", "key_pattern": r"umh\.v1\.(?P<asset>.+?)\._[^.]+\.(?P<sensor>.+)"}


def test_a_unified_namespace_names_asset_and_sensor_in_the_key() -> None:
    key = b"umh.v1.acme.seoul.paper.pm-1._historian.press.x7"
    found = mapped(UMH, {"timestamp_ms": NOON * 1000, "value": 12.5}, topic="umh.messages", key=key)
    assert found == {"time": NOON, "asset": "acme.seoul.paper.pm-1", "sensor": "press.x7", "value": 12.5}


def test_levels_of_a_plant_name_the_asset_from_topic_key_headers_and_fields() -> None:
    mapping = {
        "topic_pattern": r"(?P<enterprise>[^.]+)\.(?P<site>[^.]+)\..*", "key_pattern": r"(?P<line>[^/]+)/(?P<tag>.+)",
        "asset_name": "{site}.{line}.{header.cell}.{unit.id}", "sensor_name": "{enterprise}/{tag}",
    }  # fmt: skip
    found = mapped(
        mapping, {"time": NOON, "value": 1, "unit": {"id": 7}}, "acme.seoul.raw", 0, b"line-2/x7", [("cell", b"c3")]
    )
    assert (found["asset"], found["sensor"]) == ("seoul.line-2.c3.7", "acme/x7")
    assert "asset" not in mapped(mapping, {"time": NOON, "values": {"x": 1}}, "acme.seoul.raw", 0, b"line-2/x7")


@pytest.mark.parametrize(
    ("mapping", "record"),
    [
        (
            {"readings": ".", "sensor": "tagname", "time": "timestamp"},
            [{"tagname": "x7", "timestamp": NOON, "value": 1.5}, {"tagname": "x8", "timestamp": NOON + 1, "value": 2}],
        ),
        (
            {"readings": "values", "sensor": "id", "value": "v", "quality": "q", "good": [True], "time": "t",
             "time_unit": "ms"},
            {"values": [{"id": "x7", "v": 1.5, "q": True, "t": NOON * 1000}, {"id": "x8", "v": 2, "q": True,
             "t": NOON * 1000 + 1000}]},
        ),
        (
            {"readings": "metrics", "sensor": "name", "time": "timestamp"},
            {"timestamp": NOON, "metrics": [{"name": "x7", "value": 1.5}, {"name": "x8", "value": 2,
             "timestamp": NOON + 1}]},
        ),
    ],
    ids=["the record itself", "values", "metrics"],
)  # fmt: skip
def test_an_array_of_readings_is_one_record_of_them(mapping: dict[str, Any], record: Any) -> None:
    found = mapped(mapping, record)
    assert found == {
        "time": NOON,
        "readings": [
            {"sensor": "x7", "time": NOON, "value": 1.5},
            {"sensor": "x8", "time": NOON + 1, "value": 2},
        ],
    }


def test_what_is_no_reading_in_an_array_is_refused_by_name_and_the_others_are_used() -> None:
    array = [{"s": "x7", "t": NOON, "v": 1}, 7, {"s": "x7", "v": 2}, {"t": NOON, "v": 3}, {"s": "x7", "t": NOON + 1}]
    raw = FieldMapping(readings=".", sensor="s", time="t", value="v").to_message(json.dumps(array).encode(), "t", 0)
    decoded = Decoder(("x7",), AssetNames(fitting("*"))).decode([b"pm-1"], [raw])
    assert (len(decoded.index), decoded.cells.time.tolist()) == (1, [NOON, NOON + 1])
    assert [(reject.index, reject.reason, reject.readings) for reject in decoded.rejects] == [(0, "bad-time", 1)]
    assert decoded.unknown.of_sensors == 2


def test_words_and_booleans_become_the_numbers_that_the_mapping_gives_them() -> None:
    mapping = {"words": {"RUNNING": 1, "STOPPED": 0}, "booleans": True, "values": "data"}
    found = mapped(mapping, {"time": NOON, "data": {"a": "RUNNING", "b": True, "c": "Bad", "d": False}})
    assert found["values"] == {"a": 1, "b": 1, "c": "Bad", "d": 0}
    assert mapped({"words": {"ON": 2}}, {"time": NOON, "sensor": "x", "value": True})["value"] is True


ours = {"sensor": "x7", "time": "2026-05-01T00:02:00Z", "value": 12.5}


@pytest.mark.parametrize("raw", [b"", b"no json", b"[1,2]", b"true", b"null", b"{}", json.dumps(ours).encode()])
def test_what_the_mapping_does_not_fit_is_handed_on_as_it_is(raw: bytes) -> None:
    assert FieldMapping(time="ts").to_message(raw, "plant.raw", 0) == raw
    assert FieldMapping(time="ts").to_message(None, "plant.raw", 0) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**60), 2**60) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["ts", "v", "sensor", "values", "event", "asset", "q"]), inner, max_size=5
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from([None, ".", "values"]),
)
def test_no_json_whatever_makes_it_fall(record: Any, readings: str | None) -> None:
    mapping = FieldMapping(
        time="ts",
        value="v",
        quality="q",
        time_unit="ms",
        zone="Asia/Seoul",
        numbers_as_text=True,
        readings=readings,
        asset_name="{sensor}.{q.v}",
        topic_pattern="(?P<sensor>.*)",
    )
    assert isinstance(
        mapping.to_message(json.dumps(record, allow_nan=False).encode() if _finite(record) else b"{}", "t", 0), bytes
    )


def _finite(record: list[bool | dict[str, bool | int | None] | dict[str, int | str]] | None) -> bool:
    try:
        json.dumps(record, allow_nan=False)
    except ValueError:
        return False
    return True


def test_our_own_records_pass_unchanged_in_meaning_and_no_mapping_costs_nothing() -> None:
    assert FieldMapping().is_identity
    assert not FieldMapping(time="ts").is_identity
    assert mapped({}, ours) == ours


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ('{"tiem": "ts"}', "tiem"),
        ('{"zone": "Mars/Olympus"}', "no time zone"),
        ('{"topic_pattern": "("}', "regular expression"),
        ('{"topic_pattern": "x"}', "sensor"),
        ('{"key_pattern": "(?P<site>.*)"}', "nothing uses the group site"),
        ('{"words": {"ON": "one"}}', "words"),
        ("{", "cannot be read"),
        ("[]", "not usable"),
    ],
)
def test_a_wrong_mapping_file_is_explained(tmp_path: Path, content: str, wanted: str) -> None:
    file = tmp_path / "mapping.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=wanted):
        FieldMapping.load(file)


def test_a_missing_mapping_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.json"):
        FieldMapping.load(tmp_path / "nothing.json")


@pytest.mark.parametrize("odd", ["123456789012345678901234567890", '"\\ud800"'])
def test_what_pythons_json_holds_and_no_other_stays_as_it_is(odd: str) -> None:
    record = f'{{"ts": 1, "sensor": "x7", "value": 1.5, "quality": NaN, "asset": {odd}}}'.encode()
    mapping = FieldMapping(time="ts")
    if odd.isdecimal():
        mapping = FieldMapping(time="ts", value="asset")
    assert mapping.to_message(record, "any", 0) == record
