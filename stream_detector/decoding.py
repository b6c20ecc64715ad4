"""Bytes of many records to columns of readings. A record that cannot be used is pointed at; it stops nothing else.

Accepts exactly what `messages` accepts: numbers are finite numbers (no text, no booleans), times have a zone.
"""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    BLOCK,
    DETAIL,
    EVENT,
    MALFORMED,
    READING,
    ROW,
    TOMBSTONE,
    UNKNOWN_ASSET,
    UNKNOWN_SENSOR,
    Collector,
    Decoded,
    RefusedError,
    Reject,
    merged,
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
        self._sensor: Callable[[str | None], int | None] = self._sensors.get  # type: ignore[assignment]
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
        sensors: list[Any] = list(map(self._sensor, [message.sensor for message in messages]))
        numbers: list[Any] = [message.value for message in messages]
        events = [message.event for message in messages]
        own = [message.asset for message in messages]
        names = keys if own.count(None) == len(own) else [name or key for name, key in zip(own, keys, strict=True)]
        assets: list[Any] = self._look_up(self._assets, names, self._asset)
        time = self._all_seconds([message.time for message in messages])
        usable = (time >= EARLIEST) & (time < LATEST)
        odd = None in sensors or None in assets or events.count(None) < len(events)
        odd = odd or msgspec.UnsetType in set(map(type, numbers)) or not usable.all()
        if not odd:
            return self._plain(index, messages, sensors, numbers, assets, time, rejects)
        # Readings go on together, everything else is looked at record by record.
        wanted = [
            sensor is not None and asset is not None and event is None and number is not msgspec.UNSET
            for sensor, asset, event, number in zip(sensors, assets, events, numbers, strict=True)
        ]
        plain = np.flatnonzero(usable & wanted)
        rest = np.setdiff1d(np.arange(len(messages)), plain)
        columns = [[column[place] for place in plain] for column in (messages, sensors, numbers, assets)]
        readings = self._plain(index[plain], *columns, time[plain], rejects)  # type: ignore[arg-type]
        collector = Collector()
        for place in rest.tolist():
            self._take(collector, int(index[place]), messages[place], names[place], rejects)
        others = collector.decoded()
        if not len(readings.index):
            others.rejects = rejects
            return others
        return readings if not len(others.index) else merged(readings, others)

    @staticmethod
    def _look_up(known: dict[Any, Any], wanted: Sequence[Any], resolve: Callable[[Any], Any]) -> list[Any]:
        """The known answer for each of `wanted`, those found out that were not; None where there is none."""
        found = list(map(known.get, wanted))
        if None in found:
            for new in {name for name, answer in zip(wanted, found, strict=True) if answer is None}:
                with suppress(RefusedError):
                    resolve(new)
            found = list(map(known.get, wanted))
        return found

    def _all_seconds(self, times: list[Any]) -> NDArray[np.float64]:
        """(N,) epoch seconds; NaN where a text is no time."""
        found = list(map(self._times.get, times, times))
        if str in set(map(type, found)):
            for text in {time for time in found if type(time) is str}:
                with suppress(RefusedError):
                    self._seconds(text)
            found = list(map(self._times.get, times, times))
            if str in set(map(type, found)):
                found = [np.nan if type(time) is str else time for time in found]
        seconds = np.array(found, np.float64)
        return np.where(seconds >= MILLISECONDS_FROM, seconds / 1000.0, seconds)

    @staticmethod
    def _plain(
        index: NDArray[np.int64],
        messages: list[Wire],
        sensors: list[int],
        numbers: list[float | None],
        assets: list[str],
        time: NDArray[np.float64],
        rejects: list[Reject],
    ) -> Decoded:
        value = np.array(numbers, np.float64)
        qualities = [message.quality for message in messages]
        if qualities.count("good") != len(qualities):
            value[[quality != "good" for quality in qualities]] = np.nan
        return Decoded(index, assets, time, np.arange(len(index)), np.array(sensors, np.int64), time, value, rejects)

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

    def _take(
        self, collector: Collector, place: int, message: Wire, name: bytes | str | None, rejects: list[Reject]
    ) -> None:
        """One record of any kind."""
        readings = 1
        try:
            kind, sensors, numbers, step_seconds, wrong = self._sort_out(message)
            readings = 0 if kind == EVENT else len(sensors) + len(wrong)
            asset = self._assets.get(name) or self._asset(name)
            seconds = self._times.get(message.time) or self._seconds(message.time)  # type: ignore[arg-type]
            if seconds + step_seconds * len(sensors) > LATEST:
                raise RefusedError(BAD_TIME, "the block ends after the year 2199")
        except RefusedError as refusal:
            rejects.append(Reject(place, readings, refusal.reason, refusal.detail))
            return
        if wrong:
            reason = UNKNOWN_SENSOR if any(what == UNKNOWN_SENSOR for _, what in wrong) else BAD_VALUE
            detail = ", ".join(sensor[:40] for sensor, _ in wrong[:5])
            rejects.append(Reject(place, len(wrong), reason, detail))
        if len(sensors):
            collector.add(kind, place, asset, seconds, step_seconds, sensors, numbers)

    def _sort_out(self, message: Wire) -> "_Found":
        """Kind, sensors, values, seconds between samples, [(sensor, what is wrong with it)]."""
        if message.event is not None:
            if not message.event:
                raise RefusedError(MALFORMED, "event is empty")
            return EVENT, _EVENT, [None], 0.0, []
        if message.sensor is not None and message.value is not msgspec.UNSET:
            sensor = self._sensors.get(message.sensor)
            if sensor is None:
                return READING, _NONE, [], 0.0, [(message.sensor, UNKNOWN_SENSOR)]
            return READING, np.array([sensor]), [message.value if message.quality == "good" else None], 0.0, []
        text = memoryview(message.values)
        if not text:
            raise RefusedError(MALFORMED, "neither a reading (sensor, value), a row or block (values) nor an event")
        try:
            values = orjson.loads(text)
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise RefusedError(MALFORMED, f"values: {error}") from error
        if type(values) is dict:
            return self._row(values)
        if type(values) is list and message.sensor is not None and message.step_seconds is not None:
            return self._block(message.sensor, message.step_seconds, values)
        raise RefusedError(MALFORMED, "values is no object (a row), nor a list with sensor and step_seconds (a block)")

    def _row(self, values: dict[str, Any]) -> "_Found":
        names = tuple(values)
        sensors = self._layouts.get(names)
        numbers = list(values.values())
        if sensors is not None and set(map(type, numbers)) <= _NUMBERS:
            return ROW, sensors, numbers, 0.0, []
        wrong = [
            (name, UNKNOWN_SENSOR if name not in self._sensors else BAD_VALUE)
            for name, value in values.items()
            if name not in self._sensors or type(value) not in _NUMBERS
        ]
        bad = {name for name, _ in wrong}
        good = {name: value for name, value in values.items() if name not in bad}
        sensors = np.array([self._sensors[name] for name in good], np.int64)
        if not wrong and values:
            if len(self._layouts) >= CACHED_LAYOUTS:
                self._layouts.clear()
            self._layouts[names] = sensors
        return ROW, sensors, list(good.values()), 0.0, wrong

    def _block(self, sensor: str, step_seconds: float, values: list[Any]) -> "_Found":
        if not (math.isfinite(step_seconds) and step_seconds > 0):
            raise RefusedError(MALFORMED, f"step_seconds is {step_seconds}, it must be above 0")
        if not set(map(type, values)) <= _NUMBERS:
            raise RefusedError(MALFORMED, "values holds something that is neither a number nor null")
        if sensor not in self._sensors:
            return BLOCK, _NONE, [], step_seconds, [(sensor, UNKNOWN_SENSOR)] * len(values)
        step = self._block_step_seconds
        if step is not None and abs(step_seconds - step) <= 1e-6 * step:
            step_seconds = step
        return BLOCK, np.full(len(values), self._sensors[sensor]), values, step_seconds, []

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


_Found = tuple[str, NDArray[np.int64], list[Any], float, list[tuple[str, str]]]

_EVENT = np.array([EVENT_SENSOR])
_NONE = np.empty(0, np.int64)
