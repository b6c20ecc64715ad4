"""Sends a historian's file to the topic of readings, as the plant would have: row after row, events before their row.

The values in the messages are the shortest text that reads back as the same float, so the detector sees exactly what
the trainer read.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import orjson

from stream_detector.bundle.files import MANIFEST, list_folder, read_file
from stream_detector.bundle.manifest import parse
from stream_detector.errors import BrokerError
from stream_detector.historian import History, Layout
from stream_detector.historian.assets import rows_of_assets
from stream_detector.messages import to_iso
from stream_detector.settings import Settings
from stream_detector.streaming.clients.librdkafka import topics_of
from stream_detector.streaming.topics.topics import ensure_topics

Form = Literal["readings", "rows"]

FROM_THE_COMMAND_LINE = ("time_column", "label_column", "time_format", "separator", "decimal", "asset_column")
"""What a command may say otherwise than the bundle's recipe."""

POLL_SECONDS = 0.05
ROWS_AT_ONCE = 64


class Producer(Protocol):
    """The part of confluent_kafka's producer that is used."""

    def produce(self, topic: str, value: bytes, key: bytes) -> None: ...

    def poll(self, timeout: float) -> int: ...

    def flush(self, timeout: float) -> int: ...


@dataclass(frozen=True)
class Disorder:
    """Disturbs a stream as networks do: readings come up to `shuffle_seconds` late, and a share of them twice.

    Events keep their place in the file's order of time.
    """

    shuffle_seconds: float = 0.0
    repeat_share: float = 0.0
    seed: int = 0

    @property
    def any(self) -> bool:
        return self.shuffle_seconds > 0 or self.repeat_share > 0


def need_topics(client: Any, settings: Settings) -> None:
    """Make the worker's topics where the topic of readings is missing and making it is allowed.

    Raises:
        BrokerError: it is missing and may not be or cannot be made.
    """
    if {settings.topic_readings, settings.topic_events} <= set(topics_of(client, settings)):
        return
    asyncio.run(ensure_topics(settings))


def layout_of_bundle(folder: Path, layout: Layout) -> tuple[Layout, bool]:
    """How the recipe of a bundle reads a file: its sensors and, where `layout` names nothing, its columns and format.

    The second value is whether a label marks a state (rows that are anomalous) rather than an event.
    """
    list_folder(folder)
    manifest = parse(read_file(folder, MANIFEST))
    data = manifest.recipe_source.get("data", {})
    given = {name: getattr(layout, name) for name in FROM_THE_COMMAND_LINE if getattr(layout, name)}
    of_bundle = replace(Layout.of_recipe(data), sensors=manifest.sensors, **given)
    return of_bundle, data.get("labels_mark", "events") == "states"


@dataclass(frozen=True)
class Record:
    """One message to send; `readings` is how many values it carries, `key` the asset."""

    time: float
    value: bytes
    readings: int
    event: bool = False
    key: bytes = b""


@dataclass
class Sent:
    """Counts of what was sent so far."""

    rows: int = 0
    readings: int = 0
    events: int = 0
    records: int = 0


def encode_readings(moment: float, prefixes: list[bytes], values: np.ndarray) -> list[bytes]:
    """One message a sensor; `prefixes` come from `reading_prefixes`. NaN is sent as null: the sensor has no value."""
    middle = b'"%s","value":' % to_iso(moment).encode()
    return [prefix + middle + text + b"}" for prefix, text in zip(prefixes, _texts(values), strict=True)]


def encode_row(moment: float, prefixes: list[bytes], values: np.ndarray) -> bytes:
    """One message for all sensors; `prefixes` come from `row_prefixes`."""
    pairs = b",".join([prefix + text for prefix, text in zip(prefixes, _texts(values), strict=True)])
    return b'{"time":"%s","values":{%s}}' % (to_iso(moment).encode(), pairs)


def encode_event(moment: float, event: str) -> bytes:
    return orjson.dumps({"time": to_iso(moment), "event": event})


def encode_state(begin: float, last: float | None, event: str, asset: str) -> bytes:
    """A state for the ledger: that it began, or with its last row that it is over."""
    body = {"time": to_iso(begin), "event": event, "id": f"{asset} {event} {to_iso(begin)}"}
    if last is None:
        return orjson.dumps(body | {"ongoing": True, "logged_at": to_iso(begin)})
    # Two records may carry one time where a state is a single row; the later one must count.
    return orjson.dumps(body | {"until": to_iso(last), "logged_at": to_iso(last + 1e-3)})


def reading_prefixes(sensors: tuple[str, ...]) -> list[bytes]:
    return [b'{"sensor":%s,"time":' % orjson.dumps(name) for name in sensors]


def row_prefixes(sensors: tuple[str, ...]) -> list[bytes]:
    return [orjson.dumps(name) + b":" for name in sensors]


def _texts(values: np.ndarray) -> list[bytes]:
    """Shortest JSON text of each value, null for NaN; ten times faster than one value at a time."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def records_of_row(
    history: History, row: int, form: Form, prefixes: list[bytes], event: str | None, key: bytes
) -> list[Record]:
    """The messages of one row, in the order of sending: the event first, so that a decision on the row knows of it."""
    moment = float(history.times[row])
    records = []
    if event is not None and history.labels is not None and history.labels[row]:
        records.append(Record(moment, encode_event(moment, event), 0, True, key))
    if form == "rows":
        records.append(Record(moment, encode_row(moment, prefixes, history.values[row]), len(prefixes), False, key))
    else:
        texts = encode_readings(moment, prefixes, history.values[row])
        records += [Record(moment, text, 1, False, key) for text in texts]
    return records


def disordered(rows: Iterator[list[Record]], disorder: Disorder) -> Iterator[list[Record]]:
    """The same records, readings delayed by up to `shuffle_seconds` of event time, some of them twice."""
    generator = np.random.default_rng(disorder.seed)
    waiting: list[tuple[float, int, Record]] = []
    count = 0
    for records in rows:
        now = records[0].time
        for record in records:
            copies = 1 if record.event else 1 + int(generator.random() < disorder.repeat_share)
            for _ in range(copies):
                delay = 0.0 if record.event else generator.uniform(0.0, disorder.shuffle_seconds)
                heapq.heappush(waiting, (record.time + delay, count, record))
                count += 1
        due = []
        while waiting and waiting[0][0] <= now:
            due.append(heapq.heappop(waiting)[2])
        yield due
    yield [heapq.heappop(waiting)[2] for _ in range(len(waiting))]


class Replay:
    """Sends a history through a producer.

    Args:
        history: rows in the order in which they are to be sent.
        producer: flushed at the end; the caller owns it.
        asset: the Kafka key of every message, so that all of them lie in one partition. Where the history tells of
            assets their names are the keys, and their rows are sent in one order of time.
        topic, event_topic: the readings with the events that decisions use, and the events for the ledger.
        form: "readings" = one message a sensor and row; "rows" = one message a row.
        event: what a labelled row is called in its event; None = send no events.
        labels_are_states: labels mark anomalous rows, not events: windows go on through them, so the topic of readings
            gets no event, and the topic of events one where a state begins, and a correction of it where it ends.
        speed: event time over wall clock, e.g. 720 plays a day in two minutes; None = as fast as possible.
        progress: called now and then with what was sent so far.
    """

    def __init__(
        self,
        history: History,
        producer: Producer,
        asset: str,
        topic: str,
        event_topic: str,
        form: Form = "readings",
        event: str | None = "break",
        labels_are_states: bool = False,
        speed: float | None = None,
        disorder: Disorder = Disorder(),
        progress: Callable[[Sent], None] = lambda _sent: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history, self._producer = history, producer
        self._names = history.assets or (asset,)
        self._keys = [name.encode() for name in self._names]
        self._order, self._before, self._last = _order_of(history)
        self._topic, self._event_topic = topic, event_topic
        self._form, self._event, self._speed = form, event, speed
        self._states = labels_are_states and event is not None and history.labels is not None
        self._disorder, self._clock = disorder, clock
        self._stopped = False
        self._began: dict[int, float] = {}
        self.on_progress = progress
        self.sent = Sent()

    def stop(self) -> None:
        """Stop sending; may be called from any thread."""
        self._stopped = True

    def run(self, flush_seconds: float = 60.0) -> Sent:
        """Send everything and wait until the broker has acknowledged it.

        Raises:
            BrokerError: the broker did not acknowledge everything in time.
        """
        rows = self._rows()
        if self._disorder.any:
            rows = disordered(rows, self._disorder)
        started = self._clock()
        for count, records in enumerate(rows):
            if self._speed is not None:
                self._wait(started, count)
            if self._stopped:
                break
            for record in records:
                self._send(record)
            self.sent.rows = min(count + 1, len(self._history))
            if self._speed is not None or count % ROWS_AT_ONCE == 0:
                self._producer.poll(0)
                self.on_progress(self.sent)
        self.flush(flush_seconds)
        return self.sent

    def flush(self, seconds: float) -> None:
        """Wait until the broker has acknowledged what was sent; BrokerError where it does not in time."""
        left = self._producer.flush(seconds)
        if left:
            raise BrokerError(
                f"the broker did not acknowledge {left:,} of {self.sent.records:,} records within {seconds:g} s"
            )
        self.on_progress(self.sent)

    def _rows(self) -> Iterator[list[Record]]:
        make: Any = row_prefixes if self._form == "rows" else reading_prefixes
        prefixes = make(self._history.sensors)
        event = None if self._states else self._event
        for row in self._order:
            key = self._keys[self._asset_of(row)]
            records = records_of_row(self._history, row, self._form, prefixes, event, key)
            yield [*self._changes_of_state(row), *records] if self._states else records

    def _changes_of_state(self, row: int) -> list[Record]:
        """Records that a state begins with this row, or has ended with the one before it or with the file."""
        labels, times = self._history.labels, self._history.times
        assert labels is not None
        assert self._event is not None
        records = []
        asset, before = self._asset_of(row), self._before[row]
        name = self._names[asset]
        within = before >= 0 and bool(labels[before])
        if labels[row] and not within:
            self._began[asset] = float(times[row])
            records.append(encode_state(self._began[asset], None, self._event, name))
        elif within and not labels[row]:
            records.append(encode_state(self._began[asset], float(times[before]), self._event, name))
        if labels[row] and self._last[row]:
            records.append(encode_state(self._began[asset], float(times[row]), self._event, name))
        return [Record(float(times[row]), value, 0, True, self._keys[asset]) for value in records]

    def _asset_of(self, row: int) -> int:
        codes = self._history.asset_rows
        return 0 if codes is None else int(codes[row])

    def _send(self, record: Record) -> None:
        if record.event:
            self._produce(self._event_topic, record)
            self.sent.events += not (self._states and b'"until"' in record.value)
            if self._states:
                return
        self._produce(self._topic, record)
        self.sent.readings += record.readings
        self.sent.records += 1

    def _produce(self, topic: str, record: Record) -> None:
        while True:
            try:
                self._producer.produce(topic, record.value, record.key)
            except BufferError:  # the queue is full: let the broker catch up
                self._producer.poll(POLL_SECONDS)
            else:
                return

    def _wait(self, started: float, row: int) -> None:
        assert self._speed is not None
        times, order = self._history.times, self._order
        due = started + (times[order[min(row, len(order) - 1)]] - times[order[0]]) / self._speed
        while not self._stopped and (left := due - self._clock()) > 0:
            self._producer.poll(min(left, POLL_SECONDS))


def _order_of(history: History) -> tuple[Sequence[int], Sequence[int], Sequence[bool]]:
    """The rows in the order of sending; (N,) the row before of the same asset, or -1; (N,) whether it is the last one.

    Rows of several assets are sent in one order of time, unless the time of one runs backwards: then as in the file.
    """
    count = len(history)
    before, last = np.arange(-1, count - 1), np.zeros(count, np.bool_)
    order: Sequence[int] = range(count)
    if history.asset_rows is None:
        last[-1:] = True
        return order, before.tolist(), last.tolist()
    ascending = True
    for rows in rows_of_assets(history.asset_rows, count):
        if len(rows):
            before[rows] = np.concatenate([[-1], rows[:-1]])
            last[rows[-1]] = True
            ascending &= bool((np.diff(history.times[rows]) >= 0).all())
    if ascending:
        order = np.argsort(history.times, kind="stable").tolist()
    return order, before.tolist(), last.tolist()
