"""Reads one asset's history from the plant's topics into a wide table: the way from Kafka back to training data.

Rows are the distinct times of its readings. Of two readings of one sensor at one time the first in the log counts, as
online. Events are those on the topic of readings and those that people logged, with their corrections; an alarm that
people judged real although no event followed counts as one too: what was prevented must not be learnt as normal. The
rows of alarms that people acted on without judging them are marked: what would have followed nobody knows.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import orjson
from msgspec import UNSET, MsgspecError
from numpy.typing import NDArray

from stream_detector.decoding.cells import number_or_reason
from stream_detector.decoding.control_records import read_order
from stream_detector.decoding.decoded import RefusedError
from stream_detector.decoding.event_times import EventTimes
from stream_detector.decoding.record_formats import loose_record
from stream_detector.errors import DataError
from stream_detector.messages import LoggedEvent
from stream_detector.names import listed
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.record_guard import RecordGuard, UnusableError, asset_of
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed
from stream_detector.streaming.readers.schema_registry import registry_of
from stream_detector.streaming.readers.topic_reader import TopicReader, TopicRecord
from stream_detector.streaming.readers.translation import Translation, mapping_of


@dataclass(frozen=True)
class TopicHistory:
    """The past of one asset as a table, and what was found on the way to it.

    Attributes:
        asset: its name.
        sensors: F names, in the order in which they first came.
        times: (N,) epoch seconds, ascending, each once.
        values: (N, F) float64, NaN = missing.
        events: (N,) whether an event happened at that time.
        judged_events: how many of the events rest on an alarm that people judged real.
        unusable: records of the topic of readings that are no messages of ours.
        acted: (N,) rows around an alarm that somebody acted on and that no event followed: nobody knows their labels.
    """

    asset: str
    sensors: tuple[str, ...]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    events: NDArray[np.bool_]
    judged_events: int
    unusable: int
    acted: NDArray[np.bool_]


@dataclass
class _Cells:
    """One asset's cells as they come: three columns and the names of the sensors."""

    sensors: dict[str, int] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, time: float, sensor: str, value: float) -> None:
        self.times.append(time)
        self.columns.append(self.sensors.setdefault(sensor, len(self.sensors)))
        self.values.append(value)


class HistoryCollector:
    """Takes records in the order of the log; `history` makes the table of one asset.

    `wanted`: whether an asset's readings are kept; None = of all.
    """

    def __init__(self, settings: Settings, wanted: Callable[[str], bool] | None = None) -> None:
        self._wanted = wanted
        self._unwanted: set[str] = set()
        self._translation = Translation(mapping_of(settings), registry_of(settings))
        self._settings = settings
        self._guard = RecordGuard()
        self._feed = LedgerFeed(Ledger(), settings, RecordGuard())
        self._times = EventTimes()
        self._cells: dict[str, _Cells] = {}

    @property
    def assets(self) -> list[str]:
        """Those with readings."""
        return list(self._cells)

    @property
    def _asked(self) -> str:
        """In words, where not all assets are wanted, and others have readings."""
        return f" that the line decides about ({len(self._unwanted)} belong to others)" if self._unwanted else ""

    @property
    def topics(self) -> list[str]:
        """The topic of readings and those of the ledger."""
        return [self._settings.topic_readings, *self._feed.topics]

    def take(self, records: Iterable[TopicRecord]) -> None:
        """Takes a batch of any of `topics`."""
        for record in records:
            if record.topic != self._settings.topic_readings:
                self._feed.take([record])
                continue
            if read_order(record.key, record.value) is not None:
                continue
            with self._guard.skipping(record):
                self._take_reading(record)

    def _take_reading(self, record: TopicRecord) -> None:
        value = self._translation.value(record.value, record.topic, record.timestamp_ms, record.key, record.headers)
        key = self._translation.key(record.key)
        try:
            found = loose_record(value or b"")
        except (MsgspecError, ValueError, OverflowError, RecursionError) as error:
            raise UnusableError("malformed", str(error)) from None
        if found.event is not None:
            event = LoggedEvent.model_validate(orjson.loads(value or b""))
            self._feed.ledger.add_event(asset_of(event.asset, key), event)
            return
        if found.readings is not None:
            for item in sorted(found.readings, key=lambda item: self._time(item.time or found.time)):
                owner, time = asset_of(item.asset or found.asset, key), self._time(item.time or found.time)
                self._add(owner, time, item.sensor, item.value, item.quality)
            return
        asset, time = asset_of(found.asset, key), self._time(found.time)
        if found.sensor is not None and found.value is not UNSET:
            self._add(asset, time, found.sensor, found.value, found.quality)
        elif isinstance(found.values, dict):
            for sensor, cell in found.values.items():
                self._add(asset, time, sensor, cell)
        elif isinstance(found.values, list):
            raise UnusableError("malformed", "blocks of samples are not read as a table")
        else:
            raise UnusableError("malformed", "neither a reading (sensor, value) nor a row (values) or event")

    def _add(self, asset: str, time: float, sensor: str, cell: Any, quality: str = "good") -> None:
        """What is no number is a missing cell, as online."""
        cells = self._cells.get(asset) or self._begun(asset)
        if cells is not None:
            number = number_or_reason(cell)[0] if quality == "good" else None
            cells.add(time, sensor, np.nan if number is None else number)

    def _begun(self, asset: str) -> _Cells | None:
        """None where its readings are not wanted."""
        if asset in self._unwanted:
            return None
        if self._wanted is not None and not self._wanted(asset):
            self._unwanted.add(asset)
            return None
        return self._cells.setdefault(asset, _Cells())

    def _time(self, time: str | float) -> float:
        try:
            return self._times[time]
        except RefusedError as refusal:
            raise UnusableError("malformed", refusal.detail) from None

    def history(self, asset: str | None = None, since: float | None = None, until: float | None = None) -> TopicHistory:
        """The table of `asset` between two event times, epoch seconds.

        Raises:
            DataError: there are no readings, or several assets and none is named.
        """
        topic = self._settings.topic_readings
        if asset is None and len(self._cells) > 1:
            some = listed(sorted(self._cells))
            raise DataError(f"{topic} holds {len(self._cells)} assets{self._asked}; choose one with --asset: {some}")
        name = asset if asset is not None else next(iter(self._cells), "")
        cells = self._cells.get(name)
        if cells is None:
            found = listed(sorted(self._cells)) or "nothing"
            raise DataError(f"{topic} holds no readings of {name or 'any asset'}{self._asked}; it holds {found}")
        times = np.array(cells.times)
        inside = (times >= (-np.inf if since is None else since)) & (times < (np.inf if until is None else until))
        if not inside.any():
            raise DataError(f"{topic} holds no readings of {name} between --since and --until")
        marked, judged = self._events(name)
        lowest, highest = times[inside].min(), times[inside].max()
        marked = marked[(marked >= lowest) & (marked <= highest)]
        # An event between two readings gets a row of its own, in which every sensor is missing.
        rows = np.union1d(times[inside], marked)
        values = np.full((len(rows), len(cells.sensors)), np.nan)
        cell = np.searchsorted(rows, times[inside]) * len(cells.sensors) + np.array(cells.columns)[inside]
        filled, first = np.unique(cell, return_index=True)
        values.flat[filled] = np.array(cells.values)[inside][first]
        events = np.isin(rows, marked)
        acted = self._acted(name, rows)
        return TopicHistory(name, tuple(cells.sensors), rows, values, events, judged, self._guard.skipped, acted)

    def _events(self, asset: str) -> tuple[NDArray[np.float64], int]:
        account = self._feed.ledger.account(asset)
        prevented = [alarm.expected_from for alarm in account.alarms if alarm.feedback == "real" and not alarm.useful]
        return np.array([event.time for event in account.events] + prevented), len(prevented)

    def _acted(self, asset: str, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Acting prevents events, but nobody knows which; what people judged real counts as an event all the same."""
        acted = np.zeros(len(times), np.bool_)
        for alarm in self._feed.ledger.account(asset).alarms:
            if alarm.acted and not alarm.useful and alarm.feedback is None:
                acted |= (times >= alarm.speaks_from) & (times < alarm.speaks_until)
        return acted


def read_topic_history(
    settings: Settings,
    asset: str | None = None,
    since: float | None = None,
    until: float | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> TopicHistory:
    """Reads the topics from beginning to end (see `HistoryCollector.history`). `wanted`: assets that count.

    Raises:
        BrokerError: the brokers cannot be reached.
        DataError: there is nothing to learn from.
    """
    return _collected(settings, wanted).history(asset, since, until)


def read_topic_histories(
    settings: Settings, assets: str, wanted: Callable[[str], bool] | None = None
) -> list[TopicHistory]:
    """Reads the topics likewise; the history of each asset that the glob `assets` names, in the order of their names.

    Raises:
        BrokerError: the brokers cannot be reached.
        DataError: there is nothing to learn from.
    """
    collector = _collected(settings, wanted)
    names = sorted(name for name in collector.assets if fnmatchcase(name, assets))
    if not names:
        found = listed(sorted(collector.assets)) or "nothing"
        raise DataError(f"{settings.topic_readings} holds no readings of {assets}; it holds {found}")
    return [collector.history(name) for name in names]


def _collected(settings: Settings, wanted: Callable[[str], bool] | None) -> HistoryCollector:
    collector = HistoryCollector(settings, wanted)

    async def read() -> list[str]:
        async with TopicReader(settings, collector.topics) as reader:
            async for records in reader.to_end():
                collector.take(records)
            return reader.missing

    if settings.topic_readings in asyncio.run(read()):
        raise DataError(f"there is no topic {settings.topic_readings} at {settings.bootstrap}")
    return collector
