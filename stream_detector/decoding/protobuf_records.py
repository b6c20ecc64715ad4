"""Records in Protobuf under a schema of a registry, as JSON: a few numbers say which message type of the schema it is.

Names are the schema's own. A `Timestamp` is epoch seconds, a wrapped number a number or null, an enum its name. A
number that is not set is null; anything else that is not set is left out.
"""

import binascii
import importlib
import re
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from stream_detector.errors import SchemaError
from stream_detector.extras import need

ROOT = "record.proto"
"""Stands for the schema itself among those that it imports."""

KNOWN_IMPORT = re.compile(r"(google/protobuf|confluent(?:/types?)?)/[a-z_]+\.proto")
"""Files that come with the libraries; of one that the registry holds too, its own is taken."""

COMPILE_SECONDS = 60.0
DEEPEST = 32
"""Message types within one another; a record that names more is none."""

LONGEST_SHIFT = 63
MOST_SAID = 500

SECONDS = ("google.protobuf.Timestamp", "google.protobuf.Duration")
WRAPPED = tuple(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
ANY_JSON = ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue")

Plain = Callable[[Any], Any]
"""A value of Protobuf as one of JSON."""


def protobuf_reader(text: str, imports: Mapping[str, str], head: int) -> Callable[[bytes], bytes]:
    """What reads the records of a schema, which begin with `head` bytes; ValueError where one does not have it.

    Args:
        text: the schema, as text or as its descriptor in base64.
        imports: those that it imports, by the name under which it does, the deepest first.

    Raises:
        SchemaError: one of them is no schema.
        UsageError: a schema is text, and the compiler is not installed.
    """
    file = _described({**imports, ROOT: text})
    readers: dict[bytes, list[tuple[Callable[[bytes], Any], Plain]]] = {}

    def read(value: bytes) -> bytes:
        end = _end_of_places(value, head)
        places = value[head:end]
        found = readers.get(places)
        if found is None:
            types = _message_types(file, _places(places))
            found = readers[places] = [(GetMessageClass(each).FromString, _Plainer().of(each)) for each in types]
        if len(found) > 1:
            return orjson.dumps(_fitting(found, value[end:]))
        ((parse, plain),) = found
        return orjson.dumps(plain(parse(value[end:])))

    return read


def _fitting(readers: list[tuple[Callable[[bytes], Any], Plain]], content: bytes) -> Any:
    """By the first type that knows every field of the record; by the first of all where none does.

    Raises:
        DecodeError: it is a record of none of them.
    """
    parsed = []
    for parse, plain in readers:
        try:
            parsed.append((parse(content), plain))
        except DecodeError:
            continue
    if not parsed:
        raise DecodeError("a record of no type that its numbers may mean")
    message, plain = next((each for each in parsed if not len(UnknownFieldSet(each[0]))), parsed[0])
    return plain(message)


def _end_of_places(value: bytes, begin: int) -> int:
    """Where the numbers end that say which message type it is: how many there are, then each."""
    if value[begin] == 0:
        return begin + 1
    numbers, at = None, begin
    while numbers != 0:
        number, at = _varint(value, at)
        numbers = number if numbers is None else numbers - 1
        if not 0 <= numbers <= DEEPEST:
            raise ValueError("no message type is that deep")
    return at


def _places(content: bytes) -> list[int]:
    found, at = [], 0
    while at < len(content):
        number, at = _varint(content, at)
        found.append(number)
    return found[1:] or [0]


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A signed number in zigzag, and where the next begins."""
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > LONGEST_SHIFT:
            raise ValueError("no number is that long")


def _message_types(file: Any, places: Sequence[int]) -> list[Any]:
    """The message type at these places, or two: the types that a compiler makes of maps stand in no schema, and some
    serializers count them (Python's, Go's, Java's as a rule), others do not (Java's where it normalizes).
    """
    found: list[Any] = []
    for counted in (True, False):
        descriptor = _message_type(file, places, counted)
        if descriptor is not None and descriptor not in found:
            found.append(descriptor)
    if not found:
        raise ValueError("the schema has no such message type")
    return found


def _message_type(file: Any, places: Iterable[int], maps_counted: bool) -> Any | None:
    found, types = None, list(file.message_types_by_name.values())
    for place in places:
        if not 0 <= place < len(types) or types[place].GetOptions().map_entry:
            return None
        found = types[place]
        types = [each for each in found.nested_types if maps_counted or not each.GetOptions().map_entry]
    return found


def _described(schemas: Mapping[str, str]) -> Any:
    """The descriptor of ROOT, in a pool that holds what it imports."""
    pool = DescriptorPool()
    try:
        given = {name: _from_base64(name, text) for name, text in schemas.items()}
        descriptors = {name: file for name, file in given.items() if file is not None}
        texts = {name: text for name, text in schemas.items() if given[name] is None}
        files = descriptors | (_compiled(texts, descriptors) if texts else {})
        for file in map(files.__getitem__, schemas):
            for imported in file.dependency:
                if imported not in files:
                    _add_known(pool, imported)
            pool.Add(file)
        return pool.FindFileByName(ROOT)
    except (TypeError, KeyError, ImportError) as error:
        raise SchemaError(f"the registry holds a Protobuf schema that cannot be used: {error}") from error


def _from_base64(name: str, text: str) -> Any | None:
    """The descriptor that the text is; None where it is no such thing."""
    try:
        file = FileDescriptorProto.FromString(b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None
    if not text:
        return None
    file.name = name
    return file


def _add_known(pool: Any, name: str) -> None:
    """Add a file that comes with the libraries, and what it imports; other files are there already, or missing."""
    if KNOWN_IMPORT.fullmatch(name):
        for file in _known_files(name):
            pool.Add(file)


def _known_files(name: str) -> list[Any]:
    """A file that comes with the libraries, behind those that it imports."""
    prefix = "confluent_kafka.schema_registry." if name.startswith("confluent") else ""
    module = importlib.import_module(prefix + name.removesuffix(".proto").replace("/", ".") + "_pb2")
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return [*(inner for each in module.DESCRIPTOR.dependencies for inner in _known_files(each.name)), file]


def _compiled(texts: Mapping[str, str], descriptors: Mapping[str, Any]) -> dict[str, Any]:
    """Descriptors of the schemas that are text, and may import those that are descriptors already."""
    need("reading Protobuf schemas that are text", "grpc_tools")
    known = {match[0] for text in texts.values() for match in KNOWN_IMPORT.finditer(text)}
    known -= texts.keys() | descriptors.keys()
    given = [*(file for name in sorted(known) for file in _known_files(name)), *descriptors.values()]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for name, text in texts.items():
            path = (root / name).resolve()
            if not path.is_relative_to(root):
                raise SchemaError(f"the registry holds a Protobuf schema that is called {name!r}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (root / ".given").write_bytes(FileDescriptorSet(file=given).SerializeToString())
        compiler = "import sys; from grpc_tools import protoc; sys.exit(protoc.main(sys.argv))"
        options = [f"-I{root}", f"--descriptor_set_in={root}/.given", f"--descriptor_set_out={root}/.set"]
        done = subprocess.run(
            [sys.executable, "-c", compiler, *options, *texts],
            cwd=root, capture_output=True, text=True, check=False, timeout=COMPILE_SECONDS,
        )  # fmt: skip
        if done.returncode:
            said = [line.replace(f"{root}/", "") for line in done.stderr.splitlines() if line.startswith(str(root))]
            why = "; ".join(said) or done.stderr.strip()
            raise SchemaError(f"the registry holds a Protobuf schema that is none: {why[:MOST_SAID]}")
        return {file.name: file for file in FileDescriptorSet.FromString((root / ".set").read_bytes()).file}


class _Plainer:
    """Makes what turns messages of a type into plain values; of each type once, for they may be recursive."""

    def __init__(self) -> None:
        self._made: dict[str, list[Callable[[Any, dict[str, Any]], None]]] = {}

    def of(self, descriptor: Any) -> Plain:
        name = descriptor.full_name
        if name in SECONDS:
            return lambda message: message.seconds + message.nanos / 1e9
        if name in WRAPPED:
            return lambda message: _plain_scalar(message.value)
        if name in ANY_JSON:
            as_json: Plain = MessageToDict
            return as_json
        fields = self._made.get(name)
        if fields is None:
            fields = self._made[name] = []
            fields += [self._field(field) for field in descriptor.fields]
        return lambda message: _all_of(fields, message)

    def _field(self, field: Any) -> Callable[[Any, dict[str, Any]], None]:
        name = field.name
        if field.is_repeated:
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                of_value = self._value(field.message_type.fields_by_name["value"])

                # In one order, for Protobuf has none: rows whose names stand alike are decoded much faster.
                def take_map(message: Any, into: dict[str, Any]) -> None:
                    into[name] = {str(key): of_value(value) for key, value in sorted(getattr(message, name).items())}

                return take_map
            of_item = self._value(field)

            def take_all(message: Any, into: dict[str, Any]) -> None:
                into[name] = [of_item(value) for value in getattr(message, name)]

            return take_all
        plain = self._value(field)
        if not field.has_presence or field.has_default_value:

            def take(message: Any, into: dict[str, Any]) -> None:
                into[name] = plain(getattr(message, name))

            return take
        null = _is_number(field)

        def take_if_set(message: Any, into: dict[str, Any]) -> None:
            if message.HasField(name):
                into[name] = plain(getattr(message, name))
            elif null:
                into[name] = None

        return take_if_set

    def _value(self, field: Any) -> Plain:
        if field.message_type is not None:
            return self.of(field.message_type)
        if field.enum_type is not None:
            names = {value.number: value.name for value in field.enum_type.values}
            return lambda number: names.get(number, number)
        return _plain_scalar


def _all_of(fields: list[Callable[[Any, dict[str, Any]], None]], message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for take in fields:
        take(message, found)
    return found


def _plain_scalar(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _is_number(field: Any) -> bool:
    """Whether it is null where it is not set: a number of its own, or a wrapped one, and no choice among others."""
    oneof = field.containing_oneof
    if oneof is not None and oneof.name != f"_{field.name}":
        return False
    if field.message_type is not None:
        return field.message_type.full_name in WRAPPED[:6]
    return field.enum_type is None and field.cpp_type in (
        field.CPPTYPE_INT32, field.CPPTYPE_INT64, field.CPPTYPE_UINT32, field.CPPTYPE_UINT64,
        field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT,
    )  # fmt: skip
