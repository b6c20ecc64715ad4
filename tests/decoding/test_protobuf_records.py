"""Protobuf records in a schema registry's wire format become the JSON that they stand for."""

import json
from base64 import b64encode
from typing import Any

import pytest

pytest.importorskip("grpc_tools")

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from stream_detector.decoding.protobuf_records import _compiled, _described, _message_types, protobuf_reader
from stream_detector.decoding.registry_records import HEAD, RegistryRecords, Schema
from stream_detector.errors import SchemaError

COMMON = """
syntax = "proto3";
package plant;
message Value { double number = 1; }
enum Quality { BAD = 0; GOOD = 192; }
"""
PLANT = """
syntax = "proto3";
package plant;
import "common/value.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Reading { string sensor = 1; int64 time = 2; optional double value = 3; optional string quality = 4; }
message Row {
  google.protobuf.Timestamp time = 1;
  map<string, double> values = 2;
  message Event { double time = 1; string event = 2; }
}
message Odd {
  Value inner = 1;
  repeated Value all = 2;
  Quality quality = 3;
  bytes raw = 4;
  google.protobuf.DoubleValue wrapped = 5;
  oneof choice { double one = 6; string other = 7; }
  Odd again = 8;
  uint64 large = 9;
  bool on = 10;
}
"""
IMPORTS = {"common/value.proto": COMMON}
SCHEMAS = {**IMPORTS, "plant.proto": PLANT}


@pytest.fixture(scope="module")
def descriptors() -> dict[str, str]:
    """The schemas as descriptors in base64, as registries tell them that know Protobuf."""
    return {name: b64encode(file.SerializeToString()).decode() for name, file in _compiled(SCHEMAS, {}).items()}


@pytest.fixture(scope="module")
def plant(descriptors: dict[str, str]) -> Any:
    """Makes messages: `plant(places, **fields)`."""
    from google.protobuf.message_factory import GetMessageClass

    file = _described(
        {"common/value.proto": descriptors["common/value.proto"], "record.proto": descriptors["plant.proto"]}
    )
    return lambda places, **fields: GetMessageClass(_message_types(file, places)[0])(**fields)


@pytest.fixture(scope="module")
def records(descriptors: dict[str, str]) -> RegistryRecords:
    common = Schema("PROTOBUF", descriptors["common/value.proto"], (), "common/value.proto")
    return RegistryRecords({1: Schema("PROTOBUF", descriptors["plant.proto"], [common])}.get)


def wire(message: Any, places: bytes = b"\0") -> bytes:
    content: bytes = HEAD.pack(0, 1) + places + message.SerializeToString()
    return content


def read(records: RegistryRecords, value: bytes) -> Any:
    return json.loads(records.as_json(value) or b"null")


def test_a_reading_a_row_and_an_event_of_one_schema_are_told_apart_by_their_places(
    records: RegistryRecords, plant: Any
) -> None:
    reading = plant([0], sensor="x7", time=1_777_593_720_000, value=12.5)
    assert read(records, wire(reading)) == {"sensor": "x7", "time": 1_777_593_720_000, "value": 12.5}
    row = plant([1], time={"seconds": 1_777_593_720, "nanos": 500_000_000}, values={"x1": 0.5, "x2": float("nan")})
    assert read(records, wire(row, b"\x02\x02")) == {"time": 1_777_593_720.5, "values": {"x1": 0.5, "x2": None}}
    event = plant([1, 0], time=1.5, event="break")
    assert read(records, wire(event, b"\x04\x02\x00")) == {"time": 1.5, "event": "break"}


def test_a_number_that_is_not_set_is_null_and_zero_is_a_number(records: RegistryRecords, plant: Any) -> None:
    assert read(records, wire(plant([0], sensor="x7", time=1)))["value"] is None
    assert read(records, wire(plant([0], sensor="x7", time=1, value=0.0)))["value"] == 0.0
    assert "quality" not in read(records, wire(plant([0], sensor="x7")))
    assert read(records, wire(plant([0])))["time"] == 0


def test_imported_types_enums_wrapped_numbers_and_choices_have_a_form_in_json(
    records: RegistryRecords, plant: Any
) -> None:
    odd = plant(
        [2], inner={"number": 1.5}, all=[{"number": 2.5}, {}], quality=192, raw=b"on", wrapped={"value": 3.5},
        other="b", large=2**63, again={"on": True},
    )  # fmt: skip
    found = read(records, wire(odd, b"\x02\x04"))
    again: dict[str, Any] = {"all": [], "quality": "BAD", "raw": "", "wrapped": None, "large": 0, "on": True}
    assert found == {
        "inner": {"number": 1.5}, "all": [{"number": 2.5}, {"number": 0.0}], "quality": "GOOD", "raw": "on",
        "wrapped": 3.5, "other": "b", "again": again, "large": 2**63, "on": False,
    }  # fmt: skip
    assert read(records, wire(plant([2], quality=7), b"\x02\x04"))["quality"] == 7


@pytest.mark.parametrize("as_text", [True, False])
def test_schemas_that_are_text_are_compiled_with_what_they_import(
    as_text: bool, plant: Any, descriptors: dict[str, str]
) -> None:
    read = protobuf_reader(
        PLANT, {name: IMPORTS[name] if as_text else descriptors[name] for name in IMPORTS}, HEAD.size
    )
    assert json.loads(read(wire(plant([0], sensor="x7", time=1, value=2.0))))["sensor"] == "x7"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x02\x7e", b"\x02\x01", b"\x04\x02", b"\x06\x02\x02\x02", b"\x7e" + b"\x02" * 70, b"\xff" * 100,
        b"\x02" + b"\xff" * 2_000, b"\0\xff",
    ],
)  # fmt: skip
def test_what_does_not_have_its_schema_stays_as_it_is(content: bytes, records: RegistryRecords) -> None:
    value = HEAD.pack(0, 1) + content
    assert records.as_json(value) == value


@pytest.mark.parametrize(
    ("text", "imports", "why"),
    [
        ("message {", {}, "a Protobuf schema that is none: record.proto:1"),
        ('syntax = "proto3"; import "no.proto";', {}, "a Protobuf schema that is none: record.proto:1:20: .*no.proto"),
        ('syntax = "proto3";', {"../outside.proto": ""}, "a Protobuf schema that is called '../outside.proto'"),
    ],
)
def test_a_schema_that_is_none_is_named(text: str, imports: dict[str, str], why: str) -> None:
    with pytest.raises(SchemaError, match=f"the registry holds {why}"):
        protobuf_reader(text, imports, HEAD.size)


def test_a_descriptor_whose_import_is_missing_is_named() -> None:
    text = b64encode(FileDescriptorProto(name="a", dependency=["no.proto"]).SerializeToString()).decode()
    with pytest.raises(SchemaError, match="a Protobuf schema that cannot be used"):
        protobuf_reader(text, {}, HEAD.size)


ABOUT_MONEY = """
syntax = "proto3";
import "google/type/money.proto";
import "google/protobuf/timestamp.proto";
message Price { google.type.Money price = 1; google.protobuf.Timestamp time = 2; }
"""
GIVEN = {
    "google/type/money.proto": 'syntax = "proto3"; package google.type; message Money { int64 units = 2; }',
    "google/protobuf/timestamp.proto": (
        'syntax = "proto3"; package google.protobuf; message Timestamp { int64 seconds = 1; int32 nanos = 2; }'
    ),
}


@pytest.mark.parametrize("as_text", [True, False])
def test_files_of_google_that_the_registry_holds_are_its_own(as_text: bool) -> None:
    files = _compiled({**GIVEN, "price": ABOUT_MONEY}, {})
    as_descriptors = {name: b64encode(file.SerializeToString()).decode() for name, file in files.items()}
    imports = GIVEN if as_text else {name: as_descriptors[name] for name in GIVEN}
    read = protobuf_reader(ABOUT_MONEY if as_text else as_descriptors["price"], imports, HEAD.size)
    assert json.loads(read(HEAD.pack(0, 1) + b"\0" + bytes.fromhex("0a021005 12020803"))) == {
        "price": {"units": 5}, "time": 3.0,
    }  # fmt: skip


BESIDE_MAPS = """
syntax = "proto3";
package plant;
message Batch {
  map<string, double> means = 1;
  message Reading { string sensor = 1; double time = 2; double value = 3; }
  map<string, string> units = 2;
  message Event { double time = 1; string event = 4; }
  message Other { string text = 9; }
}
"""


@pytest.fixture(scope="module")
def beside_maps() -> Any:
    return _described({"record.proto": BESIDE_MAPS}).message_types_by_name["Batch"].nested_types_by_name


@pytest.mark.parametrize(
    ("name", "fields", "written", "without_maps"),
    [
        (
            "Reading", {"sensor": "x7", "time": 1.5, "value": 2.5},
            "0000000001 040002 0a027837 11000000000000f83f 190000000000000440", 0,
        ),
        ("Event", {"time": 1.5, "event": "break"}, "0000000001 040006 09000000000000f83f 2205627265616b", 1),
        ("Other", {"text": "b"}, "0000000001 040008 4a0162", 2),
    ],
)  # fmt: skip
def test_a_type_beside_maps_is_found_whether_or_not_its_serializer_counts_them(
    beside_maps: Any, name: str, fields: dict[str, Any], written: str, without_maps: int
) -> None:
    """`written`: by the serializer of confluent-kafka 2.16 for Python, which counts them."""
    from google.protobuf.message_factory import GetMessageClass

    reads = protobuf_reader(BESIDE_MAPS, {}, HEAD.size)
    assert json.loads(reads(bytes.fromhex(written))) == fields
    message = GetMessageClass(beside_maps[name])(**fields)
    assert json.loads(reads(wire(message, bytes([4, 0, 2 * without_maps])))) == fields


def test_of_a_record_that_fits_both_countings_that_of_most_serializers_counts(beside_maps: Any) -> None:
    from google.protobuf.message_factory import GetMessageClass

    reads = protobuf_reader(BESIDE_MAPS, {}, HEAD.size)
    reading = GetMessageClass(beside_maps["Reading"])(time=1.5)
    found = json.loads(reads(wire(reading, bytes([4, 0, 2]))))
    assert found == {"sensor": "", "time": 1.5, "value": 0.0}
