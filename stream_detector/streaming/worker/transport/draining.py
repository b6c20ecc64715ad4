"""Takes what aiokafka has fetched as columns, a producer's whole batch at a time, with no Python object a record.

aiokafka's `getmany` sends every record through a generator and makes a dataclass of eleven fields of it, which took a
third of a worker's time. Here the C extension unpacks a batch in one go (private interface; the version is pinned).
What may be read is decided as there: records of aborted transactions, markers and holes are passed over.
"""

# ruff: noqa: SLF001 - this is aiokafka's own `Fetcher.fetched_records`, which it offers in no public form

import asyncio
import time
from collections.abc import Collection
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from stream_detector.streaming.worker.transport.fetched import Columns


async def drain(
    fetcher: Fetcher,
    partitions: Collection[TopicPartition],
    timeout: float | None,  # noqa: ASYNC109 - theirs
    most: int,
    with_headers: bool = False,
) -> dict[TopicPartition, Columns]:
    """What is there of these partitions, about `most` records; waits up to `timeout` seconds for some.

    `partitions` may change meanwhile: it is looked at again whenever a waiter of the fetcher is woken. A producer's
    batch is never cut, so that there may be more. As `Fetcher.fetched_records`, errors included.
    """
    deadline = time.monotonic() + (timeout or 0.0)
    while True:
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        drained = _drain_now(fetcher, partitions, most, with_headers)
        if drained or not timeout:
            return drained
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=max(0.0, deadline - time.monotonic()))
        if not done or fetcher._closed:
            waiter.cancel()
            return {}
        waiter.result()  # raises what the broker refused


def _drain_now(
    fetcher: Fetcher, partitions: Collection[TopicPartition], most: int, with_headers: bool
) -> dict[TopicPartition, Columns]:
    drained: dict[TopicPartition, Columns] = {}
    for partition in list(fetcher._records):
        if partitions and partition not in partitions:
            if not fetcher._subscriptions.is_assigned(partition):
                del fetcher._records[partition]
            continue
        result = fetcher._records[partition]
        if not isinstance(result, FetchResult):
            if drained:
                return drained  # the error is raised by the next call
            del fetcher._records[partition]
            fetcher._notify(fetcher._wait_consume_future)
            result.check_raise()
            continue
        columns = _take(result, partition, most, with_headers)
        if not result.has_more():
            del fetcher._records[partition]
            fetcher._notify(fetcher._wait_consume_future)
        if len(columns):
            drained[partition] = columns
            most -= len(columns)
            if most <= 0:
                return drained
    return drained


def _take(result: FetchResult, partition: TopicPartition, most: int, with_headers: bool = False) -> Columns:
    if not result.check_assignment(partition) or not result.has_more():
        return Columns()
    source = result._partition_records
    # Its own iterator, never begun here, refers back to it: the bytes of every fetch would wait for the collector.
    source._records_iterator = None
    records: list[Any] = []
    while len(records) < most and source._records.has_next():
        records += _next_batch(source)
    result._update_position()
    if not source._records.has_next():
        result._partition_records = None
    return _columns(records, with_headers)


def _next_batch(source: PartitionRecords) -> list[Any]:
    """The records of the next batch that may be read; the position moves past the batch."""
    batch = source._records.next_batch()
    if source._check_crcs and not batch.validate_crc():
        raise CorruptRecordException(f"invalid CRC - {source._tp}")
    begin = source.next_fetch_offset
    source.next_fetch_offset = batch.next_offset
    if source._isolation_level == READ_COMMITTED and batch.producer_id is not None:
        source._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and source._contains_abort_marker(batch):
            source._aborted_producers.discard(batch.producer_id)
        if batch.is_transactional and batch.producer_id in source._aborted_producers:
            return []
    if batch.is_control_batch:
        return []
    records = list(batch)
    if records and records[0].offset < begin:
        # The position lies within the batch.
        return [record for record in records if record.offset >= begin]
    return records


def _columns(records: list[Any], with_headers: bool) -> Columns:
    if not records:
        return Columns()
    first, last = records[0].offset, records[-1].offset
    whole = last - first + 1 == len(records)
    return Columns(
        range(first, last + 1) if whole else [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
        [record.headers for record in records] if with_headers else [],
    )
