"""Translates other people's records on the topic of readings into this product's own form.

Worker, audit and history all read that topic through this. One that left it out would judge other records than those
that the others saw.
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import chain, repeat

from stream_detector.decoding.control_records import orders_in
from stream_detector.decoding.field_mapping import FieldMapping, Headers
from stream_detector.decoding.registry_records import RegistryRecords
from stream_detector.decoding.unknown_names import UnknownPolicies
from stream_detector.engine.outcome import RecordBatch
from stream_detector.errors import RegistryError, SchemaError
from stream_detector.settings import Settings

log = logging.getLogger(__name__)

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0


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
    """Reads records by their schemas, then applies a field mapping; what is None, or changes nothing, costs nothing."""

    def __init__(self, mapping: FieldMapping | None, registry: RegistryRecords | None = None) -> None:
        self._mapping = None if mapping is None or mapping.is_identity else mapping
        self._registry = registry
        self.waiting: str | None = None
        """Why no schema comes, in words; None while all is well."""

    async def prepare(self, *columns: Sequence[bytes | None]) -> None:
        """Ask for the schemas of these records and keys; returns when the registry has answered, whenever that is.

        Raises:
            UsageError: what reads a schema is not installed.
        """
        if self._registry is None:
            return
        for number in sorted(self._registry.unknown(chain.from_iterable(columns))):
            wait = FIRST_WAIT_SECONDS
            while True:
                try:
                    await asyncio.to_thread(self._registry.learn, number)
                except SchemaError as error:
                    log.warning("%s (number %d)", error, number)
                    break
                except RegistryError as error:
                    if self.waiting is None:
                        log.warning("%s; nothing is read until it does", error)
                    self.waiting = str(error)
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, LONGEST_WAIT_SECONDS)
                else:
                    break
            if self.waiting is not None:
                log.warning("the schema registry answers again")
                self.waiting = None

    def value(
        self, value: bytes | None, topic: str, timestamp_ms: int, key: bytes | None = None, headers: Headers = ()
    ) -> bytes | None:
        """One record's value; a tombstone stays one.

        Raises:
            RegistryError: its schema was not asked for yet, and the registry does not answer.
        """
        if self._registry is not None:
            value, key = self._registry.as_json(value), self._registry.name(key)
        return value if self._mapping is None else self._mapping.to_message(value, topic, timestamp_ms, key, headers)

    def key(self, key: bytes | None) -> bytes | None:
        """A record's key, out of the schema registry's form where it has that one."""
        return key if self._registry is None else self._registry.name(key)

    def batch(
        self,
        topic: str,
        partition: int,
        offsets: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers] = (),
        *,
        has_orders: bool = True,
    ) -> RecordBatch:
        """Fetched records of one partition, as the engine takes them, without control records.

        No headers: none was looked at. has_orders: False = it is known that there are no control records.

        Raises:
            RegistryError: as `value` does.
        """
        orders = orders_in(keys, values) if has_orders else {}
        if orders:
            left = [place for place in range(len(keys)) if place not in orders]
            offsets, timestamps_ms = [offsets[place] for place in left], [timestamps_ms[place] for place in left]
            keys, values = [keys[place] for place in left], [values[place] for place in left]
            headers = [headers[place] for place in left] if headers else headers
        if self._registry is not None:
            values, keys = self._registry.all_as_json(values), self._registry.names(keys)
        if self._mapping is not None:
            columns = (values, repeat(topic), timestamps_ms, keys, headers or repeat(()))
            to_message = self._mapping.to_message
            values = [to_message(*record) for record in zip(*columns, strict=False)]
        return RecordBatch(topic, partition, offsets, keys, values, timestamps_ms)
