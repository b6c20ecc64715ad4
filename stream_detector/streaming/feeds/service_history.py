"""Reads from the brokers which bundle was in service when: the group's facts say from which offset on, the readings
there at which time."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from statistics import median_low

from aiokafka.errors import KafkaError
from msgspec import MsgspecError

from stream_detector.decoding.control_records import read_order
from stream_detector.decoding.decoded import RefusedError
from stream_detector.decoding.event_times import EventTimes
from stream_detector.decoding.record_formats import loose_record
from stream_detector.errors import StreamDetectorError
from stream_detector.operations.ledger.service import Service
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.readers.log_reader import LogReader, open_log_reader
from stream_detector.streaming.readers.schema_registry import registry_of
from stream_detector.streaming.readers.translation import Translation, mapping_of
from stream_detector.streaming.state.group_facts import BundleSwitch
from stream_detector.streaming.state.partition_state import PartitionState

log = logging.getLogger(__name__)

SCHEMA_SECONDS = 30.0
LOOK_AHEAD = 1_000
"""Records behind a switch among which some with a time are looked for."""

LOOKED_AT = 3
"""Readings, the middle one of which counts: the clock of one may be wrong."""


async def read_service(settings: Settings) -> Service | None:
    """What the group wrote down; None where it wrote nothing, or may not be read."""
    try:
        async with open_log_reader(settings) as reader:
            return await service_of(reader, settings)
    except (KafkaError, StreamDetectorError, TimeoutError) as error:
        log.warning("which bundle was in service when is not known: %s", error or "the schema registry does not answer")
        return None


async def service_of(reader: LogReader, settings: Settings) -> Service | None:
    """As `read_service`, by a reader that was started."""
    states = await reader.state_of_all()
    translation, periods = Translation(mapping_of(settings), registry_of(settings)), {}
    for number, state in states.items():
        switches = lasting(state.switches)
        if switches:
            begin, end = (await reader.ends({number}))[number]
            periods[number] = [
                (await _time_of(reader, translation, state, switch, (begin, end)), switch.bundle_id)
                for switch in switches
            ]
    return Service(periods) if periods else None


def lasting(switches: Iterable[BundleSwitch]) -> list[BundleSwitch]:
    """Those that hold in the end, in order of the log: a group that was set back decides anew from there on."""
    found: list[BundleSwitch] = []
    for switch in switches:
        while found and found[-1].offset >= switch.offset:
            found.pop()
        found.append(switch)
    return found


async def _time_of(
    reader: LogReader, translation: Translation, state: PartitionState, switch: BundleSwitch, span: tuple[int, int]
) -> float:
    """Event time of the first readings that the bundle decided; where nothing has come yet, when it was written down.

    Where retention has removed them, the earlier one of both: it decided whatever is left from there on.
    """
    (begin, end), found = span, list[float]()
    written = (state.written_ms(switch) or 0) / 1000.0
    first = max(begin, switch.offset)
    if first < end:
        async for records in reader.readings(switch.partition, first, min(end, first + LOOK_AHEAD)):
            async with asyncio.timeout(SCHEMA_SECONDS):
                await translation.prepare([record.value for record in records], [record.key for record in records])
            found += _times(translation, records, LOOKED_AT - len(found))
            if len(found) == LOOKED_AT:
                break
    if not found:
        return written
    return median_low(found) if first == switch.offset else min(median_low(found), written)


def _times(translation: Translation, records: Sequence[KafkaRecord], most: int) -> list[float]:
    """Event times of the first records that have one."""
    times, said = EventTimes(), list[float]()
    for record in records:
        if read_order(record.key, record.value) is not None:
            continue
        try:
            value = translation.value(record.value, record.topic, record.timestamp, record.key, record.headers)
            found = loose_record(value or b"")
            named = next((item.time for item in found.readings or () if item.time), found.time)
            said.append(times[named])
        except (MsgspecError, RefusedError, ValueError, OverflowError, RecursionError):
            continue
        if len(said) == most:
            break
    return said
