"""Dead letters: the record as it came, and why it could not be used."""

from base64 import b64encode

from stream_detector.engine.clock_guard import HeldRecord
from stream_detector.engine.outcome import RecordBatch
from stream_detector.messages import DeadLetter

RAW_BYTES = 64 * 1024
"""Bytes of a record's value, and of its key, that a dead letter keeps."""


def letter(batch: RecordBatch, index: int, reason: str, detail: str) -> DeadLetter:
    """The dead letter of the record at `index` of the batch."""
    offset, timestamp_ms = batch.offsets[index], batch.timestamps_ms[index]
    key, raw = batch.keys[index], batch.values[index]
    return letter_of(batch.topic, batch.partition, offset, key, raw, timestamp_ms, reason, detail)


def letter_of_held(batch: RecordBatch, held: HeldRecord, reason: str, detail: str) -> DeadLetter:
    """The dead letter of a record that was held aside, perhaps in an earlier batch of the same partition."""
    where = batch.topic, batch.partition, held.offset
    return letter_of(*where, held.key, held.raw, held.timestamp_ms, reason, detail)


def letter_of(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    raw: bytes | None,
    timestamp_ms: int,
    reason: str,
    detail: str,
) -> DeadLetter:
    """The dead letter of any record, whatever it came from."""
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=int(offset),
        reason=reason,
        # A detail quotes what was found; half a surrogate pair cannot be written as UTF-8.
        detail=detail.encode("utf-8", "replace").decode(),
        raw=None if raw is None else b64encode(raw[:RAW_BYTES]).decode(),
        key=None if key is None else b64encode(key[:RAW_BYTES]).decode(),
        timestamp_ms=int(timestamp_ms),
    )
