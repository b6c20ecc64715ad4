"""Where to start reading a partition after an assignment, and the decision state to start with.

Windows are rebuilt by reading again from `low`, which the commit's metadata carries, in silence up to the committed
offset. Decision state comes from the compacted topic of state. The committed offset stays the true progress, so lag is
truthful.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import committed_offsets
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.clients.security import aiokafka_options

log = logging.getLogger(__name__)

POLL_MILLISECONDS = 500


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a partition when it is assigned. Offsets name the next record."""

    beginning: int
    end: int
    committed: int | None = None
    low: int | None = None
    """From the commit's metadata; None where an operator set the offset."""
    in_memory: int | None = None
    """The next offset of the live state that this worker still holds from before a rebalance."""


@dataclass(frozen=True, slots=True)
class Start:
    """Read from `offset`; below `silent_until` without effects. `lost` records were removed before they were read."""

    offset: int
    silent_until: int
    committed: int | None
    keep_state: bool = False
    restore_snapshots: bool = False
    lost: int = 0


def choose_start(standing: Standing) -> Start:
    """The decision, without any I/O. `standing.low` must have been found by other means if the metadata lacked it."""
    committed = standing.committed
    if committed is not None and committed > standing.end:
        # The topic was deleted and made again, or truncated: the offsets belong to another log.
        committed = None
    held = standing.in_memory
    if held is not None and (committed is None or committed <= held) and standing.beginning <= held <= standing.end:
        return Start(held, committed or 0, standing.committed, keep_state=True)
    if committed is None:
        # From the first record on, state is a function of the log alone; snapshots may stem from another log.
        return Start(standing.beginning, standing.beginning, None)
    resume = max(committed, standing.beginning)
    low = standing.low if standing.low is not None else standing.beginning
    return Start(
        offset=min(max(low, standing.beginning), resume),
        silent_until=resume,
        committed=committed,
        restore_snapshots=True,
        lost=resume - committed,
    )


def to_metadata(low: int) -> str:
    """What a commit carries.

    >>> from_metadata(to_metadata(7)), from_metadata(""), from_metadata("by hand")
    (7, None, None)
    """
    return orjson.dumps({"low": low}).decode()


def from_metadata(metadata: str) -> int | None:
    try:
        low = orjson.loads(metadata)["low"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None
    return low if isinstance(low, int) and low >= 0 else None


def snapshot_message(
    settings: Settings, bundle_id: str, partition: int, asset: str, data: bytes | None, offset: int
) -> Outgoing:
    """A snapshot of an asset's decision state that covers all records below `offset`; None removes it.

    The key names the group too: two groups that share the topic must not compact each other's snapshots away.
    """
    return Outgoing(
        settings.topic_state,
        orjson.dumps([settings.group, asset]),
        data,
        partition,
        (("offset", str(offset).encode()), ("bundle", bundle_id.encode())),
    )


class LogReader:
    """Reads logs without a group: their ends, records at an offset, snapshots."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer = AIOKafkaConsumer(
            **aiokafka_options(settings),
            client_id="stream-detector-reader",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=15_000,
            # It waits so long for the metadata of a topic that it meets for the first time, twice in every start.
            retry_backoff_ms=20,
        )

    async def __aenter__(self) -> Self:
        """Raises KafkaError when the brokers cannot be reached."""
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()
        if self._admin is not None:
            await self._admin.close()

    async def committed(self, partitions: set[int]) -> dict[int, int]:
        """Offsets that the group has committed, asked without being its member; none for a partition without one."""
        if not partitions:
            return {}
        if self._admin is None:
            admin = AIOKafkaAdminClient(**aiokafka_options(self._settings), request_timeout_ms=15_000)
            await admin.start()
            self._admin = admin
        found = await committed_offsets(self._admin, self._settings.group, self._of_readings(partitions))
        return {tp.partition: entry.offset for tp, entry in found.items()}

    async def ends(self, partitions: set[int]) -> dict[int, tuple[int, int]]:
        """(first offset, next offset) of partitions of the readings topic."""
        wanted = self._of_readings(partitions)
        beginnings = await self._consumer.beginning_offsets(wanted)
        ends = await self._consumer.end_offsets(wanted)
        return {tp.partition: (beginnings[tp], ends[tp]) for tp in wanted}

    async def low_by_time(self, partition: int, committed: int, beginning: int, rewind_seconds: float) -> int:
        """The offset `rewind_seconds` (of the records' Kafka timestamps) before the committed one."""
        if committed <= beginning:
            return beginning
        (tp,) = self._of_readings({partition})
        self._consumer.assign([tp])
        self._consumer.seek(tp, committed - 1)
        fetched = await self._consumer.getmany(tp, timeout_ms=5_000, max_records=1)
        records = fetched.get(tp)
        if not records:
            return beginning
        moment = max(0, records[0].timestamp - int(rewind_seconds * 1000))
        found = (await self._consumer.offsets_for_times({tp: moment})).get(tp)
        # The embedded broker knows no times; then all that is left is read again.
        return beginning if found is None else min(int(found.offset), committed)

    async def snapshots(self, bundle_id: str, ends: Mapping[int, int]) -> dict[int, dict[str, bytes]]:
        """The newest snapshot of every asset: {partition: {asset: data}} for the partitions in `ends`.

        `ends` are the next offsets of the readings: a snapshot beyond belongs to another log. The newest is the one
        that covers most, not the last one written: a worker that was suspended may write long after its successor.
        """
        wanted = [TopicPartition(self._settings.topic_state, number) for number in sorted(ends)]
        until = await self._consumer.end_offsets(wanted)
        self._consumer.assign(wanted)
        await self._consumer.seek_to_beginning(*wanted)
        newest: dict[int, dict[str, tuple[int, bytes | None]]] = {number: {} for number in ends}
        while True:
            left = [tp for tp in wanted if await self._consumer.position(tp) < until[tp]]
            if not left:
                break
            fetched = await self._consumer.getmany(*left, timeout_ms=POLL_MILLISECONDS)
            for tp, records in fetched.items():
                for record in records:
                    self._keep_newest(record, bundle_id, ends[tp.partition], newest[tp.partition])
        return {
            number: {asset: data for asset, (_, data) in found.items() if data is not None}
            for number, found in newest.items()
        }

    def _keep_newest(self, record: Any, bundle_id: str, end: int, newest: dict[str, tuple[int, bytes | None]]) -> None:
        headers = dict(record.headers)
        try:
            group, asset = orjson.loads(record.key)
            offset = int(headers["offset"])
            bundle = headers["bundle"].decode()
        except (orjson.JSONDecodeError, TypeError, ValueError, KeyError):
            log.warning(
                "topic %s holds a record that is no snapshot, at %d:%d", record.topic, record.partition, record.offset
            )
            return
        if group != self._settings.group or bundle != bundle_id or offset > end:
            return
        if asset not in newest or offset >= newest[asset][0]:
            newest[asset] = (offset, record.value)

    def _of_readings(self, partitions: set[int]) -> list[TopicPartition]:
        return [TopicPartition(self._settings.topic_readings, number) for number in sorted(partitions)]
