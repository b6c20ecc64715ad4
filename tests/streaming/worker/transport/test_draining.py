"""What is drained in columns is what aiokafka's own reader gives, record by record."""

import gc
import struct
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.streaming.worker.transport.draining import _take
from tests.support.properties import examples

PARTITION = TopicPartition("readings", 0)
ATTRIBUTES, CRC = struct.calcsize(">qiibI"), struct.calcsize(">qiib")
CONTROL, ABORT, COMMIT = 0x20, struct.pack(">HH", 0, 0), struct.pack(">HH", 0, 1)


@dataclass
class Batch:
    """A batch at `offset`: of records, or (`marker`) the end of a producer's transaction."""

    offset: int
    count: int
    producer: int
    transactional: bool
    marker: bytes | None
    gzip: bool

    @property
    def records(self) -> int:
        return 1 if self.marker is not None else self.count

    def to_bytes(self) -> bytearray:
        marked = self.marker is not None
        builder = DefaultRecordBatchBuilder(
            2, 1 if self.gzip else 0, self.transactional or marked, self.producer, 0, 0, 1 << 20
        )
        for number in range(self.records):
            offset = self.offset + number
            key = self.marker if marked else (None if offset % 5 == 0 else b"key-%d" % offset)
            value = None if offset % 7 == 0 else b"value-%d" % offset
            builder.append(number, timestamp=1_000 + offset * 3, key=key, value=value, headers=[("h", b"x")])
        raw = bytearray(builder.build())
        struct.pack_into(">q", raw, 0, self.offset)
        if marked:
            (attributes,) = struct.unpack_from(">h", raw, ATTRIBUTES)
            struct.pack_into(">h", raw, ATTRIBUTES, attributes | CONTROL)
            struct.pack_into(">I", raw, CRC, calc_crc32c(memoryview(raw)[ATTRIBUTES:]))
        return raw


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Batch], list[tuple[int, int]], int]:
    """Batches, the aborted transactions as the broker lists them, and the offset that was asked for."""
    batches: list[Batch] = []
    begun: dict[int, int] = {}
    aborted: list[tuple[int, int]] = []
    offset = draw(st.integers(0, 50))
    for _ in range(draw(st.integers(1, 8))):
        producer = draw(st.integers(1, 3))
        if producer in begun and draw(st.booleans()):
            marker = draw(st.sampled_from([ABORT, COMMIT]))
            if marker == ABORT:
                aborted.append((producer, begun[producer]))
            del begun[producer]
            batches.append(Batch(offset, 1, producer, True, marker, False))
        else:
            transactional = producer in begun or draw(st.booleans())
            if transactional:
                begun.setdefault(producer, offset)
            batches.append(Batch(offset, draw(st.integers(1, 6)), producer, transactional, None, draw(st.booleans())))
        # A hole behind it, as compaction leaves them.
        offset = batches[-1].offset + batches[-1].records + draw(st.sampled_from([0, 0, 3]))
    wanted = batches[0].offset + draw(st.integers(0, batches[0].records - 1))
    return batches, aborted, wanted


class _Assignment:
    """As much of a consumer's assignment as a fetch result looks at."""

    active, paused = True, False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, _partition: TopicPartition) -> Any:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def result_of(raw: bytes, aborted: list[tuple[int, int]], offset: int) -> tuple[FetchResult, _Assignment]:
    records = PartitionRecords(PARTITION, MemoryRecords(raw), aborted, offset, None, None, True, READ_COMMITTED)
    assignment = _Assignment(offset)
    return FetchResult(PARTITION, assignment=assignment, partition_records=records, backoff=0), assignment


@settings(max_examples=examples(200))
@given(logs(), st.integers(1, 12))
def test_the_columns_hold_what_the_stock_reader_gives_one_by_one(
    log: tuple[list[Batch], list[tuple[int, int]], int], most: int
) -> None:
    batches, aborted, offset = log
    raw = b"".join(batch.to_bytes() for batch in batches)
    stock, stock_assignment = result_of(raw, aborted, offset)
    expected = [(r.offset, r.key, r.value, r.timestamp, r.headers) for r in stock.getall()]

    ours, assignment = result_of(raw, aborted, offset)
    found: list[tuple[Any, ...]] = []
    while ours.has_more():
        columns = _take(ours, PARTITION, most, with_headers=True)
        fields = (columns.offsets, columns.keys, columns.values, columns.timestamps_ms, map(tuple, columns.headers))
        rows = list(zip(*fields, strict=True))
        assert all(row[0] < assignment.position for row in rows)
        found += rows

    assert found == expected
    assert assignment.position == stock_assignment.position


def test_a_batch_with_a_wrong_checksum_is_refused_and_the_position_stays() -> None:
    raw = Batch(0, 3, 1, False, None, False).to_bytes() + Batch(3, 3, 1, False, None, False).to_bytes()
    raw[-1] ^= 1
    result, assignment = result_of(bytes(raw), [], 0)
    with pytest.raises(CorruptRecordException):
        _take(result, PARTITION, 100)
    assert assignment.position == 0
    # As in the stock reader: what was half read is given up and fetched again.
    assert not len(_take(result, PARTITION, 100))
    assert not result.has_more()


def test_whole_batches_are_taken_until_there_are_enough_records() -> None:
    raw = b"".join(Batch(4 * number, 4, 1, False, None, False).to_bytes() for number in range(5))
    result, assignment = result_of(bytes(raw), [], 0)
    assert list(_take(result, PARTITION, 6).offsets) == list(range(8))
    assert assignment.position == 8


def test_a_fetch_that_is_drained_is_let_go_of_without_the_garbage_collector() -> None:
    result, _ = result_of(bytes(Batch(0, 5, -1, False, None, False).to_bytes()), [], 0)
    fetched = weakref.ref(result._partition_records)
    gc.disable()
    try:
        _take(result, PARTITION, 100)
        assert fetched() is None
    finally:
        gc.enable()
