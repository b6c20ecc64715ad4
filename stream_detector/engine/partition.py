"""One partition: rule 1, then the grid, then decisions. A function of its log, however that is cut into batches.

A batch is handled in *segments*, which cross neither the offset up to which a restart reads in silence nor one at which
assets are evicted, and are not too large for memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.columns import bytes_in
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.fast_forms import Parsed
from stream_detector.decoding.routing import Share
from stream_detector.detection.grid.positions import NO_STEP
from stream_detector.detection.grid.slot_state import read_slot
from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.assets.asset_history import Departed
from stream_detector.engine.assets.asset_windows import AssetWindows, pack
from stream_detector.engine.assets.assets import Asset, Assets
from stream_detector.engine.assets.snapshots import Snapshot, dump, most_window_bytes
from stream_detector.engine.batch_in_hand import AtClosing, BatchInHand, Taken
from stream_detector.engine.batch_result import BatchResult
from stream_detector.engine.clock_guard import MOST_REFUSED
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import Closed, Outcome, RecordBatch, ScoredSteps
from stream_detector.engine.parts import Part, PlacedAlarm
from stream_detector.engine.segment import Segment
from stream_detector.engine.shared_state import SharedState
from stream_detector.messages import to_bytes

Ints = NDArray[np.int64]

SEGMENT_BYTES = 8 * 2**20
"""Records of about this size are decoded at once: a million numbers of a block take as much again in each column."""


class Partition:
    """Live state of one partition. `silent_until`: records below this offset rebuild state and have no other effect.

    `id_term`: goes into the ids of alarms.
    """

    def __init__(
        self,
        state: SharedState,
        decoder: Decoder,
        limits: Limits,
        known: Mapping[str, Snapshot],
        silent_until: int,
        id_term: int = 0,
    ) -> None:
        self.spec = spec = state.spec
        self.grid, self.decider = state.grid, state.decider
        self.assets = Assets(
            state.grid,
            state.offsets,
            state.slots,
            limits,
            spec.grid.furthest_ahead_seconds,
            known,
            silent_until,
            on_admit=partial(state.decider.admit, id_term=id_term),
        )
        self._decoder = decoder
        self._most_window_bytes = most_window_bytes(spec, limits)
        self._silent_until = silent_until
        self._previous_offset = silent_until - 1 if silent_until else None

    def low(self) -> int | None:
        """The oldest offset that live state still needs; None where nothing is held."""
        return self.assets.low()

    def is_settled(self, offsets: Ints) -> bool:
        """Whether nothing but its records themselves says how a batch is handled: it is one segment, no restart and
        no sweep lies in it."""
        if not len(offsets):
            return False
        history, first = self.assets.history, int(offsets[0])
        history.read_from(first)
        return not (
            first < self._silent_until or history.answered_until or self.assets.sweeps(offsets, self._previous_offset)
        )

    def watches(self, slots: Ints) -> bool:
        """Whether rule 1 looks at each record of one of these slots."""
        watched = self.assets.watched
        return bool(watched) and not watched.isdisjoint(slots.tolist())

    def note_records(self, batch_offsets: Ints, slots: Ints, offsets: Ints) -> None:
        """A batch is handled whose records are all used. slots, offsets: (N,) of those that are of this bundle."""
        self.grid.let_tell(self.assets.by_slot)
        self.assets.kept.note_records(slots, offsets)
        self._previous_offset = int(batch_offsets[-1])

    def segments(
        self, in_hand: BatchInHand, share: Share | None = None, parsed: Parsed | None = None
    ) -> Iterator[Taken]:
        """The readings of a batch, to be put into the grid one after another before the next ones are asked for.

        share: those of its records that are about assets of this bundle; None: all. parsed: what the parser made of
        these, where it is one segment.
        """
        batch, offsets = in_hand.batch, in_hand.offsets
        if not len(offsets):
            return
        sweeps = self.assets.sweeps(offsets, self._previous_offset)
        audible = int(np.searchsorted(offsets, self._silent_until))
        heavy = heavy_cuts(batch.values) if share is None else share.places[heavy_cuts(share.values)].tolist()
        again = AtClosing.LEAVE if self.assets.only_known else AtClosing.FOLLOW
        for begin, end in pairwise(sorted({0, len(offsets), audible, *sweeps, *heavy})):
            if begin in sweeps and begin >= audible:
                self._evict(sweeps[begin], begin, int(offsets[-1]) + 1, in_hand.result)
            silent = begin < audible
            if not silent:
                self.grid.let_tell(self.assets.by_slot)
            segment = Segment(
                batch, begin, end, self._decoder, self.assets, in_hand.result, silent=silent, share=share, parsed=parsed
            )
            readings = segment.readings(in_hand.order)
            if len(readings):
                yield Taken(in_hand, readings, segment.result, again if silent else AtClosing.DECIDE)
        self._previous_offset = int(offsets[-1])

    def _evict(self, offset: int, place: int, until: int, result: BatchResult) -> None:
        """Let assets go as of `offset`, before the record at `place` of a batch that ends before offset `until`."""
        for slot, asset in self.assets.evicted(offset):
            scale, cleared = self.decider.release(slot)
            if cleared is not None:
                result.cleared.append((place, cleared))
            for held in asset.clock_guard.refuse_all():
                result.refuse(held, place)
            self._remember_departed(slot, asset, offset, until, scale, result)
            result.counts.assets_evicted += 1

    def retire(self, topic: str, number: int, name: str, offset: int) -> Outcome:
        """The asset lives in another partition as of `offset`, which comes next: nobody decides on its alarm now.

        Without effect where it is not here, or its life here began later. `topic`, `number`: for its dead letters.
        """
        slot = self.assets.slots.get(name)
        if slot is None or self.assets.by_slot[slot].since >= offset:
            return Outcome()
        asset, alarm = self.assets.by_slot[slot], self.decider.states[slot].alarm
        result = BatchResult(RecordBatch(topic, number, [], [], [], []))
        for held in asset.clock_guard.refuse_all():
            result.refuse(held, 0)
        result.counts.received = result.counts.dead_lettered
        self._remember_departed(slot, asset, offset, offset, self.decider.dump_scale(slot), result)
        self.decider.drop(slot)
        self.assets.let_go(slot)
        return Outcome(
            alarms=[] if alarm is None else [withdrawn(alarm)],
            dead_letters=[letter for _, letter in result.dead_letters],
            snapshots=result.snapshots,
            counts=result.counts,
            alarm_timestamps_ms=[] if alarm is None else [-1],
        )

    def _remember_departed(
        self, slot: int, asset: Asset, offset: int, until: int, scale: bytes | None, result: BatchResult
    ) -> None:
        """It is let go of as of `offset`; its last snapshot says so, and covers the records below `until`."""
        history = self.assets.history
        departed = Departed(asset.since, offset, int(self.grid.positions.next_step[slot]), scale)
        forgotten = history.depart(asset.name, departed)
        if forgotten is not None:
            result.snapshots.append((forgotten, None))
        marker = Snapshot(
            since=asset.since,
            until=until,
            scale=scale,
            floor=departed.floor,
            evicted=offset,
            previous=asset.previous,
            sweeps=history.sweeps,
        )
        result.snapshots.append((asset.name, dump(marker)))

    def snapshots(self, processed: int | None = None) -> list[tuple[str, bytes | None]]:
        """Snapshots of all assets, evicted ones included, whatever was told before; none while it rebuilds.

        `processed`: the next offset; None = behind the last record.
        """
        if processed is None:
            processed = 0 if self._previous_offset is None else self._previous_offset + 1
        if processed < self._silent_until or not processed:
            return []
        self.grid.let_tell(self.assets.by_slot)
        history = self.assets.history
        self.assets.unsaved |= set(self.assets.by_slot)
        return [
            *self._snapshots(processed),
            *(
                (name, dump(Snapshot(since=gone.since, until=processed, scale=gone.scale, floor=gone.floor,
                                     evicted=gone.evicted, sweeps=history.sweeps)))
                for name, gone in history.departed.items()
            ),
        ]  # fmt: skip

    def untold(self, processed: int) -> list[tuple[str, bytes | None]]:
        """Snapshots of the assets that it has read in silence and that no batch has told of since.

        `processed`: the next offset, where it is known that no reading lies before it that was not handled.
        """
        if processed <= self._silent_until:
            return []
        self.grid.let_tell(self.assets.by_slot)
        return self._snapshots(processed)

    def conclude(self, in_hand: BatchInHand, changed: set[int], closed: Closed) -> Part:
        """What came of a batch. changed: slots whose snapshot is out of date, of whatever partition.

        closed: the steps that closed, as they are to be told with this batch.
        """
        result, counts, live = in_hand.result, in_hand.result.counts, self.assets.by_slot
        counts.received = counts.settled
        counts.held = sum(held.readings for held in self.assets.held())
        alarms = [PlacedAlarm(place, True, alarm) for place, alarm in in_hand.alarms]
        alarms += [PlacedAlarm(place, False, alarm) for place, alarm in result.cleared]
        self.assets.unsaved |= live.keys() & changed
        if len(in_hand.offsets):
            processed = int(in_hand.offsets[-1]) + 1
            if processed > self._silent_until:
                result.snapshots += self._snapshots(processed)
        return Part(
            alarms=alarms,
            scores=in_hand.scores,
            dead_letters=result.dead_letters,
            operating=[change for _, change in in_hand.operating],
            event_assets=result.event_assets,
            snapshots=result.snapshots,
            counts=counts,
            closed=closed,
            unknown=result.unknown,
            steps=[self._of_live(found) for found in in_hand.steps],
        )

    def _of_live(self, found: ScoredSteps) -> ScoredSteps:
        """The steps without those of assets that were evicted since."""
        live = self.assets.slots
        return found.select([place for place, name in enumerate(found.assets) if name in live])

    def forget(self) -> None:
        """The partition belongs to somebody else now: its slots are free."""
        for slot in list(self.assets.by_slot):
            self.decider.drop(slot)
            self.assets.let_go(slot)

    def _snapshots(self, processed: int) -> list[tuple[str, bytes | None]]:
        """Of the assets whose last one is out of date. `processed`: the next offset."""
        assets, kept = self.assets, self.assets.kept
        self._drop_outlived_windows()
        if kept.is_time(processed):
            slots = np.fromiter(assets.by_slot, np.int64, len(assets.by_slot))
            lows, lasts, since = self.grid.low(slots), assets.offsets.last[slots], assets.offsets.since[slots]
            for slot in kept.due(processed, slots, lows, lasts, since):
                if not kept.may_write:
                    break
                self._keep_windows(slot, processed)
        # A snapshot from before the restart may count further than this.
        settled = [slot for slot in assets.unsaved if assets.by_slot[slot].clock_guard.known_until <= processed]
        for slot in settled:
            if len(assets.by_slot[slot].clock_guard.refused) > MOST_REFUSED:
                self._keep_windows(slot, processed)
        assets.unsaved.difference_update(settled)
        return sorted((assets.by_slot[slot].name, self._snapshot(slot, processed)) for slot in settled)

    def _drop_outlived_windows(self) -> None:
        kept = self.assets.kept
        stirred = kept.stirred()
        if not len(stirred):
            return
        for slot in kept.outlived(stirred, self.grid.low(stirred)):
            kept.discard(slot)
            self.assets.unsaved.add(slot)

    def _keep_windows(self, slot: int, processed: int) -> None:
        """Put the windows of an asset into its snapshots, so that no record below `processed` is needed for it."""
        assets, guard = self.assets, self.assets.by_slot[slot].clock_guard
        if guard.known_until > processed or not assets.kept.may_fit(slot, processed):
            return
        windows = AssetWindows(
            read_slot(self.grid, slot), int(assets.offsets.last[slot]), guard.held, self.decider.latest.read(slot)
        )
        data = pack(windows)
        assets.kept.wrote(len(data))
        beside = len(self.decider.dump_head(self.decider.states[slot]) or b"")
        beside += len(self.decider.dump_scale(slot) or b"")
        if len(data) + beside > self._most_window_bytes:
            assets.kept.is_too_large(slot, processed)
            return
        assets.kept.keep(slot, processed, data)
        guard.refused = []
        assets.unsaved.add(slot)

    def _snapshot(self, slot: int, processed: int) -> bytes:
        assets, asset, state = self.assets, self.assets.by_slot[slot], self.decider.states[slot]
        positions = self.grid.positions
        stood = int(positions.stood[slot])
        guard, begin = asset.clock_guard, assets.kept.until(slot)
        if begin is None:
            begin = guard.known_from(int(self.grid.low(np.array([slot]))[0]))
        return dump(
            Snapshot(
                since=asset.since,
                until=processed,
                begin=begin,
                windows=assets.kept.data(slot),
                refused=guard.refused,
                held=[held.offset for held in guard.held],
                alarm=None if state.alarm is None else to_bytes(state.alarm),
                alarm_step=state.alarm_step,
                ended_step=state.ended_step,
                head=self.decider.dump_head(state),
                scale=self.decider.dump_scale(slot),
                stands=bool(positions.stands[slot]),
                stood=None if stood == NO_STEP else stood,
                next_step=None if self.spec.operating is None else int(positions.next_step[slot]),
                floor=asset.floor,
                previous=asset.previous,
                sweeps=assets.history.sweeps,
            )
        )


def heavy_cuts(values: Sequence[bytes | None]) -> list[int]:
    """Places at which records are cut, so that a segment fits into memory even if every one is a large block."""
    if bytes_in(values) < SEGMENT_BYTES:
        return []
    sizes = np.array([0 if value is None else len(value) for value in values], np.int64)
    parts: list[int] = np.flatnonzero(np.diff(np.cumsum(sizes) // SEGMENT_BYTES, prepend=0)).tolist()
    return parts
