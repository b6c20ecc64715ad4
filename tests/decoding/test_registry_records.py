"""Records in a schema registry's wire format become the JSON that they stand for."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from stream_detector.decoding import registry_records
from stream_detector.decoding.registry_records import ASK_AGAIN_SECONDS, HEAD, RegistryRecords, Schema
from stream_detector.errors import RegistryError, SchemaError

pytest.importorskip("fastavro")

from tests.support.stack.schema_registry import READING, avro

ANOTHER = {**READING, "fields": [*READING["fields"], {"name": "unit", "type": "string", "default": ""}]}


@dataclass
class FakeRegistry:
    """Schemas by number; `down`: does not answer."""

    schemas: dict[int, Schema]
    down: bool = False
    asked: list[int] = field(default_factory=list)

    def fetch(self, number: int) -> Schema | None:
        if self.down:
            raise RegistryError("down")
        self.asked.append(number)
        return self.schemas.get(number)


def of(*schemas: dict[str, Any]) -> RegistryRecords:
    return RegistryRecords(
        FakeRegistry({n: Schema("AVRO", json.dumps(each)) for n, each in enumerate(schemas, start=1)}).fetch
    )


def read(records: RegistryRecords, value: bytes) -> Any:
    return json.loads(records.as_json(value) or b"null")


def test_an_avro_reading_is_a_reading_in_json_with_its_time_in_milliseconds() -> None:
    moment = datetime(2026, 5, 1, 0, 2, tzinfo=UTC)
    value = avro(1, READING, {"sensor": "x7", "time": moment, "value": 12.5})
    assert read(of(READING), value) == {"sensor": "x7", "time": 1777593720000, "value": 12.5}
    assert read(of(READING), avro(1, READING, {"sensor": "x7", "time": moment, "value": None}))["value"] is None


def test_each_record_is_read_by_the_schema_that_it_was_written_with() -> None:
    records = of(READING, ANOTHER)
    old = avro(1, READING, {"sensor": "a", "time": 1777593720000, "value": 1.0})
    new = avro(2, ANOTHER, {"sensor": "b", "time": 1777593720000, "value": 2.0, "unit": "bar"})
    assert [read(records, value)["sensor"] for value in (old, new, old)] == ["a", "b", "a"]


def test_a_schema_is_asked_for_once_and_so_is_one_that_is_not_there() -> None:
    registry = FakeRegistry({1: Schema("AVRO", json.dumps(READING))})
    records = RegistryRecords(registry.fetch)
    good = avro(1, READING, {"sensor": "a", "time": 0, "value": 1.0})
    strange = HEAD.pack(0, 9) + b"?"
    assert records.unknown([good, strange, b'{"a":1}', b"", None]) == {1, 9}
    for _ in range(3):
        records.as_json(good)
        assert records.as_json(strange) == strange
    assert registry.asked == [1, 9]
    assert records.unknown([good, strange]) == set()


def test_json_and_what_does_not_have_its_schema_stay_as_they_are() -> None:
    records = of(READING)
    for value in (b'{"sensor":"a"}', b"", None, b"\0\0", HEAD.pack(0, 1), HEAD.pack(0, 1) + b"\x7f"):
        assert records.as_json(value) == value


@pytest.mark.parametrize(
    ("kind", "logical", "number"),
    [("long", "timestamp-micros", 2**62), ("long", "local-timestamp-millis", 2**62), ("int", "date", 2**31 - 1)],
)
def test_a_moment_beyond_all_calendars_leaves_the_record_as_it_is(kind: str, logical: str, number: int) -> None:
    plain = {"type": "record", "name": "Reading", "fields": [{"name": "time", "type": kind}]}
    timed = {**plain, "fields": [{"name": "time", "type": {"type": kind, "logicalType": logical}}]}
    value = avro(1, plain, {"time": number})
    assert of(timed).as_json(value) == value


def test_a_key_that_is_no_json_under_a_json_schema_stays_as_it_is() -> None:
    key = HEAD.pack(0, 1) + b'"paper-1'
    assert RegistryRecords(FakeRegistry({1: Schema("JSON", "{}")}).fetch).name(key) == key


def test_a_json_schema_has_its_json_behind_the_head() -> None:
    records = RegistryRecords(FakeRegistry({4: Schema("JSON", '{"type": "object"}')}).fetch)
    assert records.as_json(HEAD.pack(0, 4) + b'{"sensor":"a"}') == b'{"sensor":"a"}'


def test_a_key_of_text_under_a_schema_is_the_text() -> None:
    records = of({"type": "string"})
    assert records.name(avro(1, {"type": "string"}, "pm-1")) == b"pm-1"
    assert records.name(b"pm-1") == b"pm-1"
    assert records.name(None) is None


def test_decimals_bytes_and_moments_have_a_form_in_json() -> None:
    schema = {
        "type": "record",
        "name": "Odd",
        "fields": [
            {"name": "value", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
            {"name": "raw", "type": "bytes"},
            {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        ],
    }
    moment = datetime(2026, 5, 1, 0, 2, 0, 250_000, UTC)
    found = read(of(schema), avro(1, schema, {"value": Decimal("12.25"), "raw": b"on", "time": moment}))
    assert found == {"value": 12.25, "raw": "on", "time": "2026-05-01T00:02:00.250000+00:00"}


def test_a_schema_may_build_on_others() -> None:
    inner = {"type": "record", "name": "plant.Value", "fields": [{"name": "v", "type": "double"}]}
    outer = {"type": "record", "name": "plant.Outer", "fields": [{"name": "value", "type": "plant.Value"}]}
    whole = {**outer, "fields": [{"name": "value", "type": inner}]}
    schema = Schema("AVRO", json.dumps(outer), [Schema("AVRO", json.dumps(inner))])
    records = RegistryRecords(FakeRegistry({1: schema}).fetch)
    assert read(records, avro(1, whole, {"value": {"v": 1.5}})) == {"value": {"v": 1.5}}


def test_a_registry_that_is_down_is_told_and_asked_again() -> None:
    registry = FakeRegistry({1: Schema("AVRO", json.dumps(READING))}, down=True)
    records = RegistryRecords(registry.fetch)
    value = avro(1, READING, {"sensor": "a", "time": 0, "value": 1.0})
    with pytest.raises(RegistryError):
        records.as_json(value)
    registry.down = False
    assert read(records, value)["sensor"] == "a"


def test_a_number_without_a_schema_is_asked_for_again_after_a_while_for_registries_replicate_late() -> None:
    now = [0.0]
    registry = FakeRegistry({})
    records = RegistryRecords(registry.fetch, lambda: now[0])
    value = avro(1, READING, {"sensor": "a", "time": 0, "value": 1.0})
    assert records.as_json(value) == value
    registry.schemas[1] = Schema("AVRO", json.dumps(READING))
    now[0] = ASK_AGAIN_SECONDS - 1
    assert records.unknown([value]) == set()
    now[0] = ASK_AGAIN_SECONDS
    assert records.unknown([value]) == {1}
    records.learn(1)
    assert read(records, value)["sensor"] == "a"
    assert records.unknown([value]) == set()


def test_what_is_remembered_of_numbers_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_records, "MOST_SCHEMAS", 3)
    registry = FakeRegistry({number: Schema("JSON", "{}") for number in range(5)})
    records = RegistryRecords(registry.fetch)
    for number in range(10):
        records.as_json(HEAD.pack(0, number) + b"{}")
    assert (len(records._known), len(records._absent)) == (3, 3)
    assert records.as_json(HEAD.pack(0, 4) + b"{}") == b"{}"
    assert registry.asked == list(range(10))


NOTHING = {
    "type": "record",
    "name": "N",
    "fields": [{"name": "a", "type": {"type": "record", "name": "E", "fields": []}}],
}
ENDLESS = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
AROUND = [
    {
        "name": "a",
        "type": {"type": "record", "name": "B", "fields": [{"name": "c", "type": {"type": "array", "items": "A"}}]},
    }
]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (json.dumps(ENDLESS), "an Avro schema whose type Node is within itself; it is not read"),
        (json.dumps({"type": "record", "name": "A", "fields": AROUND}), "an Avro schema whose type A is within itself"),
        ('{"type":"array","items":' * 300 + '"double"' + "}" * 300, "an Avro schema of more than 200 levels"),
        ('{"type":"array","items":' * 100_000 + '"double"' + "}" * 100_000, "an Avro schema that is none"),
        ('{"type":"array","items":"null"}', "an Avro schema with an array of items that take no bytes"),
        (json.dumps({"type": "array", "items": NOTHING}), "an Avro schema with an array of items that take no bytes"),
        ('{"type": "record"}', "an Avro schema that is none"),
        ("{", "an Avro schema that is none"),
    ],
)
def test_a_schema_that_cannot_be_read_is_named_and_its_records_stay_as_they_are(text: str, why: str) -> None:
    records = RegistryRecords(FakeRegistry({1: Schema("AVRO", text)}).fetch)
    with pytest.raises(SchemaError, match=f"the registry holds {why}"):
        records.learn(1)
    value = HEAD.pack(0, 1) + b"\0" * 9
    assert records.as_json(value) == value
    assert records.unknown([value]) == set()


def test_an_array_of_what_may_be_null_or_of_numbers_is_read() -> None:
    for items, written, wanted in (
        ("double", "02000000000000f03f00", [1.0]),
        (["null", "double"], "020000", [None]),
    ):
        text = json.dumps({"type": "array", "items": items})
        records = RegistryRecords(FakeRegistry({1: Schema("AVRO", text)}).fetch)
        assert json.loads(records.as_json(HEAD.pack(0, 1) + bytes.fromhex(written)) or b"") == wanted


def test_a_type_that_is_used_twice_is_not_within_itself() -> None:
    value = {"type": "record", "name": "V", "fields": [{"name": "v", "type": "double"}]}
    schema = {"type": "record", "name": "Two", "fields": [{"name": "a", "type": value}, {"name": "b", "type": "V"}]}
    assert read(of(schema), avro(1, schema, {"a": {"v": 1.0}, "b": {"v": 2.0}})) == {"a": {"v": 1.0}, "b": {"v": 2.0}}
