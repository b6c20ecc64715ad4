"""One partition: rule 1, then the grid, then decisions. A function of its log, however that is cut into batches.

A batch is handled in *segments*, which cross neither the offset up to which a restart reads in silence nor one at which
assets are evicted, and are not too large for memory.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from stream_detector.decoding.decoder import Decoder
from stream_detector.detection.grid.closed_steps import select
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.intake import Intake, Tally
from stream_detector.engine.assets import Assets
from stream_detector.engine.batch_result import BatchResult
from stream_detector.engine.decider import Decider
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.handling_order import HandlingOrder, as_array
from stream_detector.engine.limits import Limits
from stream_detector.engine.outcome import Outcome, RecordBatch
from stream_detector.engine.segment import Segment
from stream_detector.engine.snapshots import Snapshot, dump
from stream_detector.messages import to_bytes

SEGMENT_BYTES = 8 * 2**20
"""Records of about this size are decoded at once: a million numbers of a block take as much again in each column."""


class Partition:
    """Live state of one partition. `silent_until`: records below this offset rebuild state and have no other effect.

    `keep_steps`: outcomes tell every scored step.
    """

    def __init__(
        self,
        spec: DetectorSpec,
        decoder: Decoder,
        limits: Limits,
        known: Mapping[str, Snapshot],
        silent_until: int,
        keep_steps: bool,
    ) -> None:
        self.spec = spec
        self.grid = Grid(spec.grid, spec.window, len(spec.sensors), limits.slack_steps, limits.slack_cells)
        self.decider = Decider(spec, self.grid, keep_results=keep_steps)
        self.assets = Assets(
            self.grid, limits, spec.grid.furthest_ahead_seconds, known, silent_until, on_admit=self.decider.admit
        )
        self._intake = Intake(self.grid)
        self._decoder = decoder
        self._silent_until = silent_until
        self._previous_offset: int | None = None

    def low(self) -> int | None:
        """The oldest offset that live state still needs; None where nothing is held."""
        live = self.assets.by_slot
        if not live:
            return None
        low = int(self.grid.low(np.fromiter(live, np.int64, len(live))).min())
        return min([low, *(held.offset for held in self.assets.held())])

    def process(self, batch: RecordBatch, publish_scores: bool) -> Outcome:
        """Handle a batch."""
        offsets = as_array(batch.offsets)
        if not len(offsets):
            return Outcome()
        order, result = HandlingOrder(offsets), BatchResult(batch)
        self.decider.publish_scores = publish_scores
        sweeps = self.assets.sweeps(offsets, self._previous_offset)
        audible = int(np.searchsorted(offsets, self._silent_until))
        for begin, end in pairwise(sorted({0, len(offsets), audible, *sweeps, *heavy_cuts(batch)})):
            if begin in sweeps and begin >= audible:
                self._evict(sweeps[begin], begin, result)
            silent = begin < audible
            segment = Segment(batch, begin, end, self._decoder, self.assets, result, silent=silent)
            self._fill_grid(segment, order, silent=silent)
        self._previous_offset = int(offsets[-1])
        return self._conclude(order, result)

    def _fill_grid(self, segment: Segment, order: HandlingOrder, *, silent: bool) -> None:
        """Put the segment's readings into the grid, and what closes before the decider."""
        readings = segment.readings(order)
        if not len(readings):
            return
        tally = self._intake.tally = Tally()
        for closings in self._intake.take(readings, order.offset):
            if not silent:
                handled_at = order.offset[order.index[closings.record]]
                due = handled_at >= self.assets.decided_until[closings.slot]
                self.decider.add(closings if due.all() else select(closings, due))
        segment.result.count_readings(tally)

    def _evict(self, offset: int, place: int, result: BatchResult) -> None:
        """Let assets go as of `offset`, before the record at `place` of the batch."""
        for slot, asset in self.assets.evicted(offset):
            self.decider.release(slot, place)
            for held in asset.clock_guard.refuse_all():
                result.refuse(held, place)
            result.snapshots.append((asset.name, None))
            result.counts.assets_evicted += 1

    def _conclude(self, order: HandlingOrder, result: BatchResult) -> Outcome:
        decisions, counts, batch, live = self.decider.take(), result.counts, result.batch, self.assets.by_slot
        counts.received = counts.windowed + counts.late + counts.duplicate + counts.dead_lettered
        counts.held = sum(held.readings for held in self.assets.held())
        for found in (decisions.alarms, decisions.scores):
            found.sort(key=lambda pair: order.index[pair[0]])
        result.dead_letters.sort(key=lambda pair: pair[0])
        names = {slot: asset.name for slot, asset in live.items()} if decisions.results else {}
        unsaved = self.assets.unsaved
        unsaved |= decisions.changed
        if batch.offsets[-1] >= self._silent_until:
            result.snapshots += sorted((live[slot].name, self._snapshot(slot)) for slot in unsaved)
            unsaved.clear()
        return Outcome(
            alarms=[alarm for _, alarm in decisions.alarms],
            scores=[score for _, score in decisions.scores],
            dead_letters=[letter for _, letter in result.dead_letters],
            snapshots=result.snapshots,
            counts=counts,
            closed=decisions.closed,
            event_assets=result.event_assets,
            alarm_timestamps_ms=[batch.timestamps_ms[order.index[record]] for record, _ in decisions.alarms],
            steps=[found.of_assets(names) for found in decisions.results],
        )

    def _snapshot(self, slot: int) -> bytes:
        asset, state = self.assets.by_slot[slot], self.decider.states[slot]
        assert self._previous_offset is not None
        guard = asset.clock_guard
        return dump(
            Snapshot(
                since=asset.since,
                until=max(self._previous_offset + 1, guard.known_until),
                refused=guard.refused,
                held=[held.offset for held in guard.held],
                alarm=None if state.alarm is None else to_bytes(state.alarm),
                alarm_step=state.alarm_step,
                ended_step=state.ended_step,
                head=self.decider.dump_head(state),
            )
        )


def heavy_cuts(batch: RecordBatch) -> list[int]:
    """Where to cut a batch so that the columns of a segment fit into memory, though every record be a large block."""
    if sum(map(len, filter(None, batch.values))) < SEGMENT_BYTES:
        return []
    sizes = np.array([0 if value is None else len(value) for value in batch.values], np.int64)
    parts: list[int] = np.flatnonzero(np.diff(np.cumsum(sizes) // SEGMENT_BYTES, prepend=0)).tolist()
    return parts
