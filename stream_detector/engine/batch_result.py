"""Counts, dead letters and snapshots of a batch, as its segments add them up."""

from msgspec import Struct, field

from stream_detector.decoding.decoded import BLOCK, FUTURE, ROW, Decoded
from stream_detector.decoding.unknown_names import NONE_UNKNOWN, UnknownNames
from stream_detector.engine.clock_guard import HeldRecord
from stream_detector.engine.dead_letters import letter, letter_of_held
from stream_detector.engine.outcome import Counts, RecordBatch
from stream_detector.messages import Alarm, DeadLetter


class BatchResult(Struct):
    """The sum over the segments of a batch.

    Attributes:
        dead_letters: with the place in the batch at which each was settled.
        cleared: alarms of evicted assets, with the place before which they were.
        snapshots: (asset, bytes); None where an evicted one is forgotten.
        event_assets: the asset of each event, with the place of its record.
        unknown: the names that were ignored.
    """

    batch: RecordBatch
    counts: Counts = field(default_factory=Counts)
    dead_letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    cleared: list[tuple[int, Alarm]] = field(default_factory=list)
    snapshots: list[tuple[str, bytes | None]] = field(default_factory=list)
    event_assets: list[tuple[int, str]] = field(default_factory=list)
    unknown: UnknownNames = NONE_UNKNOWN

    def reject(self, place: int, readings: int, reason: str, detail: str) -> None:
        """The record at `place` of the batch, or so many readings of it, are a dead letter."""
        self.dead_letters.append((place, letter(self.batch, place, reason, detail)))
        self.counts.dead_lettered += readings

    def refuse(self, held: HeldRecord, place: int) -> None:
        """Rule 1 turns away a record that it held, because of the record at `place`."""
        detail = "far ahead of the asset's other records"
        self.dead_letters.append((place, letter_of_held(self.batch, held, FUTURE, detail)))
        self.counts.dead_lettered += held.readings

    def count_decoded(self, decoded: Decoded) -> None:
        """Add the decoded records by their kind, and what was missing and unknown in them."""
        counts = self.counts
        counts.missing += decoded.missing
        counts.ignored += decoded.unknown.readings
        self.unknown = self.unknown.plus(decoded.unknown)
        counts.row_records += decoded.rows
        counts.block_records += decoded.blocks
        counts.events += decoded.events
        counts.reading_records += len(decoded.index) - decoded.rows - decoded.blocks - decoded.events

    def count_plain(self, kind: str, records: int) -> None:
        """Add so many records of one form."""
        if kind == ROW:
            self.counts.row_records += records
        elif kind == BLOCK:
            self.counts.block_records += records
        else:
            self.counts.reading_records += records

    def count_readings(self, readings: int, late: int, duplicate: int) -> None:
        """Add so many readings that went into the grid, of which so many were late or duplicate."""
        self.counts.windowed += readings - late - duplicate
        self.counts.late += late
        self.counts.duplicate += duplicate
