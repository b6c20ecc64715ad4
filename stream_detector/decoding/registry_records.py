"""Records whose schema lies in a schema registry, as JSON: a zero byte, the schema's number, then Avro or JSON.

What cannot be read stays as it is, and becomes a dead letter like any record that is no JSON.
"""

import io
import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import orjson

from stream_detector.errors import UsageError
from stream_detector.extras import need

HEAD = struct.Struct(">bI")
"""The zero byte, and the schema's number."""

MILLISECONDS = "timestamp-millis"
"""A time that the decoder understands as a number, which is much faster than as a moment."""

Kind = Literal["AVRO", "JSON", "PROTOBUF"]

AsJson = Callable[[bytes], bytes]
"""A record's bytes with its head, as JSON; ValueError where they do not have the schema."""


@dataclass(frozen=True)
class Schema:
    """A schema as the registry keeps it. `references`: the schemas that it builds on, the deepest first."""

    kind: Kind
    text: str
    references: Sequence["Schema"] = ()


@dataclass
class RegistryRecords:
    """Reads records by their schemas, each asked for once.

    Attributes:
        fetch: the schema of a number; None where the registry has none. May raise what `learn` raises.
    """

    fetch: Callable[[int], Schema | None]
    _known: dict[int, AsJson | None] = field(default_factory=dict)

    def unknown(self, values: Iterable[bytes | None]) -> set[int]:
        """Numbers of the schemas that these records need and that were not asked for yet."""
        heads = {value[: HEAD.size] for value in values if value and value[0] == 0 and len(value) >= HEAD.size}
        return {HEAD.unpack(head)[1] for head in heads} - self._known.keys()

    def learn(self, number: int) -> None:
        """Ask for a schema; what is asked for once stays.

        Raises:
            RegistryError: the registry does not answer.
            UsageError: the schema is of a kind that cannot be read here.
        """
        schema = self.fetch(number)
        self._known[number] = None if schema is None else reader_of(schema)

    def as_json(self, value: bytes | None) -> bytes | None:
        """The record as JSON, asking for its schema where that is not known; one of another form as it is."""
        if not value or value[0] != 0 or len(value) < HEAD.size:
            return value
        number = HEAD.unpack_from(value)[1]
        if number not in self._known:
            self.learn(number)
        read = self._known[number]
        if read is None:
            return value
        try:
            return read(value)
        except Exception:  # noqa: BLE001 - whatever a foreign record makes of a decoder, it ends no process
            return value

    def name(self, key: bytes | None) -> bytes | None:
        """A key that is text under a schema, as that text; any other as it is."""
        found = self.as_json(key)
        if found is key or found is None or not found.startswith(b'"'):
            return key
        try:
            return str(orjson.loads(found)).encode()
        except orjson.JSONDecodeError:
            return key


def reader_of(schema: Schema) -> AsJson:
    """What reads the records of a schema.

    Raises:
        UsageError: it cannot be read here, or is no schema.
    """
    if schema.kind == "JSON":
        return lambda value: value[HEAD.size :]
    if schema.kind == "AVRO":
        return _avro(schema)
    raise UsageError(f"a schema of kind {schema.kind} is in use, and only AVRO and JSON can be read")


def _avro(schema: Schema) -> AsJson:
    need("reading Avro", "fastavro")
    from fastavro import parse_schema, schemaless_reader
    from fastavro.schema import SchemaParseException

    named: dict[str, Any] = {}
    try:
        for reference in schema.references:
            parse_schema(_plain_times(json.loads(reference.text)), named_schemas=named)
        parsed = parse_schema(_plain_times(json.loads(schema.text)), named_schemas=named)
    except (SchemaParseException, ValueError, KeyError) as error:
        raise UsageError(f"the registry holds an Avro schema that is none: {error}") from error

    head, dumps, stream = HEAD.size, orjson.dumps, io.BytesIO

    def read(value: bytes) -> bytes:
        return dumps(schemaless_reader(stream(value[head:]), parsed, None), default=_plain)

    return read


def _plain_times(schema: Any) -> Any:
    """The schema with milliseconds as the numbers that they are."""
    if isinstance(schema, list):
        return [_plain_times(each) for each in schema]
    if isinstance(schema, Mapping):
        return {
            name: _plain_times(each)
            for name, each in schema.items()
            if not (name == "logicalType" and each == MILLISECONDS)
        }
    return schema


def _plain(value: Any) -> Any:
    """What JSON has no form for."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} has no form in JSON")
