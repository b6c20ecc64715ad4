"""One record of the readings topic as it is on the wire, and what is in it."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from stream_detector.decoding.decoded import (
    BAD_VALUE,
    BLOCK,
    EVENT,
    MALFORMED,
    READING,
    ROW,
    UNKNOWN_SENSOR,
    RefusedError,
)
from stream_detector.detection.grid.sorted_readings import EVENT_SENSOR

CACHED_LAYOUTS = 1_000

Found = tuple[str, NDArray[np.int64], list[Any], float, list[tuple[str, str]]]
"""Kind, sensors, values, seconds between samples, [(sensor, what is wrong with it)]."""

_NUMBERS = {float, int, type(None)}
_EVENT = np.array([EVENT_SENSOR])
_NONE = np.empty(0, np.int64)


class StrictRecord(msgspec.Struct, gc=False):
    """Any record of the topic: an event has `event`, a reading `sensor` and `value`, a row or block `values`."""

    time: str | float
    sensor: str | None = None
    value: float | msgspec.UnsetType | None = msgspec.UNSET
    asset: str | None = None
    quality: str = "good"
    event: str | None = None
    values: dict[str, float | None] | list[float | None] | None = None
    step_seconds: float | None = None


class LooseRecord(msgspec.Struct, gc=False):
    """The same with any `values`: of a row of which one value is bad, the others are used."""

    time: str | float
    sensor: str | None = None
    value: float | msgspec.UnsetType | None = msgspec.UNSET
    asset: str | None = None
    quality: str = "good"
    event: str | None = None
    values: msgspec.Raw = msgspec.Raw()
    step_seconds: float | None = None

    def parsed(self) -> Any:
        """The values, unchecked; RefusedError where they cannot be parsed."""
        text = memoryview(self.values)
        try:
            return orjson.loads(text) if text else None
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise RefusedError(MALFORMED, f"values: {error}") from error


AnyRecord = StrictRecord | LooseRecord


class RecordReader:
    """Finds out what a record is."""

    def __init__(self, sensors: Mapping[str, int], block_step_seconds: float | None) -> None:
        self._sensors = sensors
        self._block_step_seconds = block_step_seconds
        self._layouts: dict[tuple[str, ...], NDArray[np.int64]] = {}

    def read(self, message: AnyRecord) -> Found:
        """The content of a record. Raises RefusedError if the record is malformed as a whole."""
        if message.event is not None:
            if not message.event:
                raise RefusedError(MALFORMED, "event is empty")
            return EVENT, _EVENT, [None], 0.0, []
        if message.sensor is not None and message.value is not msgspec.UNSET:
            sensor = self._sensors.get(message.sensor)
            if sensor is None:
                return READING, _NONE, [], 0.0, [(message.sensor, UNKNOWN_SENSOR)]
            return READING, np.array([sensor]), [message.value if message.quality == "good" else None], 0.0, []
        checked = type(message) is StrictRecord
        values = message.values if isinstance(message, StrictRecord) else message.parsed()
        if type(values) is dict:
            return self._row(values, checked=checked)
        if type(values) is list and message.sensor is not None and message.step_seconds is not None:
            return self._block(message.sensor, message.step_seconds, values, checked=checked)
        raise RefusedError(MALFORMED, "neither a reading (sensor, value) nor a row, block (values) or event")

    def layout(self, names: tuple[str, ...]) -> NDArray[np.int64] | None:
        """The sensors of a row with these names; None where one of them is unknown. Remembered."""
        found = self._layouts.get(names)
        if found is None and names and all(name in self._sensors for name in names):
            if len(self._layouts) >= CACHED_LAYOUTS:
                self._layouts.clear()
            found = self._layouts[names] = np.array([self._sensors[name] for name in names], np.int64)
        return found

    def _row(self, values: dict[str, Any], *, checked: bool) -> Found:
        sensors = self.layout(tuple(values))
        numbers = list(values.values())
        if sensors is not None and (checked or set(map(type, numbers)) <= _NUMBERS):
            return ROW, sensors, numbers, 0.0, []
        wrong = [
            (name, UNKNOWN_SENSOR if name not in self._sensors else BAD_VALUE)
            for name, value in values.items()
            if name not in self._sensors or type(value) not in _NUMBERS
        ]
        bad = {name for name, _ in wrong}
        good = {name: value for name, value in values.items() if name not in bad}
        return ROW, np.array([self._sensors[name] for name in good], np.int64), list(good.values()), 0.0, wrong

    def _block(self, sensor: str, step_seconds: float, values: list[Any], *, checked: bool) -> Found:
        if not (math.isfinite(step_seconds) and step_seconds > 0):
            raise RefusedError(MALFORMED, f"step_seconds is {step_seconds}, it must be above 0")
        if not (checked or set(map(type, values)) <= _NUMBERS):
            raise RefusedError(MALFORMED, "values holds something that is neither a number nor null")
        if sensor not in self._sensors:
            return BLOCK, _NONE, [], step_seconds, [(sensor, UNKNOWN_SENSOR)] * len(values)
        step = self._block_step_seconds
        if step is not None and abs(step_seconds - step) <= 1e-6 * step:
            step_seconds = step
        return BLOCK, np.full(len(values), self._sensors[sensor]), values, step_seconds, []
