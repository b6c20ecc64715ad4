"""One record of the readings topic as it is on the wire, and what is in it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from stream_detector.decoding.cells import BAD_QUALITY, number_or_reason
from stream_detector.decoding.decoded import BLOCK, EVENT, MALFORMED, READING, ROW, RefusedError
from stream_detector.detection.grid.contents import EVENT_SENSOR

CACHED_LAYOUTS = 1_000

_EVENT = np.array([EVENT_SENSOR])
_NONE = np.empty(0, np.int64)


class Found(Struct):
    """What is in a record: kind, sensors, their values, seconds between samples; then the names that are unknown (and
    how many readings they have, where it is not one each), and why cells are missing."""

    kind: str
    sensors: NDArray[np.int64]
    values: list[float | None]
    step_seconds: float = 0.0
    unknown: list[str] = field(default_factory=list)
    unknown_readings: int | None = None
    missing: list[str] = field(default_factory=list)


class Layout(Struct, frozen=True):
    """Of a row: its known sensors in ascending order, where they stand in it, and the other names. `as_it_stands`:
    there are no others, and the row has that order. `whole`: all sensors of the bundle are in it.

    One order for all rows, so that what follows cannot depend on the order that a sender chose.
    """

    sensors: NDArray[np.int64]
    places: list[int]
    unknown: list[str]
    as_it_stands: bool
    whole: bool

    def known(self, cells: list[Any]) -> list[Any]:
        """The cells of the known sensors."""
        return [cells[place] for place in self.places]


class Item(msgspec.Struct, gc=False):
    """One of several readings in a record; what it does not say is the record's."""

    sensor: str
    value: Any
    time: str | float | None = None
    asset: str | None = None
    quality: str = "good"


class StrictRecord(msgspec.Struct, gc=False):
    """Any record of the topic: an event has `event`, a reading `sensor` and `value`, a row or block `values`, and
    several readings `readings`."""

    time: str | float
    sensor: str | None = None
    value: float | msgspec.UnsetType | None = msgspec.UNSET
    asset: str | None = None
    quality: str = "good"
    event: str | None = None
    values: dict[str, float | None] | list[float | None] | None = None
    step_seconds: float | None = None
    readings: list[Item] | None = None


class LooseRecord(msgspec.Struct, gc=False):
    """The same with anything where a number ought to be: such a cell is missing, the others are used."""

    time: str | float
    sensor: str | None = None
    value: Any = msgspec.UNSET
    asset: str | None = None
    quality: str = "good"
    event: str | None = None
    values: dict[str, Any] | list[Any] | None = None
    step_seconds: float | None = None
    readings: list[Item] | None = None


AnyRecord = StrictRecord | LooseRecord

_decode_loosely = msgspec.json.Decoder(LooseRecord).decode


def loose_record(value: bytes) -> LooseRecord:
    """A record that is JSON, or what Python writes for it: `NaN` and `Infinity` are no JSON.

    Raises:
        ValueError, RecursionError: it is neither.
    """
    try:
        return _decode_loosely(value)
    except msgspec.ValidationError as error:
        if "out of range" not in str(error):
            raise
    except msgspec.DecodeError:
        if not any(word in value for word in (b"NaN", b"Infinity")):
            raise
    message: LooseRecord = msgspec.convert(json.loads(value.decode()), LooseRecord)
    for name in (message.asset, message.sensor, message.event, *(item.asset for item in message.readings or ())):
        (name or "").encode()  # half a surrogate pair is no name
    return message


class RecordReader:
    """Finds out what a record is."""

    def __init__(self, sensors: Mapping[str, int], block_step_seconds: float | None) -> None:
        self._sensors = sensors
        self._block_step_seconds = block_step_seconds
        self._layouts: dict[tuple[str, ...], Layout] = {}

    def read(self, message: AnyRecord) -> Found:
        """The content of a record. Raises RefusedError if the record is malformed as a whole."""
        if message.event is not None:
            if not message.event:
                raise RefusedError(MALFORMED, "event is empty")
            return Found(EVENT, _EVENT, [None])
        values = message.values
        if message.sensor is not None and message.value is not msgspec.UNSET:
            return self._reading(message.sensor, message.value, message.quality)
        if type(values) is dict:
            return self._row(values, checked=type(message) is StrictRecord)
        if message.sensor is not None and values is None and message.sensor not in self._sensors:
            return Found(READING, _NONE, [], unknown=[message.sensor])
        if type(values) is list and message.sensor is not None and message.step_seconds is not None:
            checked = type(message) is StrictRecord
            return self._block(message.sensor, message.step_seconds, values, checked=checked)
        raise RefusedError(MALFORMED, "neither a reading (sensor, value) nor a row, block (values) or event")

    def layout(self, names: tuple[str, ...]) -> Layout:
        """Where the known sensors of a row with these names stand. Remembered."""
        found = self._layouts.get(names)
        if found is None:
            if len(self._layouts) >= CACHED_LAYOUTS:
                self._layouts.clear()
            known = sorted((self._sensors[name], place) for place, name in enumerate(names) if name in self._sensors)
            sensors = np.array([sensor for sensor, _ in known], np.int64)
            places = [place for _, place in known]
            unknown = [name for name in names if name not in self._sensors]
            found = self._layouts[names] = Layout(
                sensors, places, unknown, places == list(range(len(names))), len(sensors) == len(self._sensors)
            )
        return found

    def item(self, item: Item) -> tuple[int | None, float | None, str | None]:
        """Sensor (None: unknown), number and why it is missing."""
        if item.quality != "good":
            return self._sensors.get(item.sensor), None, BAD_QUALITY
        return self._sensors.get(item.sensor), *number_or_reason(item.value)

    def _reading(self, name: str, value: Any, quality: str) -> Found:
        sensor = self._sensors.get(name)
        if sensor is None:
            return Found(READING, _NONE, [], unknown=[name])
        number, reason = (None, BAD_QUALITY) if quality != "good" else number_or_reason(value)
        return Found(READING, np.array([sensor]), [number], missing=[] if reason is None else [reason])

    def _row(self, values: dict[str, Any], *, checked: bool) -> Found:
        layout = self.layout(tuple(values))
        cells = list(values.values())
        if not layout.as_it_stands:
            cells = layout.known(cells)
        numbers, missing = _numbers(cells, checked=checked)
        return Found(ROW, layout.sensors, numbers, unknown=layout.unknown, missing=missing)

    def _block(self, sensor: str, step_seconds: float, values: list[Any], *, checked: bool) -> Found:
        if sensor not in self._sensors:
            return Found(BLOCK, _NONE, [], unknown=[sensor], unknown_readings=len(values))
        if not (math.isfinite(step_seconds) and step_seconds > 0):
            raise RefusedError(MALFORMED, f"step_seconds is {step_seconds}, it must be above 0")
        step_seconds = snapped(step_seconds, self._block_step_seconds)
        numbers, missing = _numbers(values, checked=checked)
        return Found(BLOCK, np.full(len(numbers), self._sensors[sensor]), numbers, step_seconds, missing=missing)


def snapped(step_seconds: float, to: float | None) -> float:
    """The seconds between samples, or those of the grid of samples where they mean these."""
    return to if to is not None and abs(step_seconds - to) <= 1e-6 * to else step_seconds


def size_of(message: AnyRecord) -> int:
    """How many readings there are in a record, whatever it is."""
    if message.event is not None:
        return 0
    if message.readings is not None:
        return len(message.readings)
    return 1 if message.values is None else len(message.values)


def _numbers(cells: list[Any], *, checked: bool) -> tuple[list[float | None], list[str]]:
    """The cells as numbers, and why others are missing. `checked`: the parser has seen to it."""
    if checked:
        return cells, []
    found = list(map(number_or_reason, cells))
    return [number for number, _ in found], [reason for _, reason in found if reason is not None]
