"""Bytes of many records to columns of readings. A record that cannot be used is pointed at; it stops nothing else.

Accepts exactly what `messages` accepts: numbers are finite numbers (no text, no booleans), times have a zone.
"""

import math
import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from stream_detector.columns import (
    BAD_KEY,
    BAD_TIME,
    BAD_VALUE,
    DETAIL,
    MALFORMED,
    TOMBSTONE,
    UNKNOWN_ASSET,
    UNKNOWN_SENSOR,
    Collector,
    Decoded,
    RefusedError,
    Reject,
)
from stream_detector.detection.pieces import EVENT_SENSOR
from stream_detector.messages import MILLISECONDS_FROM, to_epoch_seconds

EARLIEST, LATEST = -2_208_988_800.0, 7_258_118_400.0
"""Times are accepted from 1900 to 2200: outside of them a clock is broken, or milliseconds were taken for seconds."""

LONGEST_ASSET = 249
"""Characters of an asset's name; as long as the name of a Kafka topic may be."""

CACHED_TIMES, CACHED_ASSETS, CACHED_LAYOUTS = 65_536, 100_000, 1_000

_NUMBERS = {float, int, type(None)}


class Wire(msgspec.Struct, gc=False):
    """Any record of the topic: an event has `event`, a reading `sensor` and `value`, a row or block `values`."""

    time: str | float
    sensor: str | None = None
    value: float | msgspec.UnsetType | None = msgspec.UNSET
    asset: str | None = None
    quality: str = "good"
    event: str | None = None
    values: msgspec.Raw = msgspec.Raw()
    step_seconds: float | None = None


class Decoder:
    """Decodes for one bundle: its sensors, and the assets that its glob matches."""

    def __init__(self, sensors: Sequence[str], assets: str, block_step_seconds: float | None = None) -> None:
        """block_step_seconds: samples of a block this far apart lie on consecutive steps (grids of samples)."""
        self._sensors = {name: index for index, name in enumerate(sensors)}
        self._matches = re.compile(translate(assets)).match
        self._block_step_seconds = block_step_seconds
        self._decode = msgspec.json.Decoder(Wire).decode
        self._times: dict[str, float] = {}
        self._assets: dict[bytes | str | None, str] = {}
        self._layouts: dict[tuple[str, ...], NDArray[np.int64]] = {}

    def decode(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Decoded:
        """Columns of all records that can be used, and what is wrong with the others."""
        rejects: list[Reject] = []
        try:
            messages, index = list(map(self._decode, values)), np.arange(len(values))  # type: ignore[arg-type]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
            messages, kept = self._decode_each(values, rejects)
            index, keys = np.array(kept, np.int64), [keys[place] for place in kept]
        sensors: list[int | None] = [self._sensors.get(message.sensor) for message in messages]  # type: ignore[arg-type]
        numbers = [message.value for message in messages]
        plain = (
            None not in sensors
            and msgspec.UnsetType not in set(map(type, numbers))
            and [message.event for message in messages].count(None) == len(messages)
        )
        named = [message.asset or key for message, key in zip(messages, keys, strict=True)]
        assets: list[Any] = list(map(self._assets.get, named))
        times: list[Any] = [message.time for message in messages]
        times = list(map(self._times.get, times, times))
        usable = plain and None not in assets and str not in set(map(type, times))
        if usable:
            time = np.array(times, np.float64)
            time = np.where(time >= MILLISECONDS_FROM, time / 1000.0, time)
            usable = bool(len(time)) and float(time.min()) >= EARLIEST and float(time.max()) < LATEST
        if not usable:
            return self._decode_mixed(messages, index, named, times, rejects)
        value = np.array(numbers, np.float64)
        qualities = [message.quality for message in messages]
        if qualities.count("good") != len(qualities):
            value[[quality != "good" for quality in qualities]] = np.nan
        return Decoded(
            index,
            assets,
            time,
            np.arange(len(index)),
            np.array(sensors, np.int64),
            time,
            value,
            rejects,
        )

    def _decode_each(self, values: Sequence[bytes | None], rejects: list[Reject]) -> tuple[list[Wire], list[int]]:
        messages, kept = [], []
        for index, value in enumerate(values):
            if value is None:
                rejects.append(Reject(index, 1, TOMBSTONE, "the record has no value"))
                continue
            try:
                messages.append(self._decode(value))
                kept.append(index)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                rejects.append(Reject(index, 1, MALFORMED, str(error)[:DETAIL]))
        return messages, kept

    def _decode_mixed(
        self,
        messages: list[Wire],
        index: NDArray[np.int64],
        named: list[bytes | str | None],
        times: list[Any],
        rejects: list[Reject],
    ) -> Decoded:
        """Record by record; slower, and the only path that rows, blocks, events and bad records take."""
        collector = Collector()
        for place, message, name, time in zip(index.tolist(), messages, named, times, strict=True):
            readings = 1
            try:
                sensors, numbers, step_seconds, wrong = self._sort_out(message)
                readings = 0 if message.event is not None else len(sensors) + len(wrong)
                asset = self._assets.get(name) or self._asset(name)
                seconds = self._seconds(time)
                if seconds + (step_seconds or 0.0) * len(sensors) > LATEST:
                    raise RefusedError(BAD_TIME, "the block ends after the year 2199")
            except RefusedError as refusal:
                rejects.append(Reject(place, readings, refusal.reason, refusal.detail))
                continue
            if wrong:
                reason = UNKNOWN_SENSOR if any(what == UNKNOWN_SENSOR for _, what in wrong) else BAD_VALUE
                detail = ", ".join(sensor[:40] for sensor, _ in wrong[:5])
                rejects.append(Reject(place, len(wrong), reason, detail))
            if len(sensors):
                collector.add(place, asset, seconds, step_seconds, sensors, numbers, message.event is not None)
        return collector.decoded(rejects)

    def _sort_out(self, message: Wire) -> "_Found":
        """(sensors, values, seconds between samples | None, [(sensor, what is wrong with it)])."""
        if message.event is not None:
            if not message.event:
                raise RefusedError(MALFORMED, "event is empty")
            return _EVENT, _NOTHING, None, []
        if message.sensor is not None and message.value is not msgspec.UNSET:
            sensor = self._sensors.get(message.sensor)
            if sensor is None:
                return _NO_SENSORS, _NO_VALUES, None, [(message.sensor, UNKNOWN_SENSOR)]
            missing = message.value is None or message.quality != "good"
            return np.array([sensor]), np.array([np.nan if missing else message.value], np.float64), None, []
        text = memoryview(message.values)
        if not text:
            raise RefusedError(MALFORMED, "neither a reading (sensor, value), a row or block (values) nor an event")
        try:
            values = orjson.loads(text)
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise RefusedError(MALFORMED, f"values: {error}") from error
        if isinstance(values, dict):
            return self._row(values)
        if isinstance(values, list) and message.sensor is not None and message.step_seconds is not None:
            return self._block(message.sensor, message.step_seconds, values)
        raise RefusedError(MALFORMED, "values is no object (a row), nor a list with sensor and step_seconds (a block)")

    def _row(self, values: dict[str, Any]) -> "_Found":
        names = tuple(values)
        sensors = self._layouts.get(names)
        if sensors is not None and set(map(type, values.values())) <= _NUMBERS:
            return sensors, _numbers(list(values.values())), None, []
        wrong = [
            (name, UNKNOWN_SENSOR if name not in self._sensors else BAD_VALUE)
            for name, value in values.items()
            if name not in self._sensors or type(value) not in _NUMBERS
        ]
        bad = {name for name, _ in wrong}
        good = {name: value for name, value in values.items() if name not in bad}
        sensors = np.array([self._sensors[name] for name in good], np.int64)
        if not wrong and values:
            if len(self._layouts) >= 1_000:
                self._layouts.clear()
            self._layouts[names] = sensors
        return sensors, _numbers(list(good.values())), None, wrong

    def _block(self, sensor: str, step_seconds: float, values: list[Any]) -> "_Found":
        if not (math.isfinite(step_seconds) and step_seconds > 0):
            raise RefusedError(MALFORMED, f"step_seconds is {step_seconds}, it must be above 0")
        if not set(map(type, values)) <= _NUMBERS:
            raise RefusedError(MALFORMED, "values holds something that is neither a number nor null")
        if sensor not in self._sensors:
            return _NO_SENSORS, _NO_VALUES, step_seconds, [(sensor, UNKNOWN_SENSOR)] * len(values)
        step = self._block_step_seconds
        if step is not None and abs(step_seconds - step) <= 1e-6 * step:
            step_seconds = step
        return np.full(len(values), self._sensors[sensor]), _numbers(values), step_seconds, []

    def _asset(self, name: bytes | str | None) -> str:
        """The asset's name, remembered."""
        if not name:
            raise RefusedError(BAD_KEY, "the record has neither a key nor an asset")
        try:
            text = name.decode() if isinstance(name, bytes) else name
        except UnicodeDecodeError as error:
            raise RefusedError(BAD_KEY, f"the key is not UTF-8: {error.reason}") from error
        if len(text) > LONGEST_ASSET:
            raise RefusedError(BAD_KEY, f"the asset's name has {len(text)} characters, at most {LONGEST_ASSET} may be")
        if not self._matches(text):
            raise RefusedError(UNKNOWN_ASSET, f"{text[:40]!r} is not an asset of this bundle")
        if len(self._assets) >= CACHED_ASSETS:
            self._assets.clear()
        self._assets[name] = text
        return text

    def _seconds(self, time: str | float) -> float:
        """Epoch seconds within our calendar; texts are remembered."""
        try:
            seconds = to_epoch_seconds(time)
        except (ValueError, OverflowError) as error:
            raise RefusedError(BAD_TIME, str(error)) from error
        if not EARLIEST <= seconds < LATEST:
            raise RefusedError(BAD_TIME, f"time {str(time)[:40]!r} lies outside the years 1900 to 2199")
        if isinstance(time, str):
            if len(self._times) >= CACHED_TIMES:
                self._times.clear()
            self._times[time] = seconds
        return seconds


_Found = tuple[NDArray[np.int64], NDArray[np.float64], float | None, list[tuple[str, str]]]

_EVENT = np.array([EVENT_SENSOR])
_NOTHING = np.array([np.nan])
_NO_SENSORS = np.empty(0, np.int64)
_NO_VALUES = np.empty(0, np.float64)


def _numbers(values: list[Any]) -> NDArray[np.float64]:
    return np.array(values, np.float64)
