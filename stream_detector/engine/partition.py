"""One partition: rule 1, then the grid, then decisions. A function of its log, however that is cut into batches.

A batch is handled in *segments*, which cross neither the offset up to which a restart reads in silence nor one at which
assets are evicted, and are not too large for memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.decoded import FUTURE, TOO_MANY_ASSETS, Decoded
from stream_detector.decoding.decoder import Decoder
from stream_detector.detection.grid.closed_steps import select
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.intake import Intake, Tally
from stream_detector.detection.grid.sorted_readings import EVENT_SENSOR
from stream_detector.engine.alarm_messages import scored_steps
from stream_detector.engine.assets import Roster
from stream_detector.engine.clock_guard import Fate, HeldRecord
from stream_detector.engine.dead_letters import letter, letter_of_held
from stream_detector.engine.decider import Decider
from stream_detector.engine.detector_spec import Rules
from stream_detector.engine.handling_order import (
    Moments,
    as_held,
    count_kinds,
    heavy_cuts,
    insert,
    not_later,
    numbers,
    readings_of,
)
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import Counts, Outcome, RecordBatch
from stream_detector.engine.snapshots import Snapshot, dump
from stream_detector.messages import DeadLetter, to_bytes

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class _Said:
    """What a batch comes to so far; dead letters with the place in the batch at which they were settled."""

    counts: Counts = field(default_factory=Counts)
    letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    snapshots: list[tuple[str, bytes | None]] = field(default_factory=list)
    event_assets: list[str] = field(default_factory=list)


class Partition:
    """Live state of one partition. `silent_until`: records below this offset rebuild state and have no other effect.

    `keep_steps`: outcomes tell every scored step.
    """

    def __init__(
        self,
        rules: Rules,
        decoder: Decoder,
        limits: Limits,
        known: Mapping[str, Snapshot],
        silent_until: int,
        keep_steps: bool,
    ) -> None:
        self.rules = rules
        self.grid = Grid(rules.grid, rules.window, len(rules.sensors), limits.slack_steps, limits.slack_cells)
        self.decider = Decider(rules, self.grid, keep_results=keep_steps)
        self.roster = Roster(self.grid, limits, rules.grid.max_future_seconds, known)
        self._intake = Intake(self.grid)
        self._max_future_seconds = rules.grid.max_future_seconds
        self._decoder = decoder
        self._silent_until = silent_until
        self._decided_until = np.zeros(1, np.int64)
        self._previous_offset: int | None = None
        self._judged: set[int] = set()
        """Slots whose records rule 1 looks at one by one: something is held, or a snapshot knows of refused ones."""
        self._unsaved: set[int] = set()
        """Slots whose snapshot is out of date."""

    def low(self) -> int | None:
        """The oldest offset that live state still needs; None where nothing is held."""
        assets = self.roster.assets
        if not assets:
            return None
        low = int(self.grid.low(np.fromiter(assets, np.int64, len(assets))).min())
        return min([low, *(held.offset for held in self._held())])

    def process(self, batch: RecordBatch, publish_scores: bool) -> Outcome:
        """Handle a batch."""
        said = _Said()
        offsets = numbers(batch.offsets)
        if not len(offsets):
            return Outcome()
        moments = Moments(offsets)
        self.decider.publish_scores = publish_scores
        sweeps = self.roster.sweeps(offsets, self._previous_offset)
        audible = int(np.searchsorted(offsets, self._silent_until))
        for begin, end in pairwise(sorted({0, len(offsets), audible, *sweeps, *heavy_cuts(batch)})):
            if begin in sweeps and begin >= audible:
                self._evict(sweeps[begin], batch, begin, said)
            self._segment(batch, begin, end, moments, said, silent=begin < audible)
        self._previous_offset = int(offsets[-1])
        return self._conclude(batch, moments, said)

    def _conclude(self, batch: RecordBatch, moments: Moments, said: _Said) -> Outcome:
        decisions, counts = self.decider.take(), said.counts
        counts.received = counts.windowed + counts.late + counts.duplicate + counts.dead_lettered
        counts.held = sum(held.readings for held in self._held())
        for found in (decisions.alarms, decisions.scores):
            found.sort(key=lambda pair: moments.index[pair[0]])
        said.letters.sort(key=lambda pair: pair[0])
        self._unsaved |= decisions.changed
        if batch.offsets[-1] >= self._silent_until:
            assets = self.roster.assets
            said.snapshots += sorted((assets[slot].name, self._snapshot(slot)) for slot in self._unsaved)
            self._unsaved.clear()
        return Outcome(
            alarms=[alarm for _, alarm in decisions.alarms],
            scores=[score for _, score in decisions.scores],
            dead_letters=[letter for _, letter in said.letters],
            snapshots=said.snapshots,
            counts=counts,
            closed=decisions.closed,
            event_assets=said.event_assets,
            alarm_timestamps_ms=[batch.timestamps_ms[moments.index[record]] for record, _ in decisions.alarms],
            steps=[
                scored_steps(found, self.roster.assets, self.rules.grid.step_seconds) for found in decisions.results
            ],
        )

    def _segment(
        self, batch: RecordBatch, begin: int, end: int, moments: Moments, said: _Said, *, silent: bool
    ) -> None:
        # What a silent segment says goes nowhere.
        said = _Said() if silent else said
        keys, values = batch.keys, batch.values
        if end - begin < len(keys):
            keys, values = keys[begin:end], values[begin:end]
        decoded = self._decoder.decode(keys, values, self.roster.slots_by_key)
        decoded.index = decoded.index + begin
        for reject in decoded.rejects:
            place = begin + reject.index
            said.letters.append((place, letter(batch, place, reject.reason, reject.detail)))
            said.counts.dead_lettered += reject.readings
        count_kinds(said.counts, decoded)
        if decoded.events:
            events = decoded.record[decoded.sensor == EVENT_SENSOR]
            said.event_assets += [decoded.asset[record] for record in events]
        keep = self._not_from_the_future(batch, decoded, said)
        slots = self._slots_of(batch, decoded, keep, said, silent=silent)
        released = self._judge(batch, decoded, slots, keep, said, silent=silent)
        all_kept = bool(keep.all())
        readings = readings_of(decoded, slots)
        if not all_kept:
            readings = readings.take(np.flatnonzero(keep[decoded.record]))
        if released:
            readings = insert(readings, released, moments)
        if not len(readings):
            return
        used = slice(None) if all_kept else keep
        self.roster.last_offset[slots[used]] = moments.offset[decoded.index[used]]
        tally = self._intake.tally = Tally()
        for closings in self._intake.take(readings, moments.offset):
            if not silent:
                handled_at = moments.offset[moments.index[closings.record]]
                due = handled_at >= self._decided_until[closings.slot]
                self.decider.add(closings if due.all() else select(closings, due))
        said.counts.windowed += tally.windowed
        said.counts.late += tally.late
        said.counts.duplicate += tally.duplicate

    def _not_from_the_future(self, batch: RecordBatch, decoded: Decoded, said: _Said) -> Bools:
        """(R,) which records are not later than their Kafka timestamp allows; -1 stands for no timestamp."""
        stamps = numbers(batch.timestamps_ms)
        if len(stamps) != len(decoded.index):
            stamps = stamps[decoded.index]
        keep = not_later(decoded.last_time, stamps, self._max_future_seconds)
        for record in np.flatnonzero(~keep).tolist():
            self._drop(batch, decoded, record, FUTURE, "later than its Kafka timestamp", said)
        return keep

    def _slots_of(self, batch: RecordBatch, decoded: Decoded, keep: Bools, said: _Said, *, silent: bool) -> Ints:
        """(R,) slot of each record; new assets are admitted, and `keep` is cleared where one cannot be."""
        if decoded.slot is not None:
            return decoded.slot
        known_slots = self.roster.slots
        try:
            return np.fromiter(map(known_slots.get, decoded.asset), np.int64, len(decoded.asset))
        except TypeError:
            slots = list(map(known_slots.get, decoded.asset))
            for record, name in enumerate(decoded.asset):
                if slots[record] is not None or not keep[record]:
                    continue
                slots[record] = known_slots.get(name)
                if slots[record] is None and not self._admit(batch, decoded, record, silent=silent):
                    keep[record] = False
                    detail = "the partition holds as many assets as the limit allows"
                    said.counts.assets_refused += self._drop(batch, decoded, record, TOO_MANY_ASSETS, detail, said)
                slots[record] = known_slots.get(name)
            slots = [0 if slot is None else slot for slot in slots]
        return np.array(slots, np.int64)

    def _admit(self, batch: RecordBatch, decoded: Decoded, record: int, *, silent: bool) -> bool:
        offset = int(batch.offsets[decoded.index[record]])
        admitted = self.roster.admit(decoded.asset[record], offset, silent)
        if admitted is None:
            return False
        slot, known = admitted
        self.grid.admit(slot, float(decoded.time[np.searchsorted(decoded.record, record)]), offset)
        self.grid.watermark[slot] = decoded.last_time[record]
        if slot >= len(self._decided_until):
            self._decided_until = np.resize(self._decided_until, self.grid.capacity)
        until = self._silent_until if known is None else max(known.until, self._silent_until)
        self._decided_until[slot] = self.roster.assets[slot].gate.known_until = until
        self.decider.admit(slot, decoded.asset[record], known)
        if known is None:
            self._unsaved.add(slot)
        elif known.refused or known.held:
            self._judged.add(slot)
        return True

    def _judge(
        self, batch: RecordBatch, decoded: Decoded, slots: Ints, keep: Bools, said: _Said, *, silent: bool
    ) -> list[tuple[int, int, HeldRecord]]:
        """Rule 1; clears `keep` of records that are refused or held.

        Returns (place, slot, record) of those that were held and are handled now, before the record at that place.
        """
        suspects = set(self._judged)
        if not silent:
            ahead = keep & (decoded.last_time > self.grid.watermark[slots] + self._max_future_seconds)
            suspects.update(slots[ahead].tolist())
        released: list[tuple[int, int, HeldRecord]] = []
        if not suspects:
            return released
        watermark = {slot: float(self.grid.watermark[slot]) for slot in suspects}
        concerned = np.flatnonzero(keep & np.isin(slots, list(suspects)))
        for record, slot, time in zip(
            concerned.tolist(), slots[concerned].tolist(), decoded.last_time[concerned].tolist(), strict=True
        ):
            gate = self.roster.assets[slot].gate
            if slot not in self._judged and time <= watermark[slot] + self._max_future_seconds:
                watermark[slot] = max(watermark[slot], time)
                continue
            this, place = as_held(batch, decoded, record), int(decoded.index[record])
            fate, freed, refused = gate.judge(this, watermark[slot])
            released += [(place, slot, held) for held in freed]
            keep[record] = fate is Fate.ACCEPTED
            if fate is Fate.ACCEPTED:
                watermark[slot] = max([watermark[slot], time, *(held.last_time for held in freed)])
            self._refuse([*refused, this] if fate is Fate.REFUSED else refused, batch, place, said)
            if gate.changed:
                gate.changed = False
                self._unsaved.add(slot)
            if gate.held or this.offset < gate.known_until:
                self._judged.add(slot)
            else:
                self._judged.discard(slot)
        return released

    def _evict(self, offset: int, batch: RecordBatch, begin: int, said: _Said) -> None:
        for slot, asset in self.roster.evicted(offset):
            self.decider.release(slot, begin)
            self._refuse(asset.gate.refuse_all(), batch, begin, said)
            self._judged.discard(slot)
            self._unsaved.discard(slot)
            said.snapshots.append((asset.name, None))
            said.counts.assets_evicted += 1

    def _refuse(self, refused: list[HeldRecord], batch: RecordBatch, place: int, said: _Said) -> None:
        for held in refused:
            text = "far ahead of the asset's other records"
            said.letters.append((place, letter_of_held(batch, held, FUTURE, text)))
            said.counts.dead_lettered += held.readings

    def _drop(self, batch: RecordBatch, decoded: Decoded, record: int, reason: str, detail: str, said: _Said) -> int:
        """A decoded record becomes a dead letter; returns how many readings it has."""
        place = int(decoded.index[record])
        said.letters.append((place, letter(batch, place, reason, detail)))
        readings = as_held(batch, decoded, record).readings
        said.counts.dead_lettered += readings
        return readings

    def _held(self) -> list[HeldRecord]:
        return [held for slot in self._judged for held in self.roster.assets[slot].gate.held]

    def _snapshot(self, slot: int) -> bytes:
        asset, standing = self.roster.assets[slot], self.decider.standings[slot]
        assert self._previous_offset is not None
        return dump(
            Snapshot(
                since=asset.since,
                until=max(self._previous_offset + 1, asset.gate.known_until),
                refused=asset.gate.refused,
                held=[held.offset for held in asset.gate.held],
                alarm=None if standing.alarm is None else to_bytes(standing.alarm),
                alarm_step=standing.alarm_step,
                ended_step=standing.ended_step,
                head=self.decider.dump_head(standing),
            )
        )
