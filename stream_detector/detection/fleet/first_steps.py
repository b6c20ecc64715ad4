"""A machine that training never saw: its scale follows from its own first steps, and is then fixed for good."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import FleetConfig, ScalerConfig
from stream_detector.detection.fleet.own_scale import own_scale

Floats = NDArray[np.float64]

MOST_ROWS = 256
MOST_CELLS = 2**15
LEAST_ROWS = 16
"""How many steps are kept to learn from: evenly thinned out, so that a snapshot stays small whatever is asked for."""


def kept_rows(sensors: int) -> int:
    """At most so many steps of a machine with so many sensors are kept.

    >>> [kept_rows(sensors) for sensors in (1, 60, 1000, 10_000)]
    [256, 256, 32, 16]
    """
    return max(LEAST_ROWS, min(MOST_ROWS, MOST_CELLS // sensors))


def most_bytes(sensors: int) -> int:
    """No `FirstSteps.dump` of so many sensors is larger."""
    return 8 * sensors * (kept_rows(sensors) + 2) + 64


class _Saved(msgspec.Struct, array_like=True):
    seen: int
    every: int
    kept: bytes
    center: bytes
    scale: bytes


_DECODER = msgspec.msgpack.Decoder(_Saved)


class FirstSteps:
    """One machine. Its scale is learnt after `least_steps` steps, anew at every doubling, and last after
    `provisional_steps`; a step is scored by what the steps before it have shown.

    Attributes:
        seen: steps so far, at most `provisional_steps`.
        center, scale: (F,), None before there are enough steps.
    """

    __slots__ = ("_config", "_every", "_kept", "_scaler", "_usual", "center", "scale", "seen")

    def __init__(self, config: FleetConfig, scaler: ScalerConfig, usual: Floats) -> None:
        """usual: (F,) as in `own_scale`."""
        self._config, self._scaler, self._usual = config, scaler, usual
        self._kept: list[Floats] = []
        self._every = 1
        self.seen = 0
        self.center: Floats | None = None
        self.scale: Floats | None = None

    @property
    def fixed(self) -> bool:
        """Whether the scale changes no more."""
        return self.seen >= self._config.provisional_steps

    def learn(self, values: Floats) -> bool:
        """The next step, before the scale is fixed. values: (F,), NaN = unknown. Returns whether the scale is new."""
        if self.seen % self._every == 0:
            if len(self._kept) == kept_rows(len(values)):
                self._kept = self._kept[::2]
                self._every *= 2
            if self.seen % self._every == 0:
                self._kept.append(values.copy())
        self.seen += 1
        if not self._is_time():
            return False
        self.center, self.scale = own_scale(self._scaler, np.stack(self._kept), self._usual)
        if self.fixed:
            self._kept = []
        return True

    def _is_time(self) -> bool:
        doublings, rest = divmod(self.seen, self._config.least_steps)
        return self.fixed or (rest == 0 and doublings.bit_count() == 1)

    def dump(self) -> bytes:
        """Every number with its bits."""
        return msgspec.msgpack.encode(
            _Saved(
                self.seen,
                self._every,
                b"".join(map(_to_bytes, self._kept)),
                b"" if self.center is None else _to_bytes(self.center),
                b"" if self.scale is None else _to_bytes(self.scale),
            )
        )

    def load(self, data: bytes) -> None:
        """Go on from what `dump` wrote; without effect where the bytes are damaged."""
        sensors = len(self._usual)
        try:
            saved = _DECODER.decode(data)
            kept = np.frombuffer(saved.kept, "<f8").reshape(-1, sensors).astype(np.float64)
            center, scale = (_from_bytes(part, sensors) for part in (saved.center, saved.scale))
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return
        self.seen, self._every, self._kept, self.center, self.scale = saved.seen, saved.every, list(kept), center, scale


def _to_bytes(numbers: Floats) -> bytes:
    return numbers.astype("<f8").tobytes()


def _from_bytes(data: bytes, count: int) -> Floats | None:
    return np.frombuffer(data, "<f8").reshape(count).astype(np.float64) if data else None
