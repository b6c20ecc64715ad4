"""Translates other people's records on the topic of readings into this product's own form.

Worker, audit and history all read that topic through this. One that left it out would judge other records than those
that the others saw.
"""

from collections.abc import Sequence
from itertools import repeat

from stream_detector.decoding.field_mapping import FieldMapping, Headers
from stream_detector.decoding.unknown_names import UnknownPolicies
from stream_detector.engine.outcome import RecordBatch
from stream_detector.settings import Settings


def mapping_of(settings: Settings) -> FieldMapping | None:
    """The mapping that is left to those who read the topic of readings; re-keying has applied it already.

    Raises:
        UsageError: its file cannot be read, or is no mapping.
    """
    mapping_file = settings.field_mapping_file
    if mapping_file is None or settings.sensor_assets_file is not None:
        return None
    return FieldMapping.load(mapping_file)


def policies_of(settings: Settings) -> UnknownPolicies:
    """What becomes of names on the bus that the bundle does not know."""
    return UnknownPolicies(settings.unknown_sensors, settings.unknown_assets)


class Translation:
    """Applies a field mapping; None, or one that changes nothing, costs nothing."""

    def __init__(self, mapping: FieldMapping | None) -> None:
        self._mapping = None if mapping is None or mapping.is_identity else mapping

    def value(
        self, value: bytes | None, topic: str, timestamp_ms: int, key: bytes | None = None, headers: Headers = ()
    ) -> bytes | None:
        """One record's value; a tombstone stays one."""
        return value if self._mapping is None else self._mapping.to_message(value, topic, timestamp_ms, key, headers)

    def batch(
        self,
        topic: str,
        partition: int,
        offsets: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers] = (),
    ) -> RecordBatch:
        """Fetched records of one partition, as the engine takes them; no headers: none was looked at."""
        if self._mapping is not None:
            columns = (values, repeat(topic), timestamps_ms, keys, headers or repeat(()))
            values = [self.value(*record) for record in zip(*columns, strict=False)]
        return RecordBatch(topic, partition, offsets, keys, values, timestamps_ms)
