"""Turns other people's JSON into readings, rows and events: names of fields, units of time, topics, keys and headers
that name sensors and assets, arrays of readings.

A mapping is a small JSON file, e.g. `{"time": "ts", "value": "payload.value"}`; every field of it is optional:

- `time`, `sensor`, `value`, `values`, `asset`, `quality`, `event`: where to find them, a name or a path such as
  `payload.value`.
  `"values": "*"` makes a row of all fields that are numbers or null and are not used otherwise.
- `readings`: where an array of readings is, each an object with the fields above; `.` where the record is the array.
  What an element does not say (its time, its asset) the record says.
- `time_unit`: of a numeric time: `s`, `ms`, `us`, `ns`, or `auto` (seconds, and milliseconds from 1e11 on).
- `zone`: of a text time that names none, e.g. `Asia/Seoul`.
- `time_from_broker`: a record without a time has the broker's timestamp.
- `good`: values of `quality` that mean good, e.g. `["GOOD", 192]`.
- `numbers_as_text`: a value may be a number in quotes.
- `words`: numbers for words, e.g. `{"RUNNING": 1, "STOPPED": 0}`.
- `booleans`: true is 1 and false is 0.
- `topic_pattern`, `key_pattern`: regular expressions for the whole name of the topic and the whole key. Their groups
  `asset` and `sensor` name those; other groups are for the two templates.
- `asset_name`, `sensor_name`: templates such as `{site}.{line}`, of groups of the patterns, of headers
  (`{header.unit}`) and of fields of the record (`{machine.id}`); one that lacks a part names nothing.

A record that the mapping does not fit is handed on as it is: if it is one of ours it is understood, else it becomes a
dead letter.
"""

import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stream_detector.errors import UsageError, in_words

EVERYTHING_ELSE = "*"
ITSELF = "."
"""The record is the array of readings."""

PART = re.compile(r"\{([^{}]+)\}")
"""A part of a template."""

Headers = Sequence[tuple[str, bytes]]
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_MISSING = object()


class FieldMapping(BaseModel):
    """Where a foreign record has its time, sensor, value and asset. The defaults are this product's own names."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    time: str = "time"
    sensor: str = "sensor"
    value: str = "value"
    values: str = "values"
    asset: str = "asset"
    quality: str = "quality"
    event: str = "event"
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    zone: str | None = None
    time_from_broker: bool = False
    good: tuple[str | int, ...] = ("good",)
    numbers_as_text: bool = False
    words: dict[str, float] = Field(default_factory=dict)
    booleans: bool = False
    readings: str | None = None
    topic_pattern: str | None = None
    key_pattern: str | None = None
    asset_name: str | None = None
    sensor_name: str | None = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (ValueError, OSError, KeyError):
                raise ValueError(f"{zone!r} is no time zone; write for example Asia/Seoul") from None
        return zone

    @field_validator("topic_pattern", "key_pattern")
    @classmethod
    def _useful_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = set(re.compile(pattern).groupindex)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
            if not groups:
                raise ValueError("needs a group (?P<sensor>...) or (?P<asset>...), or one that a template names")
        return pattern

    @model_validator(mode="after")
    def _used_groups(self) -> Self:
        used = {"asset", "sensor", *PART.findall(self.asset_name or ""), *PART.findall(self.sensor_name or "")}
        for name in ("topic_pattern", "key_pattern"):
            unused = sorted(set(re.compile(getattr(self, name) or "").groupindex) - used)
            if unused:
                raise ValueError(f"{name}: nothing uses the group {unused[0]}; name it in asset_name or sensor_name")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """The mapping in a JSON file.

        Raises:
            UsageError: the file cannot be read, or is no mapping; the message names the field.
        """
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UsageError(f"the field mapping {path} cannot be read: {error}") from None
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'it'}: {in_words(p)}" for p in error.errors())
            raise UsageError(f"the field mapping {path} is not usable: {problems}") from None

    @property
    def is_identity(self) -> bool:
        """True if the mapping changes no record, so that the hot path may skip it."""
        return self == FieldMapping()

    def to_message(
        self, raw: bytes | None, topic: str, timestamp_ms: int, key: bytes | None = None, headers: Headers = ()
    ) -> bytes | None:
        """One record in our own form, or as it is where the mapping does not fit.

        Args:
            raw: the record's value; None (a tombstone) stays None.
            topic: that it came from.
            timestamp_ms: the broker's.
            key, headers: of the record.
        """
        if raw is None:
            return None
        try:
            found = _parsed(raw)
        except (ValueError, RecursionError):
            return raw
        if isinstance(found, int | float | str) and not isinstance(found, bool):
            found = {self.value: found}
        items: list[Any] | None = None
        if self.readings == ITSELF and isinstance(found, list):
            items, found = found, {}
        if not isinstance(found, dict):
            return raw
        if self.readings is not None and items is None:
            array = _at(found, self.readings)
            items = array if isinstance(array, list) else None
        around = self._names(topic, key, headers)
        message = (
            self._message(found, around, timestamp_ms)
            if items is None
            else self._several(found, items, around, timestamp_ms)
        )
        try:
            return raw if message is None else orjson.dumps(message)
        except TypeError:  # what only Python's JSON holds: half a surrogate pair, an integer of more than 64 bits
            return raw

    def _message(self, found: dict[str, Any], around: dict[str, str], timestamp_ms: int) -> dict[str, Any] | None:
        time = self._time(_at(found, self.time), timestamp_ms)
        if time is None:
            return None
        message: dict[str, Any] = {"time": time, **self._asset(found, around)}
        event = _at(found, self.event)
        if event is not _MISSING and event is not None:
            return {**message, "event": event}
        sensor, value = self._sensor(found, around), _at(found, self.value)
        if sensor is not _MISSING and value is not _MISSING:
            return {**message, "sensor": sensor, "value": self._number(value), **self._quality(found)}
        values = self._values(found)
        return None if values is None else {**message, "values": values}

    def _several(
        self, found: dict[str, Any], items: list[Any], around: dict[str, str], timestamp_ms: int
    ) -> dict[str, Any] | None:
        """All readings of an array. What is no reading stays in it, so that it is counted and refused by name."""
        own, beside = _at(found, self.time), {name: part for name, part in around.items() if name != "asset"}
        readings = []
        for item in items:
            fields = item if isinstance(item, dict) else {}
            time = _at(fields, self.time)
            sensor, value = self._sensor(fields, around), _at(fields, self.value)
            readings.append(
                {
                    "sensor": sensor if isinstance(sensor, str) else "" if sensor is _MISSING else str(sensor),
                    "time": self._time(own if time is _MISSING else time, timestamp_ms) or "",
                    "value": None if value is _MISSING else self._number(value),
                    **self._quality(fields),
                    **self._asset(fields, beside),
                }
            )
        if not readings:
            return None
        return {"time": readings[0]["time"], **self._asset(found, around), "readings": readings}

    def _asset(self, found: dict[str, Any], around: dict[str, str]) -> dict[str, str]:
        asset = _at(found, self.asset)
        if asset is _MISSING or asset is None:
            asset = around.get("asset")
            if self.asset_name is not None:
                asset = _filled(self.asset_name, around, found) or asset
        return {} if asset is None else {"asset": asset if isinstance(asset, str) else str(asset)}

    def _sensor(self, found: dict[str, Any], around: dict[str, str]) -> Any:
        sensor = _at(found, self.sensor)
        if sensor is _MISSING:
            sensor = around.get("sensor", _MISSING)
            if self.sensor_name is not None:
                sensor = _filled(self.sensor_name, around, found) or sensor
        return sensor

    def _values(self, found: dict[str, Any]) -> dict[str, Any] | None:
        if self.values == EVERYTHING_ELSE:
            taken = {path.split(".")[0] for path in (self.time, self.asset, self.quality, self.event)}
            rest = {name: self._number(value) for name, value in found.items() if name not in taken}
            return {name: value for name, value in rest.items() if value is None or _is_number(value)}
        values = _at(found, self.values)
        if not isinstance(values, dict):
            return None
        return {name: self._number(value) for name, value in values.items()}

    def _quality(self, found: dict[str, Any]) -> dict[str, str]:
        quality = _at(found, self.quality)
        if quality is _MISSING or quality in self.good:
            return {}
        return {"quality": str(quality)}

    def _number(self, value: Any) -> Any:
        if isinstance(value, str):
            if value in self.words:
                return self.words[value]
            if self.numbers_as_text:
                try:
                    number = float(value)
                except ValueError:
                    return value
                return number if math.isfinite(number) else value
        elif isinstance(value, bool):
            return int(value) if self.booleans else value
        elif isinstance(value, float) and not math.isfinite(value):
            return str(value)  # as a number it is no JSON; the decoder knows what the text means
        return value

    def _time(self, time: Any, timestamp_ms: int) -> str | float | None:
        if time is _MISSING or time is None:
            return timestamp_ms / 1000.0 if self.time_from_broker else None
        if self.numbers_as_text and isinstance(time, str):
            time = self._number(time)
        if isinstance(time, str) and self._zone is not None:
            return _with_zone(time, self._zone)
        if _is_number(time) and self.time_unit != "auto":
            # A number below 1e11 would else be read as seconds, one above as milliseconds.
            seconds = time / _PER_SECOND[self.time_unit]
            return seconds if abs(seconds) < 1e11 else None
        return time if isinstance(time, str) or _is_number(time) else None

    def _names(self, topic: str, key: bytes | None, headers: Headers) -> dict[str, str]:
        """What topic, key and headers say; a header is `header.NAME`."""
        names: dict[str, str] = {}
        if self._key_pattern is not None:
            names |= _groups(self._key_pattern, (key or b"").decode("utf-8", "replace"))
        if self._pattern is not None:
            names |= _groups(self._pattern, topic)
        if self._wants_headers:
            names |= {f"header.{name}": value.decode("utf-8", "replace") for name, value in headers if value}
        return names

    @cached_property
    def _wants_headers(self) -> bool:
        return any("{header." in (template or "") for template in (self.asset_name, self.sensor_name))

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return None if self.topic_pattern is None else re.compile(self.topic_pattern)

    @cached_property
    def _key_pattern(self) -> re.Pattern[str] | None:
        return None if self.key_pattern is None else re.compile(self.key_pattern)

    @cached_property
    def _zone(self) -> ZoneInfo | None:
        return None if self.zone is None else ZoneInfo(self.zone)


def _parsed(raw: bytes) -> Any:
    """JSON, or what Python writes for it: `NaN` is no JSON. Raises ValueError where it is neither."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if b"NaN" in raw or b"Infinity" in raw:
            return json.loads(raw.decode())
        raise


def _groups(pattern: re.Pattern[str], text: str) -> dict[str, str]:
    match = pattern.fullmatch(text)
    return {} if match is None else {name: part for name, part in match.groupdict().items() if part is not None}


def _filled(template: str, around: dict[str, str], found: dict[str, Any]) -> str | None:
    """The template with its parts; None where one is not there."""
    parts: dict[str, str] = {}
    for name in PART.findall(template):
        part = around.get(name, _MISSING)
        part = _at(found, name) if part is _MISSING else part
        if part is _MISSING or part is None or isinstance(part, dict | list):
            return None
        parts[name] = str(part)
    return PART.sub(lambda match: parts[match[1]], template)


def _at(found: dict[str, Any], path: str) -> Any:
    """The value at a path; a field whose name has dots itself is found first."""
    if path in found:
        return found[path]
    value: Any = found
    for name in path.split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _MISSING
    return value


def _with_zone(text: str, zone: ZoneInfo) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo else moment.replace(tzinfo=zone).isoformat()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
