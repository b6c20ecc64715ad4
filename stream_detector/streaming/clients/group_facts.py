"""What a consumer group has written down about itself in the topic of state, beside its snapshots.

Every later worker and an audit go by these facts. A fact lies in the partition that it speaks of, and is compacted by
its key, which begins with the group and the kind of the fact.

| key | value | meaning |
|---|---|---|
| `[group, "bundle", partition, offset]` | `{"bundle": id, "low": offset or null, "limits": {...}}` | `BundleSwitch` |
| `[group, "moved", partition, asset]` | `{"offset": offset}` | `Departure` |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from stream_detector.engine.limits import Limits
from stream_detector.settings import Settings
from stream_detector.streaming.clients.group_limits import limits_from_json, limits_to_json
from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.clients.producer import Outgoing


@dataclass(frozen=True, slots=True)
class BundleSwitch:
    """From reading `offset` of its partition on, `bundle_id` decides.

    `low`: from there its windows were first read, in silence; None = it began aloud, with nothing before it.
    `limits`: those that hold for assets meanwhile; None = not written down.
    """

    partition: int
    offset: int
    bundle_id: str
    low: int | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Departure:
    """The asset lives in another partition; in this one its life ended at reading `offset`."""

    partition: int
    asset: str
    offset: int


Fact = BundleSwitch | Departure

FactKey = tuple[str, int, int | str]
"""(kind, partition, what it is about)."""


@dataclass(frozen=True, slots=True)
class FactRecord:
    """A fact as it lies in the log; `fact` None = it was taken back. `position`: its offset in the topic of state."""

    key: FactKey
    fact: Fact | None
    position: int


def key_of(fact: Fact) -> FactKey:
    if isinstance(fact, BundleSwitch):
        return "bundle", fact.partition, fact.offset
    return "moved", fact.partition, fact.asset


def fact_message(settings: Settings, fact: Fact, *, taken_back: bool = False) -> Outgoing:
    """The record that says it, or that it no longer holds."""
    value = None if taken_back else orjson.dumps(_body(fact))
    return Outgoing(settings.topic_state, orjson.dumps([settings.group, *key_of(fact)]), value, fact.partition)


def _body(fact: Fact) -> dict[str, Any]:
    if isinstance(fact, Departure):
        return {"offset": fact.offset}
    limits = None if fact.limits is None else limits_to_json(fact.limits)
    return {"bundle": fact.bundle_id, "low": fact.low, "limits": limits}


def is_fact(record: KafkaRecord) -> bool:
    """Whether the record is a fact of some group and no snapshot, whose key has two parts."""
    return (record.key or b"").count(b",") > 1 and len(_key(record)) > 2


def read_fact(record: KafkaRecord, group: str) -> FactRecord | None:
    """What `fact_message` wrote for this group; None for any other record, e.g. a fact of a later version."""
    try:
        owner, kind, partition, about = _key(record)
        if owner != group or not isinstance(partition, int):
            return None
        fact = READ[kind](partition, about, orjson.loads(record.value)) if record.value is not None else None
    except (KeyError, TypeError, ValueError):
        return None
    return FactRecord((kind, partition, about), fact, record.offset)


def _key(record: KafkaRecord) -> list[Any]:
    try:
        key = orjson.loads(record.key or b"")
    except orjson.JSONDecodeError:
        return []
    return key if isinstance(key, list) else []


def _switch(partition: int, about: Any, body: Mapping[str, Any]) -> Fact:
    low, limits = body["low"], body.get("limits")
    return BundleSwitch(
        partition,
        int(about),
        str(body["bundle"]),
        None if low is None else int(low),
        None if limits is None else limits_from_json(limits),
    )


def _departure(partition: int, about: Any, body: Mapping[str, Any]) -> Fact:
    return Departure(partition, str(about), int(body["offset"]))


READ: Mapping[str, Callable[[int, Any, Mapping[str, Any]], Fact]] = {"bundle": _switch, "moved": _departure}
