"""An asset's windows as bytes: with them in its snapshot, no record of it from before has to be read again."""

import zlib
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from stream_detector.detection.grid.slot_state import SlotState
from stream_detector.engine.assets.latest_scores import LatestScore
from stream_detector.engine.clock_guard import HeldRecord

COMPRESSION = 1
"""The fastest of zlib: readings hardly become smaller by more effort."""

MOST_BYTES = 64 * 2**20
"""What comes out of a damaged or hostile snapshot is not larger."""


class AssetWindows(Struct, frozen=True):
    """What the grid, the clock guard and the gauges know of an asset between two records.

    Attributes:
        slot: its slot of the grid.
        last_offset: of its last record that was used.
        held: the records that rule 1 holds aside.
        latest: its newest scored step.
    """

    slot: SlotState
    last_offset: int
    held: list[HeldRecord]
    latest: LatestScore


def pack(windows: AssetWindows) -> bytes:
    """Arrays as type, shape and little-endian bytes: every number keeps its bits."""
    return zlib.compress(_ENCODER.encode(windows), COMPRESSION)


def unpack(data: bytes) -> AssetWindows:
    """Raises ValueError where the bytes are damaged."""
    try:
        windows: AssetWindows = _DECODER.decode(zlib.decompressobj().decompress(data, MOST_BYTES))
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"the windows of a snapshot are damaged: {error}") from None
    return windows


def _array_to_plain(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        kind = array.dtype.newbyteorder("<")
        return kind.str, array.shape, array.astype(kind).tobytes()
    raise NotImplementedError(type(array))


def _plain_to_array(_: type, plain: Any) -> Any:
    kind, shape, data = plain
    return np.frombuffer(data, kind).reshape(shape).astype(np.dtype(kind).newbyteorder("="))


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_array_to_plain)
_DECODER = msgspec.msgpack.Decoder(AssetWindows, dec_hook=_plain_to_array)
