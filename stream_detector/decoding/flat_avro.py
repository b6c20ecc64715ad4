"""Flat Avro records, a whole batch at once: field by field in numpy instead of record by record.

What it makes of a record is byte for byte what a reader of single records makes of it; what is not plain it leaves to
that.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

AT_LEAST = 64
"""Records in a batch for which it pays."""

PADDING = 16
"""Bytes behind the last record, so that reading beyond it is harmless."""

LONGEST_NUMBER = 10
"""Bytes of a number that has 64 bits."""

MOST_TEXTS = 10_000
PRIMITIVES = ("string", "int", "long", "float", "double", "boolean")

Column = Callable[["Cursor", Bools], list[bytes]]
"""Reads a field of the records in which it is present; its JSON in each."""


def flat_reader(schema: Any, head: int) -> Callable[[Sequence[bytes]], list[bytes | None]] | None:
    """What reads many records of a schema, which begin with `head` bytes; None in place of those that are not plain.

    None where the schema is not a record of texts, numbers and booleans, or such and null.
    """
    if not isinstance(schema, dict) or schema.get("type") != "record" or not schema["fields"]:
        return None
    fields = [_column(field["type"]) for field in schema["fields"]]
    columns = [column for column in fields if column is not None]
    if len(columns) < len(fields):
        return None
    names = [b"," + orjson.dumps(field["name"]) + b":" for field in schema["fields"]]
    names[0] = b"{" + names[0].removeprefix(b",")

    def read(values: Sequence[bytes]) -> list[bytes | None]:
        cursor = Cursor(values, head)
        everywhere = np.ones(len(values), np.bool_)
        parts: list[Iterable[bytes]] = []
        for name, column in zip(names, columns, strict=True):
            parts += [repeat(name), column(cursor, everywhere)]
        records: list[bytes | None] = list(map(b"".join, zip(*parts, repeat(b"}"), strict=False)))
        for place in np.flatnonzero(~cursor.good | (cursor.at > cursor.ends)):
            records[place] = None
        return records

    return read


def _column(kind: Any) -> Column | None:
    if isinstance(kind, list):
        if len(kind) != 2 or "null" not in kind:
            return None
        null = kind.index("null")
        inner = _column(kind[1 - null])
        return None if inner is None else _nullable(inner, null)
    if isinstance(kind, dict):
        kind = None if "logicalType" in kind else kind.get("type")
    if kind not in PRIMITIVES:
        return None
    if kind == "string":
        return _Texts()
    return {"int": _integers, "long": _integers, "boolean": _booleans}.get(kind) or _floats(
        "<f4" if kind == "float" else "<f8"
    )


class Cursor:
    """Where each record of a batch is read next.

    `at`, `ends`: (N,) places in `content`. `good`: (N,) whether the record was plain so far.
    """

    def __init__(self, values: Sequence[bytes], head: int) -> None:
        self.content = b"".join(values) + bytes(PADDING)
        self._bytes = np.frombuffer(self.content, np.uint8)
        self._last = len(self.content) - PADDING
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        self.ends = np.cumsum(lengths)
        self.at: Ints = self.ends - lengths + head
        self.good: Bools = np.ones(len(values), np.bool_)

    def take(self, width: int) -> NDArray[np.uint8]:
        """(N, width) the next bytes; nothing is advanced."""
        return self._bytes[np.minimum(self.at, self._last)[:, None] + np.arange(width)]

    def number(self, present: Bools) -> Ints:
        """(N,) the next numbers, in zigzag and seven bits a byte."""
        at = np.minimum(self.at, self._last)
        byte = self._bytes[at]
        value, more = (byte & 127).astype(np.uint64), byte > 127
        length = np.ones(len(at), np.int64)
        for place in range(1, LONGEST_NUMBER):
            if not more.any():
                break
            byte = np.where(more, self._bytes[np.minimum(at + place, self._last)], 0)
            value |= (byte & 127).astype(np.uint64) << np.uint64(7 * place)
            length += more
            more = byte > 127
        # A longer one has no end here, or more than 64 bits.
        self.good &= ~((more | ((length == LONGEST_NUMBER) & (byte > 1))) & present)
        self.at += np.where(present, length, 0)
        signed: Ints = (value >> np.uint64(1)).view(np.int64) ^ -(value & np.uint64(1)).view(np.int64)
        return signed


def _nullable(inner: Column, null: int) -> Column:
    def read(cursor: Cursor, present: Bools) -> list[bytes]:
        branch = cursor.number(present)
        cursor.good &= (branch == null) | (branch == 1 - null)
        holds = present & (branch != null)
        texts = inner(cursor, holds)
        for place in np.flatnonzero(~holds):
            texts[place] = b"null"
        return texts

    return read


def _integers(cursor: Cursor, present: Bools) -> list[bytes]:
    return _dumped(cursor.number(present))


def _booleans(cursor: Cursor, present: Bools) -> list[bytes]:
    byte = cursor.take(1)[:, 0]
    cursor.good &= (byte <= 1) | ~present
    cursor.at += present
    return [b"true" if each else b"false" for each in byte.tolist()]


def _floats(form: str) -> Column:
    width = np.dtype(form).itemsize

    def read(cursor: Cursor, present: Bools) -> list[bytes]:
        values = cursor.take(width).view(form)[:, 0].astype(np.float64)
        cursor.at += np.where(present, width, 0)
        return _dumped(values)

    return read


class _Texts:
    """Reads texts. Most of them come over and over."""

    def __init__(self) -> None:
        self._known: dict[bytes, bytes] = {}

    def __call__(self, cursor: Cursor, present: Bools) -> list[bytes]:
        length = cursor.number(present)
        cursor.good &= ~present | ((length >= 0) & (length <= len(cursor.content)))
        begin = cursor.at
        cursor.at = begin + np.where(present & cursor.good, length, 0)
        content, known = cursor.content, self._known
        raws = [content[at:to] for at, to in zip(begin.tolist(), cursor.at.tolist(), strict=True)]
        if len(known) > MOST_TEXTS:
            known.clear()
        for raw in set(raws) - known.keys():
            known[raw] = _quoted(raw)
        texts = list(map(known.__getitem__, raws))
        if b"" in texts:
            cursor.good &= np.fromiter(map(bool, texts), np.bool_, len(texts)) | ~present
        return texts


def _quoted(raw: bytes) -> bytes:
    """The text in JSON; empty where it is none."""
    try:
        return orjson.dumps(raw.decode())
    except UnicodeDecodeError:
        return b""


def _dumped(numbers: NDArray[Any]) -> list[bytes]:
    return orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
