"""Writes ONNX models: the few messages of onnx.proto that our graphs consist of, encoded as protobuf encodes them.

The package onnx writes the same (a test compares them), but importing it with protobuf takes a fifteenth of a worker's
start, and nothing else of it is used. A message is the fields that it consists of, in any order; a field is its number
and kind, then its value (https://protobuf.dev/programming-guides/encoding, numbers from onnx/onnx.proto).
"""

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Attribute = int | float | str | Sequence[int]
"""What an attribute of our operators can be; truth is told by 0 and 1."""

OPSET, IR_VERSION = 17, 8

VARINT, BYTES, FIXED32 = 0, 2, 5
"""How the value of a field is encoded."""

ELEMENT_TYPES = {"float32": 1, "int64": 7, "float64": 11}
FLOAT, INT, STRING, INTS = 1, 2, 3, 7
"""Types of attributes."""


def model(
    nodes: Sequence[bytes], constants: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]
) -> bytes:
    """ModelProto of a graph. Nodes stand behind those whose outputs they take."""
    graph = [
        *(_bytes(1, node) for node in nodes),
        _text(2, "model"),
        *(_bytes(5, constant) for constant in constants),
        *(_bytes(11, value) for value in inputs),
        *(_bytes(12, value) for value in outputs),
    ]
    operators = _text(1, "") + _int(2, OPSET)
    return _int(1, IR_VERSION) + _bytes(7, b"".join(graph)) + _bytes(8, operators)


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Attribute]) -> bytes:
    """NodeProto. An input named "" is one that is left out."""
    return b"".join(
        [
            *(_text(1, name) for name in inputs),
            *(_text(2, name) for name in outputs),
            _text(4, operator),
            *(_bytes(5, _attribute(name, value)) for name, value in sorted(attributes.items())),
        ]
    )


def tensor(name: str, array: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64]) -> bytes:
    """TensorProto of an array of one of `ELEMENT_TYPES`."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    shape = b"".join(_int(1, length) for length in array.shape)
    return shape + _int(2, ELEMENT_TYPES[array.dtype.name]) + _text(8, name) + _bytes(9, little.tobytes())


def value(name: str, element: str, shape: Sequence[int | None] | None) -> bytes:
    """ValueInfoProto of an input or output; None: of any length there, or of any shape."""
    kind = _int(1, ELEMENT_TYPES[element])
    if shape is not None:
        kind += _bytes(2, b"".join(_bytes(1, b"" if length is None else _int(1, length)) for length in shape))
    return _text(1, name) + _bytes(2, _bytes(1, kind))


def _attribute(name: str, value: Attribute) -> bytes:
    match value:
        case int():
            kind, field = INT, _int(3, value)
        case float():
            kind, field = FLOAT, _key(2, FIXED32) + struct.pack("<f", value)
        case str():
            kind, field = STRING, _text(4, value)
        case _:
            kind, field = INTS, b"".join(_int(8, number) for number in value)
    return _text(1, name) + field + _int(20, kind)


def _int(number: int, value: int) -> bytes:
    return _key(number, VARINT) + _varint(value)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, BYTES) + _varint(len(value)) + value


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit of a byte says that another one follows.

    >>> _varint(1), _varint(300), len(_varint(-1))
    (b'\\x01', b'\\xac\\x02', 10)
    """
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
