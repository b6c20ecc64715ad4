"""What a consumer group has written down about itself in the topic of state, beside its snapshots.

Every later worker and an audit go by these facts. A fact lies in the partition that it speaks of, and is compacted by
its key, which begins with the group and the kind of the fact.

| key | value | meaning |
|---|---|---|
| `[group, "bundle", partition, offset, term]` | `{"bundle", "low", "limits", "ids", "by", "lines"}` | `BundleSwitch` |
| `[group, "moved", partition, asset, offset]` | `{}` | `Departure` |
| `[group, "silent", partition, asset]` | `{"heard", "offset"}` | `Silence` |
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import astuple

from stream_detector.decoding.held_table import HeldLine, HeldTable
from stream_detector.engine.limits import Limits
from stream_detector.messages import EARLIEST, LATEST
from stream_detector.settings import Settings
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.state.group_limits import limits_from_json, limits_to_json

SILENT = "silent"
"""The kind of a `Silence`."""

TERM_UNSAID = -1
"""In a record of a version that knew no terms, until it is known after what it was written."""


class BundleSwitch(Struct, frozen=True):
    """From reading `offset` of its partition on, `bundle_id` decides.

    `low`: from there its windows were first read, in silence; None = it began aloud, with nothing before it.
    `limits`: those that hold for assets meanwhile; None = not written down.
    `term`: counts the switches of the partition, those to the same offset included; snapshots and alarms name theirs.
    `id_term`: the term that goes into the ids of alarms, so that no alarm of a bundle that comes back has the id of one
    that it raised before and could not commit. A group that has always run one bundle stays at 0. A control record
    counts one more than the highest so far: how often a beginning was repeated makes no other ids behind it.
    `by_record`: a control record at `offset` says so, rather than a worker that was started with another bundle.
    `held`: the lines of a table of bundles; None = it is a bundle, or its lines were not written down.
    """

    partition: int
    offset: int
    bundle_id: str
    low: int | None = None
    limits: Limits | None = None
    term: int = 0
    id_term: int = 0
    by_record: bool = False
    held: HeldTable | None = None

    @property
    def of_line(self) -> bool:
        """Whether a line of a table changed, and other assets of the group are not disturbed."""
        return self.held is not None and self.held.is_changed

    @property
    def highest_id_term(self) -> int:
        """Of all its lines, where it is of a table."""
        lines = () if self.held is None else self.held.lines
        return max(self.id_term, *(line.id_term for line in lines), 0)

    def since(self, asset: str) -> int:
        """The term since which whoever decides for the asset now has done so without interruption."""
        return self.term if self.held is None else self.held.since(asset)

    def undisturbed(self, snapshots: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
        """Those of the assets of which this switch changes nothing."""
        return {asset: data for asset, data in snapshots if data is not None and self.since(asset) != self.term}

    @property
    def order(self) -> tuple[int, int]:
        """By which switches follow each other; those of a version without terms share one."""
        return self.term, self.offset


class Departure(Struct, frozen=True):
    """The asset lives in another partition; in this one its life ended at reading `offset`."""

    partition: int
    asset: str
    offset: int


class Silence(Struct, frozen=True):
    """The asset has sent nothing that was read since event time `heard` (epoch seconds), nor at `offset` or behind it.

    It decides nothing. It outlasts snapshots, which a change of bundle removes, so that whoever decides then still
    shows the asset as silent.
    """

    partition: int
    asset: str
    heard: float
    offset: int


Fact = BundleSwitch | Departure | Silence


def newest_switch(facts: Iterable[Fact]) -> BundleSwitch | None:
    """The switch of bundle that holds now."""
    switches = [fact for fact in facts if isinstance(fact, BundleSwitch)]
    return max(switches, key=lambda switch: switch.order, default=None)


FactKey = tuple[str, int, *tuple[int | str, ...]]
"""(kind, partition, what it is about...)."""


class FactRecord(Struct, frozen=True):
    """A fact as it lies in the log; `fact` None = it was taken back. `position`: its offset in the topic of state.
    `timestamp_ms`: when it was written (epoch)."""

    key: FactKey
    fact: Fact | None
    position: int
    timestamp_ms: int = 0


def key_of(fact: Fact) -> FactKey:
    if isinstance(fact, BundleSwitch):
        term = (fact.term,) if fact.term else ()
        return "bundle", fact.partition, fact.offset, *term
    if isinstance(fact, Silence):
        return SILENT, fact.partition, fact.asset
    return "moved", fact.partition, fact.asset, fact.offset


def fact_message(settings: Settings, fact: Fact, *, taken_back: bool = False) -> Outgoing:
    """The record that writes a fact down, or takes it back."""
    value = None if taken_back else orjson.dumps(_body(fact))
    return Outgoing(settings.topic_state, orjson.dumps([settings.group, *key_of(fact)]), value, fact.partition)


def _body(fact: Fact) -> dict[str, Any]:
    if isinstance(fact, Departure):
        return {}
    if isinstance(fact, Silence):
        return {"heard": fact.heard, "offset": fact.offset}
    limits = None if fact.limits is None else limits_to_json(fact.limits)
    body: dict[str, Any] = {"bundle": fact.bundle_id, "low": fact.low, "limits": limits, "ids": fact.id_term}
    if fact.held is not None:
        body["lines"] = [list(astuple(line)) for line in fact.held.lines]
    return {**body, "by": "record"} if fact.by_record else body


def is_fact(key: bytes | None) -> bool:
    """Whether a record with this key is a fact of some group and no snapshot, whose key has two parts."""
    return (key or b"").count(b",") > 1 and len(_parts(key)) > 2


def parse_fact(
    key: bytes | None, value: bytes | None, position: int, group: str, timestamp_ms: int = 0
) -> FactRecord | None:
    """What `fact_message` wrote for this group; None for any other record, e.g. a fact of a later version."""
    try:
        owner, kind, partition, *about = _parts(key)
        if owner != group or not isinstance(partition, int):
            return None
        fact = READ[kind](partition, about, orjson.loads(value)) if value is not None else None
    except (KeyError, TypeError, ValueError):
        return None
    return FactRecord((kind, partition, *about), fact, position, timestamp_ms)


def _parts(key: bytes | None) -> list[Any]:
    try:
        parts = orjson.loads(key or b"")
    except orjson.JSONDecodeError:
        return []
    return parts if isinstance(parts, list) else []


def _switch(partition: int, about: Sequence[Any], body: Mapping[str, Any]) -> Fact:
    (offset, *term), low, limits = about, body["low"], body.get("limits")
    return BundleSwitch(
        partition,
        int(offset),
        str(body["bundle"]),
        None if low is None else int(low),
        None if limits is None else limits_from_json(limits),
        int(term[0]) if term else 0 if "ids" in body else TERM_UNSAID,
        int(body.get("ids", 0)),
        body.get("by") == "record",
        _held(body.get("lines")),
    )


def _held(lines: Sequence[Sequence[Any]] | None) -> HeldTable | None:
    if lines is None:
        return None
    return HeldTable(
        tuple(
            HeldLine(
                str(glob), None if owner is None else str(owner), int(term), int(ids), None if low is None else int(low)
            )
            for glob, owner, term, ids, low in lines
        )
    )


def _departure(partition: int, about: Sequence[Any], _body: Mapping[str, Any]) -> Fact:
    asset, offset = about
    return Departure(partition, str(asset), int(offset))


def _silence(partition: int, about: Sequence[Any], body: Mapping[str, Any]) -> Fact:
    (asset,), heard = about, float(body["heard"])
    if not EARLIEST <= heard < LATEST:
        raise ValueError(f"{heard} is no time that can be shown")
    return Silence(partition, str(asset), heard, int(body["offset"]))


READ: Mapping[str, Callable[[int, Sequence[Any], Mapping[str, Any]], Fact]] = {
    "bundle": _switch,
    "moved": _departure,
    SILENT: _silence,
}
