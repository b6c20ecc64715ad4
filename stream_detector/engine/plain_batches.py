"""The usual case: batches of different partitions that hold nothing but good records of assets that live.

They are read as one, and none of their records is looked at by itself: nearly all that a small batch costs are the
calls that it takes. Whatever is otherwise goes through segments (`segment`), with the same outcome.
"""

from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.fast_forms import Parsed
from stream_detector.decoding.routing import Share
from stream_detector.detection.grid.contents import Blocks, Contents
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.sorted_readings import Records, order_by_slot
from stream_detector.engine.batch_in_hand import NUMBER_BITS, BatchInHand, TakenTogether
from stream_detector.engine.handling_order import as_array
from stream_detector.engine.partition import Partition, heavy_cuts
from stream_detector.engine.segment import not_later
from stream_detector.engine.shared_state import SharedState

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class OwnBatch:
    """A batch and its partition, with those of its records that are about assets of this bundle.

    Attributes:
        share: these records; None: all.
        keys, values: of these. places: (N,) of these in the batch.
    """

    def __init__(self, partition: Partition, in_hand: BatchInHand, share: Share | None = None) -> None:
        self.partition, self.in_hand, self.share = partition, in_hand, share
        records, count = share or in_hand.batch, len(in_hand.offsets)
        self.keys, self.values = records.keys, records.values
        self.places: Ints | slice = slice(None) if share is None or len(share.keys) == count else share.places


class PlainBatches:
    """Batches that may be read as one.

    Attributes:
        parsed: of each batch what the parser made of it, where that is known.
    """

    def __init__(self, batches: Sequence[OwnBatch], decoder: Decoder, state: SharedState) -> None:
        self._batches = batches
        self._decoder = decoder
        self._state = state
        self._edges = np.cumsum([0, *(len(each.values) for each in batches)])
        self.parsed: list[Parsed | None] = [None] * len(batches)

    def read(self) -> TakenTogether | None:
        """All their readings; None where a record asks for a look at it, or a partition for one at its batch."""
        if not all(each.partition.is_settled(each.in_hand.offsets) for each in self._batches):
            return None
        values = list(chain.from_iterable(each.values for each in self._batches))
        parsed = None if heavy_cuts(values) else self._decoder.parse(values)
        if parsed is None:
            return None
        together = self._together_or_none(parsed)
        if together is None:
            self.parsed = [parsed.part(begin, end) for begin, end in pairwise(self._edges.tolist())]
        return together

    def _together_or_none(self, parsed: Parsed) -> TakenTogether | None:
        slots = self._slots() if parsed.is_plain else None
        if slots is None or self._are_watched(slots):
            return None
        plain = self._decoder.plain(parsed)
        if plain is None or not self._are_in_time(plain.last_time, slots):
            return None
        for each in self._batches:
            each.in_hand.result.count_plain(plain.kind, len(each.values))
        return self._together(slots, plain.contents)

    def _slots(self) -> Ints | None:
        """(R,) of each record; None where the asset of one does not live."""
        found = [map(each.partition.assets.slots_by_key.get, each.keys) for each in self._batches]
        try:
            return np.fromiter(chain.from_iterable(found), np.int64, int(self._edges[-1]))
        except TypeError:
            return None

    def _are_watched(self, slots: Ints) -> bool:
        """Rule 1: whether a record is of an asset of which each record is looked at."""
        spans = pairwise(self._edges.tolist())
        return any(
            each.partition.watches(slots[begin:end]) for each, (begin, end) in zip(self._batches, spans, strict=True)
        )

    def _are_in_time(self, times: Floats, slots: Ints) -> bool:
        """Rule 1: whether none of the records is far ahead of its asset, or of its Kafka timestamp."""
        grid, ahead = self._state.grid, self._state.spec.grid.furthest_ahead_seconds
        if not _follow_each_other(grid, times, slots, ahead):
            return False
        earliest = min(min(each.in_hand.batch.timestamps_ms) for each in self._batches)
        if earliest >= 0 and times.max() <= earliest / 1000.0 + ahead:
            return True
        stamps = [as_array(each.in_hand.batch.timestamps_ms)[each.places] for each in self._batches]
        return bool(not_later(times, np.concatenate(stamps), ahead).all())

    def _together(self, slots: Ints, contents: Contents) -> TakenTogether:
        offsets = np.concatenate([each.in_hand.offsets[each.places] for each in self._batches])
        self._state.offsets.last[slots] = offsets
        for each, (begin, end) in zip(self._batches, pairwise(self._edges.tolist()), strict=True):
            each.partition.note_records(each.in_hand.offsets, slots[begin:end], offsets[begin:end])
        readings = _readings_between(contents, self._edges)
        return TakenTogether(
            readings=[Records(slots, np.arange(len(slots)), contents)],
            offsets=offsets,
            handled_at=offsets,
            record=np.concatenate(
                [each.in_hand.order.index[each.places] + (each.in_hand.number << NUMBER_BITS) for each in self._batches]
            ),
            results=[(each.in_hand.result, count) for each, count in zip(self._batches, readings, strict=True)],
            begin=self._edges,
        )


def _follow_each_other(grid: Grid, times: Floats, slots: Ints, ahead: float) -> bool:
    """Whether each record (R,) is at most so many seconds ahead of its slot's watermark, or of the one before it."""
    reached = grid.positions.watermark[slots]
    if (times <= reached + ahead).all():
        return True
    order = order_by_slot(grid, slots)
    slots, times, reached = slots[order], times[order], reached[order]
    follows = np.flatnonzero(slots[1:] == slots[:-1]) + 1
    reached[follows] = np.maximum(reached[follows], times[follows - 1])
    return bool((times <= reached + ahead).all())


def _readings_between(contents: Contents, edges: Ints) -> list[int]:
    """How many readings the records between two edges (K + 1,) have; all have as many, unless they are blocks."""
    if isinstance(contents, Blocks):
        upto = np.append(contents.begin, len(contents))
        counts: list[int] = np.diff(upto[edges]).tolist()
    else:
        counts = (np.diff(edges) * (len(contents) // int(edges[-1]))).tolist()
    return counts
