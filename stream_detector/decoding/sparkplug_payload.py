"""The payload of Sparkplug B in Protobuf, as its specification (Eclipse Sparkplug 3.0, "Payloads") lays it out.

Only what a reading needs is defined; Protobuf passes over all other fields.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "org.eclipse.tahu.protobuf"

SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
"""Data types Int8 to Int64, which lie in unsigned fields: their two's complement."""

BOOLEAN = 11
GOOD = 192
"""The property `Quality` of a metric whose value is good."""

_VALUES = {
    "int_value": "uint32",
    "long_value": "uint64",
    "float_value": "float",
    "double_value": "double",
    "boolean_value": "bool",
    "string_value": "string",
    "bytes_value": "bytes",
    "dataset_value": "bytes",  # not looked into
    "template_value": "Template",
    "extension_value": "bytes",
}
"""Fields 10 to 19 of a metric, of which it has one."""

_FIELDS: dict[str, list[tuple[int, str, str]]] = {
    "PropertyValue": [(2, "is_null", "bool"), (3, "int_value", "uint32"), (4, "long_value", "uint64")],
    "PropertySet": [(1, "keys", "string*"), (2, "values", "PropertyValue*")],
    "Template": [(2, "metrics", "Metric*"), (5, "is_definition", "bool")],
    "Metric": [
        (1, "name", "string"),
        (2, "alias", "uint64?"),
        (3, "timestamp", "uint64"),
        (4, "datatype", "uint32"),
        (7, "is_null", "bool"),
        (9, "properties", "PropertySet"),
        *((number, name, kind) for number, (name, kind) in enumerate(_VALUES.items(), start=10)),
    ],
    "Payload": [(1, "timestamp", "uint64"), (2, "metrics", "Metric*"), (3, "seq", "uint64?")],
}
"""Number, name and type of each field; `*`: any number of them, `?`: it matters whether there is one."""


def _definition() -> FileDescriptorProto:
    # The specification's file is proto2, which lies the same on the wire but lets texts be no UTF-8.
    file = FileDescriptorProto(name="sparkplug_b.proto", package=PACKAGE, syntax="proto3")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        if message == "Metric":
            described.oneof_decl.add(name="value")
        for number, name, kind in fields:
            label = FieldDescriptorProto.LABEL_REPEATED if kind[-1] == "*" else FieldDescriptorProto.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            plain = kind.rstrip("*?")
            if plain in _FIELDS:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{plain}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{plain.upper()}")
            if message == "Metric" and name in _VALUES:
                field.oneof_index = 0
            elif kind[-1] == "?":
                field.proto3_optional, field.oneof_index = True, len(described.oneof_decl)
                described.oneof_decl.add(name=f"_{name}")
    return file


_pool = DescriptorPool()
_pool.Add(_definition())

Payload: Any = GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.Payload"))
"""The message class: of one's own making, so nothing knows its type."""

Metric: Any = GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.Metric"))


def payload_of(content: bytes) -> Any:
    """The payload of a message.

    Raises:
        ValueError: it is none.
    """
    try:
        return Payload.FromString(content)
    except DecodeError as error:
        raise ValueError(f"no Sparkplug payload: {error}") from None


def members(name: str, metric: Any) -> Iterator[tuple[str, Any]]:
    """The metric under its name, or those of the template that it holds, as `name/member`; no definition of one."""
    if metric.WhichOneof("value") != "template_value":
        yield name, metric
    elif not metric.template_value.is_definition:
        for member in metric.template_value.metrics:
            yield from members(f"{name}/{member.name}", member)


def reading_of(name: str, metric: Any, datatype: int) -> dict[str, Any] | None:
    """A metric as JSON has it: `name`, `timestamp` (ms), `value`, and `quality` where it is not good.

    None where the datatype is 0 (unknown) and the value depends on it.
    """
    found: dict[str, Any] = {"name": name, "value": None}
    if metric.timestamp:
        found["timestamp"] = metric.timestamp
    quality = _quality(metric.properties)
    kind = metric.WhichOneof("value")
    if kind is not None and not metric.is_null:
        value = getattr(metric, kind)
        if kind in ("int_value", "long_value"):
            if not datatype:
                return None
            value = bool(value) if datatype == BOOLEAN else _signed(value, SIGNED_BITS.get(datatype))
        if isinstance(value, int | float | str):
            found["value"] = value
        else:
            quality = quality or f"no number but {kind.removesuffix('_value')}"
    return found if quality is None else found | {"quality": quality}


def _signed(value: int, bits: int | None) -> int:
    """Some senders extend the sign to the whole field, others do not; the lowest bits say it either way."""
    if bits is None:
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _quality(properties: Any) -> str | None:
    for key, value in zip(properties.keys, properties.values, strict=False):
        if key == "Quality" and not value.is_null:
            number = value.long_value or value.int_value
            return None if number == GOOD else str(number)
    return None
