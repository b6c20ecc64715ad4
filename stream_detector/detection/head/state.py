"""The running state of the calibrated head, to bytes and back, bit for bit."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray

from stream_detector.detection.head.calibration import RateState
from stream_detector.detection.head.counted_steps import CountedSteps
from stream_detector.detection.head.event_clock import ClockState
from stream_detector.detection.head.features import FeatureState

Floats = NDArray[np.float64]

LENGTH = struct.Struct("<I")
PRIME = "beginning"


class CalibratedState(Struct):
    """One asset. `primed_until`: epoch seconds of the last training step, until the asset's own first step;
    `primed_position`: of that step in its run, -1 where it has ended one; None: a version before wrote the state, and
    nothing is read before the asset's own first step."""

    features: FeatureState
    rate: RateState
    primed_until: float | None = None
    primed_position: int | None = None


def to_bytes(state: CalibratedState) -> bytes:
    """A small JSON header with its length in front (numbers in JSON read back exactly), then the arrays."""
    header = {
        "position": state.features.position,
        "clock": asdict(state.features.clock),
        "rate": {
            "time": state.rate.time,
            "waiting": state.rate.waiting,
            "event_steps": state.rate.event_steps,
            "negative": state.rate.negative.stretches,
        },
        "primed_until": state.primed_until,
    }
    if state.primed_position is not None:
        header["primed_position"] = state.primed_position
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    arrays = b"".join(array.astype("<f8").tobytes() for array in _arrays(state))
    return LENGTH.pack(len(text)) + text + arrays


def from_bytes(data: bytes, like: CalibratedState) -> CalibratedState:
    """`like`: any state of the same head, for the sizes. ValueError where the bytes are not such a state."""
    try:
        (length,) = LENGTH.unpack_from(data)
        header = json.loads(data[LENGTH.size : LENGTH.size + length])
        numbers = np.frombuffer(data, "<f8", offset=LENGTH.size + length)
    except (struct.error, ValueError) as error:
        raise ValueError(f"this is no state of a calibrated head: {error}") from error
    shapes = [array.shape for array in _arrays(like)]
    sizes = [int(np.prod(shape)) for shape in shapes]
    if len(numbers) != sum(sizes):
        raise ValueError(f"the state holds {len(numbers)} numbers, this head keeps {sum(sizes)}")
    pieces = np.split(numbers.astype(np.float64), np.cumsum(sizes)[:-1])
    size, weight, recent, moves, observed, expected = (
        piece.reshape(shape).copy() for piece, shape in zip(pieces, shapes, strict=True)
    )
    rate = header["rate"]
    waiting = [(int(step), float(expectation)) for step, expectation in rate["waiting"]]
    # A state that was written before these were kept has none.
    stretches = [
        (int(first), int(last), float(begin), float(end)) for first, last, begin, end in rate.get("negative", [])
    ]
    return CalibratedState(
        FeatureState(size, weight, recent, moves, header["position"], ClockState(**header["clock"])),
        RateState(observed, expected, rate["time"], waiting, rate["event_steps"], CountedSteps(stretches)),
        header["primed_until"],
        header.get("primed_position"),
    )


def prime(state: CalibratedState) -> dict[str, NDArray[Any]]:
    """A state as an array that travels in a bundle."""
    return {PRIME: np.frombuffer(to_bytes(state), np.uint8).copy()}


def primed(arrays: Mapping[str, NDArray[Any]], like: CalibratedState) -> CalibratedState:
    """The state of `prime`; ValueError where there is none that fits."""
    if PRIME not in arrays:
        raise ValueError(f"the head lacks its array {PRIME!r}")
    return from_bytes(arrays[PRIME].astype(np.uint8).tobytes(), like)


def _arrays(state: CalibratedState) -> tuple[Floats, ...]:
    features, rate = state.features, state.rate
    return features.size, features.weight, features.recent, features.moves, rate.observed, rate.expected
