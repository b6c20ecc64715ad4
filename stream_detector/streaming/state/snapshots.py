"""Snapshots of assets' decision state as records of the compacted topic of state."""

import logging

import orjson
from msgspec import Struct

from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.state.group_facts import TERM_UNSAID

log = logging.getLogger(__name__)


class SnapshotRecord(Struct, frozen=True):
    """One asset's decision state after all readings below `offset`; `data` None = the asset is gone.

    `term`: in which it was written (`BundleSwitch`). `timestamp_ms`: of the record in the topic of state. `late`: a
    worker wrote it that was suspended, for another term had begun before.
    """

    group: str
    bundle_id: str
    asset: str
    offset: int
    data: bytes | None
    term: int = 0
    timestamp_ms: int = -1
    late: bool = False


def snapshot_message(
    settings: Settings, bundle_id: str, partition: int, asset: str, data: bytes | None, offset: int, term: int = 0
) -> Outgoing:
    """A snapshot of an asset's decision state that covers all records below `offset`; None removes it.

    The key names the group too: two groups that share the topic must not compact each other's snapshots away.
    """
    return Outgoing(
        settings.topic_state,
        orjson.dumps([settings.group, asset]),
        data,
        partition,
        (("offset", str(offset).encode()), ("bundle", bundle_id.encode()), ("term", str(term).encode())),
    )


def read_snapshot(record: KafkaRecord) -> SnapshotRecord | None:
    """What `snapshot_message` wrote; None (and a warning) for a record that is no snapshot."""
    headers = dict(record.headers)
    try:
        group, asset = orjson.loads(record.key or b"")
        return SnapshotRecord(
            group,
            headers["bundle"].decode(),
            asset,
            int(headers["offset"]),
            record.value,
            int(headers["term"]) if "term" in headers else TERM_UNSAID,
            record.timestamp,
        )
    except (orjson.JSONDecodeError, TypeError, ValueError, KeyError):
        log.warning(
            "topic %s holds a record that is no snapshot, at %d:%d", record.topic, record.partition, record.offset
        )
        return None
