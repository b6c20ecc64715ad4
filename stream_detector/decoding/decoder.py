"""Bytes of many records to columns of readings. A record that cannot be used is pointed at; it stops nothing else.

Accepts exactly what `messages` accepts: numbers are finite numbers (no text, no booleans), times have a zone.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import translate
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.columns import floats_or_none, indices_or_none
from stream_detector.decoding.decoded import (
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
from stream_detector.decoding.event_times import LATEST, EventTimes
from stream_detector.decoding.fast_readings import FastReadings
from stream_detector.decoding.record_formats import AnyRecord, LooseRecord, RecordReader, StrictRecord

LONGEST_ASSET = 249
"""Characters of an asset's name; as long as the name of a Kafka topic may be."""

CACHED_ASSETS = 100_000


class Decoder:
    """Decodes for one bundle: its sensors, and the assets that its glob matches."""

    def __init__(self, sensors: Sequence[str], assets: str, block_step_seconds: float | None = None) -> None:
        """block_step_seconds: samples of a block this far apart lie on consecutive steps (grids of samples)."""
        self._sensors = {name: index for index, name in enumerate(sensors)}
        self._matches = re.compile(translate(assets)).match
        self._plain_reader = FastReadings(sensors)
        self._reader = RecordReader(self._sensors, block_step_seconds)
        self._decode = msgspec.json.Decoder(StrictRecord).decode
        self._decode_loosely = msgspec.json.Decoder(LooseRecord).decode
        self._times = EventTimes()
        self._assets: dict[bytes | str | None, str] = {}

    def decode(
        self,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        slots: Mapping[bytes | None, int] | None = None,
    ) -> Decoded:
        """Columns of all records that can be used, and what is wrong with the others.

        slots: of keys whose assets are known; where they are all, the slots are told instead of the assets.
        """
        found = self._plain_reader.parse(values)
        if found is None:
            return self._decode_any(keys, values)
        messages, odd = found
        if not odd:
            decoded = self._plain_or_none(keys, messages, slots)
            if decoded is not None:
                return decoded
        plain = [
            (place, message)
            for place, message in zip(_without(odd, len(values)), messages, strict=True)
            if keys[place] in self._assets and self._times.is_fine(message.time)
        ]
        places = [place for place, _ in plain]
        rest = _without(places, len(values))
        others = self._decode_any([keys[place] for place in rest], [values[place] for place in rest])
        others.index = np.array(rest, np.int64)[others.index]
        others.rejects = [replace(reject, index=rest[reject.index]) for reject in others.rejects]
        if not plain:
            return others
        readings = self._plain_or_none([keys[place] for place in places], [message for _, message in plain], None)
        assert readings is not None  # what was odd is among the others
        readings.index = np.array(places, np.int64)
        return merged(readings, others)

    def _plain_or_none(
        self, keys: Sequence[bytes | None], messages: list[Any], slots: Mapping[bytes | None, int] | None
    ) -> Decoded | None:
        """Nothing but good readings; None where one has no time or asset that we may use."""
        time = self._times.all_or_none([message.time for message in messages])
        if time is None:
            return None
        slot = None if slots is None else indices_or_none(slots, keys)
        assets = [] if slot is not None else self._assets_or_none(keys)
        if assets is None:
            return None
        sensor = self._plain_reader.sensors(messages)
        value = np.array([message.value for message in messages], np.float64)
        places = np.arange(len(messages))
        return Decoded(places, assets, time, places, sensor, time, value, slot=slot)

    def _decode_any(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Decoded:
        """Records of all kinds."""
        rejects: list[Reject] = []
        try:
            messages: list[AnyRecord] = list(map(self._decode, values))  # type: ignore[arg-type]
            index = np.arange(len(values))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
            messages, kept = self._decode_each(values, rejects)
            index, keys = np.array(kept, np.int64), [keys[place] for place in kept]
        times = [message.time for message in messages]
        own = [message.asset for message in messages]
        names = keys if own.count(None) == len(own) else [name or key for name, key in zip(own, keys, strict=True)]
        events = [message.event for message in messages]
        if events.count(None) == len(events):
            decoded = self._readings_or_none(index, messages, times, names, rejects)
            if decoded is None:
                decoded = self._rows_or_none(index, messages, times, names, rejects)
            if decoded is not None:
                return decoded
        return self._decode_mixed(index, messages, times, names, rejects)

    def _readings_or_none(
        self,
        index: NDArray[np.int64],
        messages: list[AnyRecord],
        times: list[str | float],
        names: Sequence[bytes | str | None],
        rejects: list[Reject],
    ) -> Decoded | None:
        """Nothing but good readings; None where there is anything else."""
        sensor = indices_or_none(self._sensors, [message.sensor for message in messages])  # type: ignore[misc]
        if sensor is None:
            return None
        value = floats_or_none([message.value for message in messages])
        time, assets = self._times.all_or_none(times), self._assets_or_none(names)
        if value is None or time is None or assets is None:
            return None
        qualities = [message.quality for message in messages]
        if qualities.count("good") != len(messages):
            value[[quality != "good" for quality in qualities]] = np.nan
        return Decoded(index, assets, time, np.arange(len(messages)), sensor, time, value, rejects)

    def _rows_or_none(
        self,
        index: NDArray[np.int64],
        messages: list[AnyRecord],
        times: list[str | float],
        names: Sequence[bytes | str | None],
        rejects: list[Reject],
    ) -> Decoded | None:
        """Nothing but good rows of the same sensors; None where there is anything else."""
        values: list[Any] = [message.values for message in messages]
        if set(map(type, values)) != {dict} or {message.value for message in messages} != {msgspec.UNSET}:
            return None
        layouts = set(map(tuple, values))
        sensors = self._reader.layout(layouts.pop())
        if layouts or sensors is None:
            return None
        # One conversion for all: None becomes NaN.
        value = floats_or_none(list(chain.from_iterable(map(dict.values, values))))
        time, assets = self._times.all_or_none(times), self._assets_or_none(names)
        if value is None or time is None or assets is None:
            return None
        record = np.repeat(np.arange(len(messages)), len(sensors))
        sensor = np.tile(sensors, len(messages))
        return Decoded(index, assets, time, record, sensor, time[record], value, rejects, rows=len(messages))

    def _assets_or_none(self, names: Sequence[bytes | str | None]) -> list[str] | None:
        """The name of each asset; None where one has none that we may use."""
        assets = list(map(self._assets.get, names))
        if not all(assets):
            if len(self._assets) >= CACHED_ASSETS:
                self._assets.clear()
            for name in set(names) - self._assets.keys():
                with suppress(RefusedError):
                    self._asset(name)
            assets = list(map(self._assets.get, names))
        return assets if all(assets) else None  # type: ignore[return-value]

    def _decode_mixed(
        self,
        index: NDArray[np.int64],
        messages: list[AnyRecord],
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
                and self._times.is_fine(time)
            ):
                plain.append(place)
            else:
                self._take(collector, int(index[place]), message, name, rejects)
        others = collector.decoded()
        others.rejects = rejects
        if not plain:
            return others
        readings = self._readings_or_none(
            index[plain],
            [messages[place] for place in plain],
            [times[place] for place in plain],
            [names[place] for place in plain],
            [],
        )
        assert readings is not None  # what was odd is among the others
        return merged(readings, others)

    def _decode_each(self, values: Sequence[bytes | None], rejects: list[Reject]) -> tuple[list[AnyRecord], list[int]]:
        messages: list[AnyRecord] = []
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
        self, collector: Collector, place: int, message: AnyRecord, name: bytes | str | None, rejects: list[Reject]
    ) -> None:
        """One record of any kind."""
        readings = 1
        try:
            kind, sensors, numbers, step_seconds, wrong = self._reader.read(message)
            readings = 0 if kind == EVENT else len(sensors) + len(wrong)
            asset = self._assets.get(name) or self._asset(name)
            seconds = self._times[message.time]
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


def _without(places: list[int], count: int) -> list[int]:
    """The other places among `count`."""
    others: list[int] = np.delete(np.arange(count), np.array(places, np.int64)).tolist()
    return others
