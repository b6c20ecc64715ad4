"""Turns other people's JSON into readings, rows and events: names of fields, units of time, topics that name sensors.

A mapping is a small JSON file, e.g. `{"time": "ts", "value": "payload.value"}`; every field of it is optional:

- `time`, `sensor`, `value`, `values`, `asset`, `quality`, `event`: where to find them, a name or a path such as
  `payload.value`.
  `"values": "*"` makes a row of all fields that are numbers or null and are not used otherwise.
- `time_unit`: of a numeric time: `s`, `ms`, `us`, `ns`, or `auto` (seconds, and milliseconds from 1e11 on).
- `zone`: of a text time that names none, e.g. `Asia/Seoul`.
- `time_from_broker`: a record without a time has the broker's timestamp.
- `good`: values of `quality` that mean good, e.g. `["GOOD", 192]`.
- `numbers_as_text`: a value may be a number in quotes.
- `topic_pattern`: a regular expression whose groups `asset` and `sensor` are taken from the name of the topic.

A record that the mapping does not fit is handed on as it is: if it is one of ours it is understood, else it becomes a
dead letter.
"""

import json
import math
import re
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from stream_detector.errors import UsageError

EVERYTHING_ELSE = "*"
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_MISSING = object()


class FieldMapping(BaseModel):
    """See the module. The defaults are our own names, so a mapping says only what differs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    topic_pattern: str | None = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (ValueError, OSError, KeyError):
                raise ValueError(f"{zone!r} is no time zone; write for example Asia/Seoul") from None
        return zone

    @field_validator("topic_pattern")
    @classmethod
    def _useful_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = set(re.compile(pattern).groupindex)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from None
            if not groups or groups - {"asset", "sensor"}:
                raise ValueError("needs a group (?P<sensor>...) or (?P<asset>...), and no other")
        return pattern

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
            problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'it'}: {p['msg']}" for p in error.errors())
            raise UsageError(f"the field mapping {path} is not usable: {problems}") from None

    @property
    def is_identity(self) -> bool:
        """True if the mapping changes no record, so that the hot path may skip it."""
        return self == FieldMapping()

    def to_message(self, raw: bytes | None, topic: str, timestamp_ms: int) -> bytes | None:
        """One record in our own form, or as it is where the mapping does not fit.

        Args:
            raw: the record's value; None (a tombstone) stays None.
            topic: that it came from.
            timestamp_ms: the broker's.
        """
        if raw is None:
            return None
        try:
            found = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return raw
        if isinstance(found, int | float | str) and not isinstance(found, bool):
            found = {self.value: found}
        if not isinstance(found, dict):
            return raw
        message = self._message(found, topic, timestamp_ms)
        return raw if message is None else orjson.dumps(message)

    def _message(self, found: dict[str, Any], topic: str, timestamp_ms: int) -> dict[str, Any] | None:
        time = self._time(_at(found, self.time), timestamp_ms)
        if time is None:
            return None
        message: dict[str, Any] = {"time": time}
        from_topic = self._from_topic(topic)
        asset = _at(found, self.asset)
        asset = from_topic.get("asset") if asset is _MISSING else asset
        if asset is not None:
            message["asset"] = asset if isinstance(asset, str) else str(asset)
        event = _at(found, self.event)
        if event is not _MISSING and event is not None:
            return {**message, "event": event}
        sensor, value = _at(found, self.sensor), _at(found, self.value)
        sensor = from_topic.get("sensor", _MISSING) if sensor is _MISSING else sensor
        if sensor is not _MISSING and value is not _MISSING:
            return {**message, "sensor": sensor, "value": self._number(value), **self._quality(found)}
        values = self._values(found)
        return None if values is None else {**message, "values": values}

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
        if self.numbers_as_text and isinstance(value, str):
            try:
                number = float(value)
            except ValueError:
                return value
            return number if math.isfinite(number) else None
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

    def _from_topic(self, topic: str) -> dict[str, str]:
        match = None if self._pattern is None else self._pattern.fullmatch(topic)
        return {} if match is None else {name: text for name, text in match.groupdict().items() if text is not None}

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        return None if self.topic_pattern is None else re.compile(self.topic_pattern)

    @cached_property
    def _zone(self) -> ZoneInfo | None:
        return None if self.zone is None else ZoneInfo(self.zone)


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
