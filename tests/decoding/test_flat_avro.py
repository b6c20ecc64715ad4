"""Many flat Avro records at once become what each becomes by itself."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastavro")

from stream_detector.decoding.flat_avro import AT_LEAST, flat_reader
from stream_detector.decoding.registry_records import HEAD, RegistryRecords, Schema, reader_of
from tests.support.stack.schema_registry import READING, avro

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=5),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "boolean": st.booleans(),
}
KINDS = [kind for plain in VALUES for kind in (plain, ["null", plain], [plain, "null"])]


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, str):
        return VALUES[kind]
    return st.none() | VALUES[next(each for each in kind if each != "null")]


@st.composite
def batches(draw: st.DrawFn) -> tuple[dict[str, Any], list[bytes]]:
    """A schema, and records of it, of which some are cut short or have a byte changed."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(kinds)]
    schema = {"type": "record", "name": "Flat", "fields": fields}
    record = st.fixed_dictionaries({each["name"]: values_of(each["type"]) for each in fields})
    records = []
    for each in draw(st.lists(record, min_size=1, max_size=8)):
        value = bytearray(avro(1, schema, each))
        if len(value) > HEAD.size and draw(st.integers(0, 3)) == 0:
            value[draw(st.integers(HEAD.size, len(value) - 1))] = draw(st.integers(0, 255))
        records.append(bytes(value[: draw(st.sampled_from([len(value), len(value), HEAD.size]))]))
    return schema, records


@given(batches())
def test_a_batch_becomes_what_its_records_become_one_by_one(batch: tuple[dict[str, Any], list[bytes]]) -> None:
    schema, values = batch
    reader = reader_of(Schema("AVRO", json.dumps(schema)))
    assert reader.many is not None
    for value, text in zip(values, reader.many(values), strict=True):
        if text is not None:
            assert text == reader.one(value)


def test_plain_readings_are_all_read_at_once_and_others_beside_them_by_themselves() -> None:
    registry = RegistryRecords({1: Schema("AVRO", json.dumps(READING)), 2: Schema("JSON", "{}")}.get)
    records = [
        avro(1, READING, {"sensor": f"x{n % 7}", "time": 1_777_593_720_000 + n, "value": None if n % 5 == 0 else n / 7})
        for n in range(AT_LEAST)
    ]
    many = reader_of(Schema("AVRO", json.dumps(READING))).many
    assert many is not None
    assert None not in many(records)
    mixed: list[bytes | None] = [None, b"", b'{"a":1}', HEAD.pack(0, 2) + b"{}", HEAD.pack(0, 1) + b"\xff", *records]
    assert registry.all_as_json(mixed) == [registry.as_json(each) for each in mixed]
    found = json.loads(registry.all_as_json(mixed)[-1] or b"")
    assert found == {"sensor": "x0", "time": 1_777_593_720_063, "value": 9.0}


def test_a_text_that_is_none_and_a_number_without_an_end_are_left_to_the_other_reader() -> None:
    text = flat_reader({"type": "record", "fields": [{"name": "a", "type": "string"}]}, 0)
    number = flat_reader({"type": "record", "fields": [{"name": "a", "type": "long"}]}, 0)
    assert text is not None
    assert number is not None
    assert text([b"\x02\xff", b"\x02a", b"\xff" * 9 + b"\x01"]) == [None, b'{"a":"a"}', None]
    assert number([b"\xff" * 20, b"\x03", b""]) == [None, b'{"a":-2}', None]
    assert number([b"\xff" * 9 + b"\x7f", b"\xff" * 9 + b"\x01"]) == [None, b'{"a":%d}' % -(2**63)]


def test_a_name_with_a_percent_sign_stays_one() -> None:
    read = flat_reader({"type": "record", "fields": [{"name": "a%b", "type": "double"}]}, 0)
    assert read is not None
    assert read([b"\0" * 8]) == [b'{"a%b":0.0}']
    assert read([b"\0\0\0\0\0\0\xf8\x7f"]) == [b'{"a%b":null}']


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "map", "values": "double"},
        {"type": "long", "logicalType": "timestamp-micros"},
        ["string", "double"],
        ["null", "string", "double"],
        ["null", {"type": "array", "items": "double"}],
        "Other",
    ],
)
def test_what_is_not_flat_has_no_such_reader(kind: Any) -> None:
    assert flat_reader({"type": "record", "fields": [{"name": "a", "type": kind}]}, 5) is None
    assert flat_reader({"type": "record", "fields": []}, 5) is None
    assert flat_reader("double", 5) is None
