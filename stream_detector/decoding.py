"""Bytes of many records to columns of readings. A record that cannot be used is pointed at; it stops nothing else.

Accepts exactly what `messages` accepts: numbers are finite numbers (no text, no booleans), times have a zone.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from fnmatch import translate
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.columns import (
    BAD_KEY,
    BAD_TIME,
    BAD_VALUE,
    DETAIL,
    EVENT,
    MALFORMED,
    TOMBSTONE,
    UNKNOWN_ASSET,
    UNKNOWN_SENSOR,
    Collector,
    Decoded,
    RefusedError,
    Reject,
    merged,
)
from stream_detector.messages import MILLISECONDS_FROM, to_epoch_seconds
from stream_detector.wire import AnyWire, LooseWire, RecordReader, Wire

EARLIEST, LATEST = -2_208_988_800.0, 7_258_118_400.0
"""Times are accepted from 1900 to 2200: outside of them a clock is broken, or milliseconds were taken for seconds."""

LONGEST_ASSET = 249
"""Characters of an asset's name; as long as the name of a Kafka topic may be."""

CACHED_TIMES, CACHED_ASSETS = 65_536, 100_000


class Decoder:
    """Decodes for one bundle: its sensors, and the assets that its glob matches."""

    def __init__(self, sensors: Sequence[str], assets: str, block_step_seconds: float | None = None) -> None:
        """block_step_seconds: samples of a block this far apart lie on consecutive steps (grids of samples)."""
        self._sensors = {name: index for index, name in enumerate(sensors)}
        self._sensor: Callable[[str | None], int | None] = self._sensors.get  # type: ignore[assignment]
        self._matches = re.compile(translate(assets)).match
        self._reader = RecordReader(self._sensors, block_step_seconds)
        self._decode = msgspec.json.Decoder(Wire).decode
        self._decode_loosely = msgspec.json.Decoder(LooseWire).decode
        self._times: dict[str, float] = {}
        self._assets: dict[bytes | str | None, str] = {}

    def decode(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Decoded:
        """Columns of all records that can be used, and what is wrong with the others."""
        rejects: list[Reject] = []
        try:
            messages: list[AnyWire] = list(map(self._decode, values))  # type: ignore[arg-type]
            index = np.arange(len(values))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
            messages, kept = self._decode_each(values, rejects)
            index, keys = np.array(kept, np.int64), [keys[place] for place in kept]
        times = [message.time for message in messages]
        own = [message.asset for message in messages]
        names = keys if own.count(None) == len(own) else [name or key for name, key in zip(own, keys, strict=True)]
        self._learn(names, times)
        events = [message.event for message in messages]
        if events.count(None) == len(events):
            # What is not there is None, which no array of integers takes: then there is something odd among them.
            for whole in (self._plain, self._rows):
                with suppress(TypeError):
                    return whole(index, messages, times, names, rejects)
        return self._decode_mixed(index, messages, times, names, rejects)

    def _learn(self, names: Sequence[bytes | str | None], times: list[str | float]) -> None:
        """Look at every new name and text once; what is wrong with one is found again at its record."""
        if len(self._assets) >= CACHED_ASSETS:
            self._assets.clear()
        if len(self._times) >= CACHED_TIMES:
            self._times.clear()
        for name in set(names) - self._assets.keys():
            with suppress(RefusedError):
                self._asset(name)
        for text in set(times) - self._times.keys():
            if type(text) is str:
                with suppress(RefusedError):
                    self._seconds(text)

    def _plain(
        self,
        index: NDArray[np.int64],
        messages: list[AnyWire],
        times: list[str | float],
        names: Sequence[bytes | str | None],
        rejects: list[Reject],
    ) -> Decoded:
        """Nothing but good readings; TypeError where there is anything else."""
        count = len(messages)
        sensor = np.fromiter(map(self._sensor, [message.sensor for message in messages]), np.int64, count)
        value = np.array([message.value for message in messages], np.float64)
        qualities = [message.quality for message in messages]
        if qualities.count("good") != count:
            value[[quality != "good" for quality in qualities]] = np.nan
        time, assets = self._all_seconds(times), self._all_assets(names)
        return Decoded(index, assets, time, np.arange(count), sensor, time, value, rejects)

    def _rows(
        self,
        index: NDArray[np.int64],
        messages: list[AnyWire],
        times: list[str | float],
        names: Sequence[bytes | str | None],
        rejects: list[Reject],
    ) -> Decoded:
        """Nothing but good rows of the same sensors; TypeError where there is anything else."""
        values: list[Any] = [message.values for message in messages]
        if set(map(type, values)) != {dict} or {message.value for message in messages} != {msgspec.UNSET}:
            raise TypeError
        layouts = set(map(tuple, values))
        sensors = self._reader.layout(layouts.pop())
        if layouts or sensors is None:
            raise TypeError
        time, assets = self._all_seconds(times), self._all_assets(names)
        record = np.repeat(np.arange(len(messages)), len(sensors))
        # One conversion for all: None becomes NaN.
        value = np.array(list(chain.from_iterable(map(dict.values, values))), np.float64)
        sensor = np.tile(sensors, len(messages))
        return Decoded(index, assets, time, record, sensor, time[record], value, rejects, rows=len(messages))

    def _all_assets(self, names: Sequence[bytes | str | None]) -> list[str]:
        """The name of each asset; TypeError where one has none that we may use."""
        assets = list(map(self._assets.get, names))
        if not all(assets):
            raise TypeError
        return assets  # type: ignore[return-value]

    def _all_seconds(self, times: list[str | float]) -> NDArray[np.float64]:
        """(N,) epoch seconds; TypeError where one is no time, or not of our calendar."""
        known: NDArray[np.float64] = np.fromiter(map(self._times.get, times), np.float64, len(times))  # type: ignore[arg-type]
        if not np.isnan(known).any():
            return known
        # None, for a number or a text that is no time, has become NaN.
        found = list(map(self._times.get, times, times))  # type: ignore[arg-type]
        if str in set(map(type, found)):
            raise TypeError
        seconds = np.array(found, np.float64)
        seconds = np.where(seconds >= MILLISECONDS_FROM, seconds / 1000.0, seconds)
        if not ((seconds >= EARLIEST) & (seconds < LATEST)).all():
            raise TypeError
        return seconds

    def _decode_mixed(
        self,
        index: NDArray[np.int64],
        messages: list[AnyWire],
        times: list[str | float],
        names: Sequence[bytes | str | None],
        rejects: list[Reject],
    ) -> Decoded:
        """Readings go on together, everything else is looked at record by record."""
        collector, plain = Collector(), []
        for place, (message, name, time) in enumerate(zip(messages, names, times, strict=True)):
            if (
                message.sensor in self._sensors
                and message.value is not msgspec.UNSET
                and message.event is None
                and name in self._assets
                and (time in self._times or _is_fine(time))
            ):
                plain.append(place)
            else:
                self._take(collector, int(index[place]), message, name, rejects)
        others = collector.decoded()
        others.rejects = rejects
        if not plain:
            return others
        readings = self._plain(
            index[plain],
            [messages[place] for place in plain],
            [times[place] for place in plain],
            [names[place] for place in plain],
            rejects,
        )
        return merged(readings, others) if len(others.index) else readings

    def _decode_each(self, values: Sequence[bytes | None], rejects: list[Reject]) -> tuple[list[AnyWire], list[int]]:
        messages: list[AnyWire] = []
        kept: list[int] = []
        for index, value in enumerate(values):
            if value is None:
                rejects.append(Reject(index, 1, TOMBSTONE, "the record has no value"))
                continue
            try:
                messages.append(self._decode(value))
                kept.append(index)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                try:
                    messages.append(self._decode_loosely(value))
                    kept.append(index)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    rejects.append(Reject(index, 1, MALFORMED, str(error)[:DETAIL]))
        return messages, kept

    def _take(
        self, collector: Collector, place: int, message: AnyWire, name: bytes | str | None, rejects: list[Reject]
    ) -> None:
        """One record of any kind."""
        readings = 1
        try:
            kind, sensors, numbers, step_seconds, wrong = self._reader.read(message)
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
            self._times[time] = seconds
        return seconds


def _is_fine(time: str | float) -> bool:
    """Whether a number is a time of our calendar; a text that is one is remembered."""
    return not isinstance(time, str) and EARLIEST <= to_epoch_seconds(time) < LATEST
