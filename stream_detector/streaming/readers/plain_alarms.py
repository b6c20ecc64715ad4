"""Takes alarms out of the form of a schema registry, where they have it: all who read them see plain JSON."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from stream_detector.messages import Alarm, to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.readers.schema_registry import registry_of
from stream_detector.streaming.readers.translation import Translation

log = logging.getLogger(__name__)

Record = TypeVar("Record", bound=Any)
"""A record with `topic` and `value`, of a dataclass: aiokafka's, or one of ours."""

UNDER_A_SCHEMA = b"\0"


class PlainAlarms:
    """Costs nothing where alarms are plain. The registry is asked when the first record needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = {settings.topic_alarms, settings.topic_challenger_alarms}
        self._translation: Translation | None = None

    async def of(self, records: Sequence[Record]) -> list[Record]:
        """The records, alarms among them as plain JSON; waits for the registry as long as it takes.

        Raises:
            UsageError: what talks to the registry is not installed.
        """
        wrapped = [each.value for each in records if self._is_wrapped(each)]
        if wrapped and self._settings.schema_registry_url is None:
            log.error("alarms lie under a schema and are passed over; set STREAM_DETECTOR_SCHEMA_REGISTRY_URL here too")
        if not wrapped or self._settings.schema_registry_url is None:
            return list(records)
        if self._translation is None:
            self._translation = Translation(None, registry_of(self._settings))
        translation = self._translation
        await translation.prepare(wrapped)
        return [
            replace(each, value=_canonical(translation.value(each.value, each.topic, 0)))
            if self._is_wrapped(each)
            else each
            for each in records
        ]

    def _is_wrapped(self, record: Record) -> bool:
        return record.topic in self._topics and (record.value or b"").startswith(UNDER_A_SCHEMA)


def _canonical(value: bytes | None) -> bytes | None:
    """The bytes that the alarm has as plain JSON: an audit and repeats go by them."""
    try:
        return to_bytes(Alarm.model_validate_json(value or b""))
    except ValueError:
        return value
