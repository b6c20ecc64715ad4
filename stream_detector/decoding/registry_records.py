"""Records whose schema lies in a registry, as JSON: a zero byte, the schema's number, then Avro, Protobuf or JSON.

What cannot be read stays as it is, and becomes a dead letter like any record that is no JSON.
"""

import io
import json
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import orjson
from msgspec import Struct

from stream_detector.decoding.flat_avro import AT_LEAST, flat_reader
from stream_detector.errors import SchemaError
from stream_detector.extras import need

HEAD = struct.Struct(">bI")
"""The zero byte, and the schema's number."""

MILLISECONDS = "timestamp-millis"
"""A time that the decoder understands as a number, which is much faster than as a moment."""

MOST_SCHEMAS = 10_000
"""Schemas that are kept, and numbers without one that are remembered; the oldest is forgotten first."""

ASK_AGAIN_SECONDS = 60.0
"""A number without a schema is asked for again: registries tell each other of new ones late."""

DEEPEST = 200
"""Levels of brackets in an Avro schema; the library that reads it has no end of its own."""

Kind = Literal["AVRO", "JSON", "PROTOBUF"]

AsJson = Callable[[bytes], bytes]
"""A record's bytes with its head, as JSON; ValueError where they do not have the schema."""


class Schema(Struct, frozen=True):
    """A schema as the registry keeps it.

    Attributes:
        references: the schemas that it builds on, the deepest first.
        name: under which another one builds on it.
    """

    kind: Kind
    text: str
    references: Sequence["Schema"] = ()
    name: str = ""


class Reader(Struct, frozen=True):
    """Reads the records of a schema. `many`: of very many at once; None in place of what only `one` can read."""

    one: AsJson
    many: Callable[[Sequence[bytes]], list[bytes | None]] | None = None


@dataclass
class RegistryRecords:
    """Reads records by their schemas, each asked for once.

    Attributes:
        fetch: the schema of a number; None where the registry has none. May raise what `learn` raises.
        clock: monotonic, in seconds.
    """

    fetch: Callable[[int], Schema | None]
    clock: Callable[[], float] = time.monotonic
    _known: dict[int, Reader] = field(default_factory=dict)
    _absent: dict[int, float] = field(default_factory=dict)

    def unknown(self, values: Iterable[bytes | None]) -> set[int]:
        """Numbers of the schemas that these records need, and that are to be asked for now."""
        now = self.clock()
        numbers = {number_of(head) for head in _heads(values)}
        return {each for each in numbers - self._known.keys() if self._absent.get(each, now) <= now}

    def learn(self, number: int) -> None:
        """Ask for a schema. What there is stays; what there is not, or cannot be read, is asked for again later.

        Raises:
            RegistryError: the registry does not answer.
            SchemaError: the schema is none, or of a kind that cannot be read here; its records stay as they are.
            UsageError: what reads it is not installed.
        """
        schema = self.fetch(number)
        _remember(self._absent, number, self.clock() + ASK_AGAIN_SECONDS)
        if schema is not None:
            _remember(self._known, number, reader_of(schema))
            del self._absent[number]

    def as_json(self, value: bytes | None) -> bytes | None:
        """The record as JSON, asking for its schema where that is not known; one of another form as it is."""
        if not value or value[0] != 0 or len(value) < HEAD.size:
            return value
        reader = self._reader(number_of(value))
        return value if reader is None else _read(reader, value)

    def all_as_json(self, values: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """The same for many records."""
        beginnings = {(value or b"")[: HEAD.size] for value in values}
        heads = [each for each in beginnings if len(each) == HEAD.size and each[0] == 0]
        if not heads:
            return values
        if len(beginnings) == 1:
            return self._all_of(heads[0], values)  # type: ignore[arg-type]  # all of them begin so
        found = list(values)
        for head in heads:
            places = [place for place, value in enumerate(values) if value and value.startswith(head)]
            texts = self._all_of(head, [values[place] for place in places])  # type: ignore[misc]
            for place, text in zip(places, texts, strict=True):
                found[place] = text
        return found

    def _all_of(self, head: bytes, records: Sequence[bytes]) -> Sequence[bytes]:
        """Records of one schema as JSON."""
        reader = self._reader(number_of(head))
        if reader is None:
            return records
        if reader.many is None or len(records) < AT_LEAST:
            return [_read(reader, record) for record in records]
        texts = reader.many(records)
        return [_read(reader, record) if text is None else text for record, text in zip(records, texts, strict=True)]

    def name(self, key: bytes | None) -> bytes | None:
        """A key that is text under a schema, as that text; any other as it is."""
        found = self.as_json(key)
        if found is key or found is None or not found.startswith(b'"'):
            return key
        try:
            return str(orjson.loads(found)).encode()
        except orjson.JSONDecodeError:
            return key

    def names(self, keys: Sequence[bytes | None]) -> list[bytes | None]:
        """The same for many keys."""
        found = {key: self.name(key) for key in set(keys)}
        return list(map(found.__getitem__, keys))

    def _reader(self, number: int) -> Reader | None:
        if number not in self._known and number not in self._absent:
            try:
                self.learn(number)
            except SchemaError:
                return None
        return self._known.get(number)


def number_of(record: bytes) -> int:
    """The number of the schema of a record."""
    return int.from_bytes(record[1 : HEAD.size])


def reader_of(schema: Schema) -> Reader:
    """What reads the records of a schema.

    Raises:
        SchemaError: it is no schema, or cannot be read here.
        UsageError: what reads it is not installed.
    """
    if schema.kind == "JSON":
        return Reader(lambda value: value[HEAD.size :])
    if schema.kind == "PROTOBUF":
        from stream_detector.decoding.protobuf_records import protobuf_reader  # noqa: PLC0415 - imports the library

        imports = {each.name: each.text for each in schema.references}
        return Reader(protobuf_reader(schema.text, imports, HEAD.size))
    return _avro(schema)


def _heads(values: Iterable[bytes | None]) -> set[bytes]:
    """The beginnings of all records that have a schema."""
    return {value[: HEAD.size] for value in values if value and value[0] == 0 and len(value) >= HEAD.size}


def _remember(store: dict[int, Any], number: int, what: Any) -> None:
    if len(store) >= MOST_SCHEMAS and number not in store:
        del store[next(iter(store))]
    store[number] = what


def _read(reader: Reader, value: bytes) -> bytes:
    try:
        return reader.one(value)
    except Exception:  # noqa: BLE001 - whatever a foreign record makes of a decoder, it ends no process
        return value


def _avro(schema: Schema) -> Reader:
    need("reading Avro", "fastavro")
    from fastavro import parse_schema, schemaless_reader
    from fastavro.schema import SchemaParseException

    named: dict[str, Any] = {}
    try:
        for reference in schema.references:
            parse_schema(_plain_times(json.loads(reference.text)), named_schemas=named)
        parsed = parse_schema(_plain_times(json.loads(schema.text)), named_schemas=named)
        _refuse_endless(parsed, named)
    except (SchemaParseException, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SchemaError(f"the registry holds an Avro schema that is none: {error}") from error

    head, dumps, stream = HEAD.size, orjson.dumps, io.BytesIO

    def read(value: bytes) -> bytes:
        return dumps(schemaless_reader(stream(value[head:]), parsed, None), default=_plain)

    return Reader(read, flat_reader(parsed, head))


def _refuse_endless(schema: Any, named: Mapping[str, Any]) -> None:
    """A type within itself could be as deep as a record likes; reading such a record ends the process (SIGSEGV). An
    array of items without a byte could be as long as a record of ten bytes likes.

    Raises:
        SchemaError: there is one.
    """
    done: set[str] = set()

    def visit(kind: Any, within: tuple[str, ...]) -> None:
        if isinstance(kind, list):
            for each in kind:
                visit(each, within)
            return
        if isinstance(kind, str):
            if kind in within:
                raise SchemaError(
                    f"the registry holds an Avro schema whose type {kind} is within itself; it is not read"
                )
            if kind in named and kind not in done:
                visit(named[kind], within)
            return
        inner = within
        if kind["type"] in ("record", "error"):
            if kind["name"] in within:
                return  # its definition, come upon by its own name
            inner = (*within, kind["name"])
        if "items" in kind and _takes_no_bytes(kind["items"], named):
            raise SchemaError(
                "the registry holds an Avro schema with an array of items that take no bytes; it is not read"
            )
        for part in (kind.get("items"), kind.get("values"), *(each["type"] for each in kind.get("fields", ()))):
            if part is not None:
                visit(part, inner)
        if not isinstance(kind["type"], str):
            visit(kind["type"], inner)
        done.update(inner[len(within) :])

    visit(schema, ())


def _takes_no_bytes(kind: Any, named: Mapping[str, Any]) -> bool:
    """Whether a value of this type is nothing in the record: null, or a record of such alone."""
    if isinstance(kind, str) and kind in named:
        kind = named[kind]
    if not isinstance(kind, Mapping):
        return bool(kind == "null")
    if kind["type"] in ("record", "error"):
        return all(_takes_no_bytes(each["type"], named) for each in kind.get("fields", ()))
    if kind["type"] == "fixed":
        return bool(kind["size"] == 0)
    return kind["type"] not in ("array", "map", "enum") and _takes_no_bytes(kind["type"], named)


def _plain_times(schema: Any, depth: int = 0) -> Any:
    """The schema with milliseconds as the numbers that they are."""
    if depth > DEEPEST:
        raise SchemaError(f"the registry holds an Avro schema of more than {DEEPEST} levels; it is not read")
    if isinstance(schema, list):
        return [_plain_times(each, depth + 1) for each in schema]
    if isinstance(schema, Mapping):
        return {
            name: _plain_times(each, depth + 1)
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
