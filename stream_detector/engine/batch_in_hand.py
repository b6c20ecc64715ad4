"""Batches of different partitions on their way through an engine together, and what of them goes into the grid at once.

Each batch costs about the same however few records it has; those that one fetch brings are handled as one.
"""

from collections.abc import Sequence
from enum import Enum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.detection.grid.contents import EVENT_SENSOR, Cells
from stream_detector.detection.grid.intake import Tally
from stream_detector.detection.grid.sorted_readings import Readings, Records
from stream_detector.engine.batch_result import BatchResult
from stream_detector.engine.decider import Decisions
from stream_detector.engine.handling_order import HandlingOrder, as_array
from stream_detector.engine.outcome import RecordBatch, ScoredSteps
from stream_detector.messages import Alarm, OperatingChange, Score

Ints = NDArray[np.int64]

NUMBER_BITS = 32
"""A record of several batches is (number of its batch << 32) + the place in the batch at which it takes effect."""

PLACE_MASK = 2**NUMBER_BITS - 1


class BatchInHand:
    """A batch on its way. `number`: which one of those that are handled together.

    Attributes:
        order, result: when its records take effect, and what came of them so far.
        alarms, scores, operating: what was decided with it, with the places of its records.
        steps: those that were scored with it.
    """

    def __init__(self, batch: RecordBatch, number: int = 0) -> None:
        self.batch = batch
        self.number = number
        self.offsets = as_array(batch.offsets)
        self.order = HandlingOrder(self.offsets)
        self.result = BatchResult(batch)
        self.alarms: list[tuple[int, Alarm]] = []
        self.scores: list[tuple[int, Score]] = []
        self.operating: list[tuple[int, OperatingChange]] = []
        self.steps: list[ScoredSteps] = []


def share_out(decisions: Decisions, batches: Sequence[BatchInHand]) -> None:
    """Give each batch what was decided with its records."""
    for name in ("alarms", "scores", "operating"):
        for record, message in getattr(decisions, name):
            getattr(batches[record >> NUMBER_BITS], name).append((record & PLACE_MASK, message))
    for records, found in decisions.results:
        numbers = records >> NUMBER_BITS
        for number in sorted(set(numbers.tolist())):
            batches[number].steps.append(found.select(np.flatnonzero(numbers == number).tolist()))


class AtClosing(Enum):
    """What becomes of the steps that close with readings. All but the first is of a log that is read again."""

    DECIDE = "they are scored and decided about"
    FOLLOW = "heads take note of them: no snapshot knows of them, for another bundle has decided on them"
    LEAVE = "nothing: snapshots know what was decided, and heads are as they say"


class Taken(Struct, frozen=True):
    """Readings of a batch that go into the grid next. `result`: counts them."""

    of: BatchInHand
    readings: Records | Readings
    result: BatchResult
    at_closing: AtClosing


class TakenTogether(Struct, frozen=True):
    """What several batches put into the grid at once. The records are numbered through all of them.

    A record has a *place* in its own batch, and a *number* among all batches here, which is the index of all arrays
    (E,). Of two batches of offsets 70 to 72 and 500 to 501, of which the first releases with 72 the record at 66 that
    the clock guard held, the numbers are 0, 1, 2, (3: the released one), 4, 5; `offsets` is 70, 71, 72, 66, 500, 501,
    `handled_at` 70, 71, 72, 72, 500, 501, `begin` 0, 4, 6, and `record` names batch and place: (0, 0), (0, 1), (0, 2),
    (0, 2), (1, 0), (1, 1).

    Attributes:
        readings: of each kind of contents those of all batches.
        offsets: (E,) Kafka offset of each record.
        handled_at: (E,) the offset with which it takes effect.
        record: (E,) see `NUMBER_BITS`.
        results: of each batch, with how many readings it has here; they count them.
        begin: (K + 1,) the first record of each batch, and the end.
    """

    readings: Sequence[Records | Readings]
    offsets: Ints
    handled_at: Ints
    record: Ints
    results: Sequence[tuple[BatchResult, int]]
    begin: Ints

    @classmethod
    def of(cls, parts: Sequence[Taken]) -> "TakenTogether":
        orders = [part.of.order for part in parts]
        begin = np.cumsum([0, *(len(order.index) for order in orders)])
        kinds: dict[object, list[Records | Readings]] = {}
        for part, first in zip(parts, begin.tolist(), strict=False):
            kind = type(part.readings.contents) if isinstance(part.readings, Records) else Readings
            kinds.setdefault(kind, []).append(part.readings.renumbered(first))
        return cls(
            readings=[_together(mine) for mine in kinds.values()],
            offsets=_joined([order.offset for order in orders]),
            handled_at=_joined([order.offset[order.index] for order in orders]),
            record=_joined([(part.of.number << NUMBER_BITS) + part.of.order.index for part in parts]),
            results=[(part.result, _readings_in(part.readings)) for part in parts],
            begin=begin,
        )

    def count(self, tally: Tally) -> None:
        """Add to the counts of each batch what the grid did with its readings."""
        late, duplicate = self._per_batch(tally.late), self._per_batch(tally.duplicate)
        for (result, readings), its_late, its_duplicate in zip(self.results, late, duplicate, strict=True):
            result.count_readings(readings, its_late, its_duplicate)

    def _per_batch(self, records: Sequence[Ints]) -> list[int]:
        """How many of the records are of each batch."""
        if not records:
            return [0] * len(self.results)
        owner = np.searchsorted(self.begin, np.concatenate(records), side="right") - 1
        counts: list[int] = np.bincount(owner, minlength=len(self.results)).tolist()
        return counts


def _joined(arrays: Sequence[Ints]) -> Ints:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _together(parts: Sequence[Records | Readings]) -> Records | Readings:
    """All of them; they are of one kind."""
    if len(parts) == 1:
        return parts[0]
    records = [part for part in parts if isinstance(part, Records)]
    return Records.join(records) if records else Readings.join([part for part in parts if isinstance(part, Readings)])


def _readings_in(readings: Records | Readings) -> int:
    """How many readings there are; an event is none."""
    single = readings.contents if isinstance(readings, Records) else readings
    if not isinstance(single, Cells | Readings):
        return len(single)
    return int(np.count_nonzero(single.sensor != EVENT_SENSOR))
