"""A segment of a batch on its way to the grid: decoded, its assets found or admitted, its clocks guarded (rule 1)."""

import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.columns import indices_or_none
from stream_detector.decoding.decoded import FUTURE, TOO_MANY_ASSETS
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.fast_forms import Parsed
from stream_detector.decoding.routing import Share
from stream_detector.detection.grid.contents import EVENT_SENSOR
from stream_detector.detection.grid.sorted_readings import Readings, Records
from stream_detector.engine.assets.assets import Assets
from stream_detector.engine.batch_result import BatchResult
from stream_detector.engine.clock_guard import Fate, HeldRecord
from stream_detector.engine.handling_order import HandlingOrder, Released, as_array
from stream_detector.engine.outcome import RecordBatch

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Segment:
    """Records [begin, end) of a batch. `silent`: they rebuild state, and what is said of them goes nowhere."""

    def __init__(
        self,
        batch: RecordBatch,
        begin: int,
        end: int,
        decoder: Decoder,
        assets: Assets,
        result: BatchResult,
        *,
        silent: bool,
        share: Share | None = None,
        parsed: Parsed | None = None,
    ) -> None:
        """share: those records of the batch that are this decoder's; None: all. parsed: these, where they are known."""
        self._batch = batch
        self._assets = assets
        self.result = BatchResult(batch) if silent else result
        self._silent = silent
        keys, values = (batch.keys, batch.values) if share is None else (share.keys, share.values)
        places = np.arange(len(keys)) if share is None else share.places
        first, last = np.searchsorted(places, [begin, end]).tolist()
        if last - first < len(keys):
            keys, values, places = keys[first:last], values[first:last], places[first:last]
        assets.history.read_from(int(batch.offsets[begin]))
        answered_until = assets.history.answered_until
        self._places: Ints = places
        """(N,) places in the batch of what is decoded."""
        self._decoded = decoder.decode(keys, values, None if answered_until else assets.slots_by_key, parsed)
        self._decoded.index = places[self._decoded.index]
        self._keep: Bools = np.ones(len(self._decoded.index), np.bool_)
        """(R,) which decoded records go on."""
        if answered_until:
            until = [answered_until.get(name, 0) for name in self._decoded.asset]
            self._keep = as_array(batch.offsets)[self._decoded.index] >= np.array(until, np.int64)

    def readings(self, order: HandlingOrder) -> Records | Readings:
        """What goes into the grid; one by one where released records are among it, in the order of their effect."""
        self._tell_decoded()
        self._reject_later_than_kafka()
        slots = self._slots()
        released = self._guard_clocks(slots)
        decoded, keep = self._decoded, self._keep
        records = Records(slots, decoded.index, decoded.contents).select(keep)
        if len(records):
            offsets = order.offset[records.place]
            self._assets.offsets.last[records.slot] = offsets
            self._assets.kept.note_records(records.slot, offsets)
        return order.insert(records.apart(), released) if released else records

    def _tell_decoded(self) -> None:
        decoded, result = self._decoded, self.result
        for reject in decoded.rejects:
            result.reject(int(self._places[reject.index]), reject.readings, reject.reason, reject.detail)
        result.count_decoded(decoded)
        if decoded.events:
            events = decoded.cells.record[decoded.cells.sensor == EVENT_SENSOR]
            result.event_assets += [(int(decoded.index[record]), decoded.asset[record]) for record in events]

    def _reject_later_than_kafka(self) -> None:
        """Rule 1: no record may be much later than its Kafka timestamp."""
        stamps = self._stamps()
        fine = not_later(self._decoded.last_time, stamps, self._assets.furthest_ahead_seconds)
        if fine.all():
            return
        for record in np.flatnonzero(self._keep & ~fine).tolist():
            self._reject(record, FUTURE, "later than its Kafka timestamp")
        self._keep &= fine

    def _stamps(self) -> Ints:
        """(R,) Kafka timestamps."""
        stamps, index = self._batch.timestamps_ms, self._decoded.index
        # A record may be there more than once, for several assets.
        if len(stamps) == len(index) and (index == np.arange(len(index))).all():
            return as_array(stamps)
        if len(index) * 4 < len(stamps):  # on a shared bus, most records are about other things
            return np.array([stamps[place] for place in index.tolist()], np.int64)
        return as_array(stamps)[index]

    def _slots(self) -> Ints:
        """(R,) slot of each record; new assets are admitted, and a record is dropped where its asset cannot be."""
        decoded, keep, known = self._decoded, self._keep, self._assets.slots
        if decoded.slot is not None:
            return decoded.slot
        found = indices_or_none(known, decoded.asset)
        if found is not None:
            return found
        slots = [known.get(name) for name in decoded.asset]
        for record, name in enumerate(decoded.asset):
            if slots[record] is None and keep[record]:
                slots[record] = known.get(name)  # an earlier record of this segment may have admitted it
                if slots[record] is None:
                    slots[record] = self._admit(record)
        return np.array([0 if slot is None else slot for slot in slots], np.int64)  # 0 is not read where not kept

    def _admit(self, record: int) -> int | None:
        decoded = self._decoded
        _, times, _ = decoded.contents.of(record)
        slot = self._assets.admit(
            decoded.asset[record],
            int(self._batch.offsets[decoded.index[record]]),
            float(times[0]),
            float(decoded.last_time[record]),
            rebuilding=self._silent,
        )
        if slot is None:
            self._keep[record] = False
            detail = "the partition holds as many assets as the limit allows"
            self.result.counts.assets_refused += self._reject(record, TOO_MANY_ASSETS, detail)
        return slot

    def _guard_clocks(self, slots: Ints) -> list[Released]:
        """Rule 1: records that are refused or held do not go on; returns those that were held and go on now."""
        decoded, keep = self._decoded, self._keep
        watched, all_watermarks = self._assets.watched, self._assets.grid.positions.watermark
        furthest_ahead_seconds = self._assets.furthest_ahead_seconds
        suspects = set(watched)
        if not self._silent or not self._assets.only_known:
            ahead = keep & (decoded.last_time > all_watermarks[slots] + furthest_ahead_seconds)
            suspects.update(slots[ahead].tolist())
        released: list[Released] = []
        if not suspects:
            return released
        watermark = {slot: float(all_watermarks[slot]) for slot in suspects}
        concerned = np.flatnonzero(keep & np.isin(slots, list(suspects)))
        for record, slot, time in zip(
            concerned.tolist(), slots[concerned].tolist(), decoded.last_time[concerned].tolist(), strict=True
        ):
            guard = self._assets.by_slot[slot].clock_guard
            if slot not in watched and time <= watermark[slot] + furthest_ahead_seconds:
                watermark[slot] = max(watermark[slot], time)
                continue
            this, place = self._as_held(record), int(decoded.index[record])
            fate, freed, refused = guard.judge(this, watermark[slot])
            released += [Released(place, slot, held) for held in freed]
            for held in freed:
                self._assets.kept.note_records(np.array([slot]), np.array([held.offset]))
            keep[record] = fate is Fate.ACCEPTED
            if fate is Fate.ACCEPTED:
                watermark[slot] = max([watermark[slot], time, *(held.last_time for held in freed)])
            for held in [*refused, this] if fate is Fate.REFUSED else refused:
                self.result.refuse(held, place)
            if guard.changed:
                guard.changed = False
                self._assets.unsaved.add(slot)
            if guard.held or this.offset < guard.known_until:
                watched.add(slot)
            else:
                watched.discard(slot)
        return released

    def _as_held(self, record: int) -> HeldRecord:
        """A decoded record, with all that is needed to handle it later."""
        batch, decoded = self._batch, self._decoded
        place = int(decoded.index[record])
        return HeldRecord(
            batch.offsets[place], batch.timestamps_ms[place], batch.keys[place], batch.values[place],
            float(decoded.last_time[record]), *decoded.contents.of(record),
        )  # fmt: skip

    def _reject(self, record: int, reason: str, detail: str) -> int:
        """A decoded record becomes a dead letter; returns how many readings it has."""
        readings = self._as_held(record).readings
        self.result.reject(int(self._decoded.index[record]), readings, reason, detail)
        return readings


def not_later(times: Floats, stamps_ms: Ints, by_seconds: float) -> Bools:
    """(N,) which times (epoch seconds) are at most so much later than their Kafka timestamps; -1 stands for none."""
    if len(times):
        earliest = stamps_ms.min()
        # The usual case, without a look at each of them.
        if earliest >= 0 and times.max() <= earliest / 1000.0 + by_seconds:
            return np.ones(len(times), np.bool_)
    fine: Bools = (times <= stamps_ms / 1000.0 + by_seconds) | (stamps_ms < 0)
    return fine
