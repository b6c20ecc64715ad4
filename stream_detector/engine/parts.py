"""What came of a batch for each bundle, put together in an order that follows from the log alone."""

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple, TypeVar

from msgspec import Struct, field

from stream_detector.decoding.unknown_names import NONE_UNKNOWN, UnknownNames
from stream_detector.engine.outcome import Closed, Counts, Outcome, RecordBatch, ScoredSteps
from stream_detector.messages import Alarm, DeadLetter, OperatingChange, Score

Sum = TypeVar("Sum", Counts, Closed)


class PlacedAlarm(NamedTuple):
    """`place`: in the batch, of the record that closed its step; where not `decided`, before which it is evicted."""

    place: int
    decided: bool
    alarm: Alarm


class Part(Struct):
    """What came of a batch for the assets of one bundle. Numbers are places in the batch; the rest as in `Outcome`."""

    alarms: list[PlacedAlarm] = field(default_factory=list)
    scores: list[tuple[int, Score]] = field(default_factory=list)
    dead_letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    operating: list[OperatingChange] = field(default_factory=list)
    event_assets: list[tuple[int, str]] = field(default_factory=list)
    snapshots: list[tuple[str, bytes | None]] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    closed: Closed = field(default_factory=Closed)
    unknown: UnknownNames = NONE_UNKNOWN
    steps: list[ScoredSteps] = field(default_factory=list)


def joined(batch: RecordBatch, parts: Sequence[Part]) -> Outcome:
    """The outcome of a batch. The parts come in an order that is always the same."""
    alarms = [alarm for part in parts for alarm in part.alarms]
    alarms.sort(key=lambda each: (each.place, each.decided, each.alarm.asset))
    # A record may hold readings of several assets, and their slots are no function of the log.
    scores = sorted([pair for part in parts for pair in part.scores], key=lambda pair: (pair[0], pair[1].asset))
    letters = [pair for part in parts for pair in part.dead_letters]
    letters.sort(key=lambda pair: (pair[0], pair[1].offset, pair[1].reason))
    events = [pair for part in parts for pair in part.event_assets]
    events.sort(key=lambda pair: pair[0])
    unknown = NONE_UNKNOWN
    for part in parts:
        unknown = unknown.plus(part.unknown)
    return Outcome(
        alarms=[each.alarm for each in alarms],
        scores=[score for _, score in scores],
        dead_letters=[letter for _, letter in letters],
        operating=[change for part in parts for change in part.operating],
        snapshots=[pair for part in parts for pair in part.snapshots],
        counts=_sum(Counts, [part.counts for part in parts]),
        closed=_sum(Closed, [part.closed for part in parts]),
        event_assets=[asset for _, asset in events],
        unknown=unknown,
        alarm_timestamps_ms=[batch.timestamps_ms[each.place] for each in alarms],
        steps=[found for part in parts for found in part.steps],
    )


def _sum(kind: type[Sum], parts: Sequence[Sum]) -> Sum:
    """Every number and list of the parts, added up."""
    if len(parts) == 1:
        return parts[0]
    total = kind()
    for each in fields(total):
        for part in parts:
            setattr(total, each.name, getattr(total, each.name) + getattr(part, each.name))
    return total
