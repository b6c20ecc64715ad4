"""Bytes of many records to columns of readings. A record that cannot be used is pointed at; it stops nothing else.

Accepts what `messages` accepts: times have a zone, numbers are finite numbers. What else stands where a number ought to
be (text, a boolean, NaN) is a missing cell; names that the bundle does not know are treated as the policies say.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.asset_names import AssetNames, Name
from stream_detector.decoding.cells import BAD_QUALITY
from stream_detector.decoding.columns import floats_or_none, indices_or_none
from stream_detector.decoding.decoded import (
    BAD_TIME,
    BLOCK,
    DETAIL,
    EVENT,
    MALFORMED,
    READING,
    ROW,
    TOMBSTONE,
    Collector,
    Decoded,
    RefusedError,
    merged,
)
from stream_detector.decoding.event_times import LATEST, EventTimes
from stream_detector.decoding.fast_blocks import FastBlocks
from stream_detector.decoding.fast_forms import FastForm, Parsed, PlainRecords
from stream_detector.decoding.fast_readings import FastReadings
from stream_detector.decoding.fast_rows import RowForms
from stream_detector.decoding.glance import Glancer
from stream_detector.decoding.notes import Notes
from stream_detector.decoding.record_formats import AnyRecord, RecordReader, StrictRecord, loose_record, size_of
from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.detection.grid.contents import Blocks, Cells, Contents


class Decoder:
    """Decodes for one bundle: its sensors, and the assets that its glob matches."""

    def __init__(
        self,
        sensors: Sequence[str],
        assets: AssetNames,
        block_step_seconds: float | None = None,
        policies: UnknownPolicies = IGNORING,
    ) -> None:
        """assets: says which assets are ours.

        block_step_seconds: samples of a block this far apart lie on consecutive steps (grids of samples).

        policies: of names that the bundle does not know.
        """
        self._sensors = {name: index for index, name in enumerate(sensors)}
        self._policies = policies
        self._row_forms = RowForms()
        self._fast_forms: list[FastForm] = [FastReadings(sensors), FastBlocks(sensors, block_step_seconds)]
        """The one that parsed the batch before comes first."""
        self._reader = RecordReader(self._sensors, block_step_seconds)
        self._decode = msgspec.json.Decoder(StrictRecord).decode
        self._times = EventTimes()
        self._assets = assets
        self._glancer = Glancer(self._sensors, self._assets)

    def decode(
        self,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        slots: Mapping[bytes | None, int] | None = None,
        parsed: Parsed | None = None,
    ) -> Decoded:
        """Columns of all records that can be used, and what is wrong with the others.

        slots: of keys whose assets are known; where they are all, the slots are told instead of the assets. parsed:
        these records, where they were parsed before.
        """
        notes, places = Notes(self._policies, self._assets.whose), np.arange(len(values))
        found = parsed or self.parse(values)
        if found is None:
            rest = self._glancer.others(keys, values, notes)
            if len(rest) < len(values):
                keys, values, places = [keys[at] for at in rest], [values[at] for at in rest], np.array(rest, np.int64)
                found = self.parse(values)
            if found is None:
                return notes.write_to(self._decode_any(keys, values, places, notes))
        if not found.odd:
            decoded = self._plain_or_none(found.form, keys, found.messages, places, notes, slots)
            if decoded is not None:
                return notes.write_to(decoded)
        return notes.write_to(self._decode_most(found, keys, values, places, notes))

    def parse(self, values: Sequence[bytes | None]) -> Parsed | None:
        """The records as those of the form that nearly all of them have; None where there is none."""
        for form in self._fast_forms:
            found = form.parse(values)
            if found is not None:
                self._expect(form)
                return Parsed(form, *found)
        return None

    def plain(self, parsed: Parsed) -> PlainRecords | None:
        """What is in records of one form with nothing to be noted; None where one is otherwise."""
        if not parsed.is_plain:
            return None
        form, messages = parsed.form, parsed.messages
        found = self._contents_or_none(form, messages, np.arange(len(messages)), Notes(self._policies))
        return None if found is None else PlainRecords(form.kind, *found)

    def _expect(self, form: FastForm) -> None:
        """The next batch is tried with this form first. Of each kind the last form is kept."""
        if form is not self._fast_forms[0]:
            self._fast_forms = [form, *(each for each in self._fast_forms if each.kind != form.kind)]

    def _decode_most(
        self,
        parsed: Parsed,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        places: NDArray[np.int64],
        notes: Notes,
    ) -> Decoded:
        """Nearly all are of one form."""
        form, odd = parsed.form, parsed.odd
        known, strangers = self._assets.known, self._assets.strangers
        plain, rest = [], list(odd)
        for at, message in zip(_without(odd, len(values)), parsed.messages, strict=True):
            if keys[at] in strangers:
                notes.unknown_asset(int(places[at]), keys[at], form.size_of(message))
            elif (
                keys[at] in known
                and self._times.is_fine(message.time)
                and self._times[message.time] + form.seconds_of(message) <= LATEST
            ):
                plain.append((at, message))
            else:
                rest.append(at)
        rest.sort()
        others = self._decode_any([keys[at] for at in rest], [values[at] for at in rest], places[rest], notes)
        if not plain:
            return others
        taken = [at for at, _ in plain]
        found = self._plain_or_none(
            form, [keys[at] for at in taken], [message for _, message in plain], places[taken], notes
        )
        assert found is not None  # what was odd is among the others
        return merged(found, others)

    def _plain_or_none(
        self,
        form: FastForm,
        keys: Sequence[bytes | None],
        messages: list[Any],
        index: NDArray[np.int64],
        notes: Notes,
        slots: Mapping[bytes | None, int] | None = None,
    ) -> Decoded | None:
        """Nothing but good records of the form; None where one has no time or asset that we may use."""
        slot = None if slots is None else indices_or_none(slots, keys)
        assets = [] if slot is not None else self._assets.all_or_none(keys)
        if assets is None:
            return None
        found = self._contents_or_none(form, messages, index, notes)
        if found is None:
            return None
        last_time, contents = found
        rows, blocks = (len(messages) if form.kind == kind else 0 for kind in (ROW, BLOCK))
        return Decoded(index, assets, last_time, contents, rows=rows, blocks=blocks, slot=slot)

    def _contents_or_none(
        self, form: FastForm, messages: list[Any], index: NDArray[np.int64], notes: Notes
    ) -> tuple[NDArray[np.float64], Contents] | None:
        """(R,) time of the last reading of each record, and what they hold; None where one has no time of ours."""
        time = self._times.all_or_none([message.time for message in messages])
        if time is None:
            return None
        contents = form.contents(messages, time, index, notes)
        if not isinstance(contents, Blocks):
            return time, contents
        return None if (contents.end > LATEST).any() else (contents.last_time, contents)

    def _decode_any(
        self,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        index: NDArray[np.int64],
        notes: Notes,
    ) -> Decoded:
        """Records of all kinds; `index`: their places in the batch."""
        try:
            messages: list[AnyRecord] = list(map(self._decode, values))  # type: ignore[arg-type]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
            messages, kept = self._decode_each(keys, values, index, notes)
            index, keys = index[kept], [keys[at] for at in kept]
        times = [message.time for message in messages]
        own = [message.asset for message in messages]
        names = keys if own.count(None) == len(own) else [name or key for name, key in zip(own, keys, strict=True)]
        events = [message.event for message in messages]
        arrays = [message.readings for message in messages]
        checked = set(map(type, messages)) == {StrictRecord}
        if checked and events.count(None) == len(events) == arrays.count(None):
            decoded = self._readings_or_none(index, messages, times, names, notes)
            if decoded is None:
                decoded = self._rows_or_none(index, messages, times, names, notes)
            if decoded is not None:
                return decoded
        return self._decode_mixed(index, messages, times, names, notes)

    def _readings_or_none(
        self,
        index: NDArray[np.int64],
        messages: list[AnyRecord],
        times: list[str | float],
        names: Sequence[Name],
        notes: Notes,
    ) -> Decoded | None:
        """Nothing but good readings; None where there is anything else."""
        sensor = indices_or_none(self._sensors, [message.sensor for message in messages])  # type: ignore[misc]
        if sensor is None:
            return None
        converted = self._convert_or_none([message.value for message in messages], times, names)
        if converted is None:
            return None
        value, time, assets = converted
        qualities = [message.quality for message in messages]
        if qualities.count("good") != len(messages):
            bad = [quality != "good" for quality in qualities]
            notes.missing[BAD_QUALITY] += sum(bad)
            value[bad] = np.nan
        return Decoded(index, assets, time, Cells(np.arange(len(messages)), sensor, time, value))

    def _rows_or_none(
        self,
        index: NDArray[np.int64],
        messages: list[AnyRecord],
        times: list[str | float],
        owners: Sequence[Name],
        notes: Notes,
    ) -> Decoded | None:
        """Nothing but good rows of the same names; None where there is anything else."""
        values: list[Any] = [message.values for message in messages]
        if set(map(type, values)) != {dict} or {message.value for message in messages} != {msgspec.UNSET}:
            return None
        layouts = set(map(tuple, values))
        names = layouts.pop()
        layout = self._reader.layout(names)
        if layouts or not len(layout.sensors):
            return None
        rows: Iterable[Any] = map(dict.values, values)
        cells = rows if layout.as_it_stands else map(layout.known, map(list, rows))
        # One conversion for all: None becomes NaN.
        converted = self._convert_or_none(list(chain.from_iterable(cells)), times, owners)
        if converted is None:
            return None
        value, time, assets = converted
        if layout.unknown:
            for place in index.tolist():
                notes.unknown_sensors(place, layout.unknown)
        form = self._row_forms.of(names, layout)
        if form is not None:
            self._expect(form)
        record = np.repeat(np.arange(len(messages)), len(layout.sensors))
        sensor = np.tile(layout.sensors, len(messages))
        return Decoded(index, assets, time, Cells(record, sensor, time[record], value), rows=len(messages))

    def _convert_or_none(
        self, cells: list[Any], times: list[str | float], names: Sequence[Name]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]] | None:
        """Values (N,), and of each record its time (epoch seconds) and its asset; None where one is not good."""
        value, time, assets = floats_or_none(cells), self._times.all_or_none(times), self._assets.all_or_none(names)
        return None if value is None or time is None or assets is None else (value, time, assets)

    def _decode_mixed(
        self,
        index: NDArray[np.int64],
        messages: list[AnyRecord],
        times: list[str | float],
        names: Sequence[Name],
        notes: Notes,
    ) -> Decoded:
        """Readings go on together, everything else is looked at record by record."""
        collector, plain = Collector(), []
        for at, (message, name, time) in enumerate(zip(messages, names, times, strict=True)):
            if (
                type(message) is StrictRecord
                and message.sensor in self._sensors
                and message.value is not msgspec.UNSET
                and message.event is None
                and message.readings is None
                and name in self._assets.known
                and self._times.is_fine(time)
            ):
                plain.append(at)
            else:
                self._take(collector, int(index[at]), message, name, notes)
        others = collector.decoded()
        if not plain:
            return others
        readings = self._readings_or_none(
            index[plain],
            [messages[at] for at in plain],
            [times[at] for at in plain],
            [names[at] for at in plain],
            notes,
        )
        assert readings is not None  # what was odd is among the others
        return merged(readings, others)

    def _decode_each(
        self, keys: Sequence[bytes | None], values: Sequence[bytes | None], index: NDArray[np.int64], notes: Notes
    ) -> tuple[list[AnyRecord], list[int]]:
        messages: list[AnyRecord] = []
        kept: list[int] = []
        for at, (key, value, place) in enumerate(zip(keys, values, index.tolist(), strict=True)):
            if value is None:
                notes.reject(place, 1, TOMBSTONE, "the record has no value")
                continue
            try:
                messages.append(self._decode(value))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                if self._glancer.passes_over(place, key, value, notes):
                    continue
                try:
                    messages.append(loose_record(value))
                except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
                    notes.reject(place, 1, MALFORMED, str(error)[:DETAIL])
                    continue
            kept.append(at)
        return messages, kept

    def _take(self, collector: Collector, place: int, message: AnyRecord, name: Name, notes: Notes) -> None:
        """One record of any kind. The asset is asked for first, then the sensors, then the time."""
        if message.readings is not None and message.event is None:
            self._take_readings(collector, place, message, name, notes)
            return
        if self._assets.is_stranger(name):
            notes.unknown_asset(place, name, size_of(message))
            return
        readings = 1
        try:
            found = self._reader.read(message)
            unknown = len(found.unknown) if found.unknown_readings is None else found.unknown_readings
            readings = 0 if found.kind == EVENT else len(found.sensors) + unknown
            if len(found.sensors):
                asset = self._assets.of(name)
                seconds = self._times[message.time]
                if seconds + found.step_seconds * len(found.sensors) > LATEST:
                    raise RefusedError(BAD_TIME, "the block ends after the year 2199")
        except RefusedError as refusal:
            notes.reject(place, readings, refusal.reason, refusal.detail)
            return
        if found.unknown:
            notes.unknown_sensors(place, found.unknown, unknown)
        notes.missing.update(found.missing)
        if len(found.sensors):
            collector.add(found.kind, place, asset, seconds, found.step_seconds, found.sensors, found.values)

    def _take_readings(self, collector: Collector, place: int, message: AnyRecord, name: Name, notes: Notes) -> None:
        """A record of several readings: those of each asset are one record of it, in the order of their times."""
        by_asset: dict[str, list[tuple[float, int, float | None]]] = {}
        unknown: list[str] = []
        refused: dict[str, list[str]] = {}
        for item in message.readings or ():
            owner = item.asset or name
            if self._assets.is_elsewhere(owner):
                continue
            if self._assets.is_stranger(owner):
                notes.unknown_asset(place, owner, 1)
                continue
            sensor, number, reason = self._reader.item(item)
            if sensor is None:
                unknown.append(item.sensor)
                continue
            try:
                seconds = self._times[message.time if item.time is None else item.time]
                by_asset.setdefault(self._assets.of(owner), []).append((seconds, sensor, number))
            except RefusedError as refusal:
                refused.setdefault(refusal.reason, []).append(refusal.detail)
                continue
            if reason is not None:
                notes.missing[reason] += 1
        if unknown:
            notes.unknown_sensors(place, unknown)
        for why, details in refused.items():
            notes.reject(place, len(details), why, details[0])
        for asset, readings in sorted(by_asset.items()):
            readings.sort(key=itemgetter(0))
            times = [time for time, _, _ in readings]
            sensors = np.array([sensor for _, sensor, _ in readings], np.int64)
            collector.add(READING, place, asset, times[0], 0.0, sensors, [number for _, _, number in readings], times)


def _without(places: list[int], count: int) -> list[int]:
    """The other places among `count`."""
    others: list[int] = np.delete(np.arange(count), np.array(places, np.int64)).tolist()
    return others
