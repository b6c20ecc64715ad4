"""Decides what becomes of the state and the alarms that another bundle or worker left in a partition. No I/O.

When another bundle takes over, that is written down first: from which reading on it decides, and from where it reads
its windows, so that every restart and an audit do the same. The open alarms of the bundle before it are cleared, in
words that follow from the raised alarm, and its snapshots are removed. A crash in between repeats messages that say the
same.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from stream_detector.decoding.asset_table import Line
from stream_detector.decoding.held_table import HeldTable
from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.assets.snapshots import load
from stream_detector.messages import Alarm, to_bytes
from stream_detector.operations.ledger.scope import SCOPE
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.state.group_facts import BundleSwitch, Fact, Silence, fact_message, newest_switch
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import SnapshotRecord, snapshot_message

READINGS_PARTITION = "partition"
"""Header of an alarm: the partition of the readings that it was decided in."""

TERM = "term"
"""Header of an alarm: the term in that partition (`BundleSwitch.term`)."""

GROUP = "group"
"""Header of an alarm: the consumer group that it was decided in; groups may share the topic."""


class PublishedAlarm(Struct, frozen=True):
    """An alarm in its topic; `partition` of the readings, `term`, `group` are None where its writer did not say."""

    alarm: Alarm
    partition: int | None
    term: int | None = None
    group: str | None = None


class Service(Struct, frozen=True):
    """Which bundle decides in a partition.

    Attributes:
        switch: since when; None = since ever, by a version that wrote nothing down.
        bundle_id: the bundle; None = nobody has decided anything.
        begun: it has committed something since. A control record keeps its place in the log: where offsets were set
            back to it or across it, or whoever obeyed it was killed before its first commit, it has not. It may have
            left snapshots of some assets then, and of others none. Once it has, each asset that it began with has one.
    """

    switch: BundleSwitch | None
    bundle_id: str | None
    begun: bool

    @property
    def of_line(self) -> bool:
        """Whether a line of a table changed last."""
        return self.switch is not None and self.switch.of_line


class Takeover(Struct, frozen=True):
    """`bursts` are to be acknowledged, one after another, before the first decision.

    `low`: where windows are first read from, in silence; None = where the commit says. `snapshots`: {asset: data}.
    """

    bursts: Sequence[Sequence[Outgoing]] = ()
    low: int | None = None
    snapshots: Mapping[str, bytes] = field(default_factory=dict)


def service_at(state: PartitionState, committed: int) -> Service:
    """Who has decided up to the committed offset."""
    newest = newest_switch(state.facts)
    if newest is not None:
        got_on = committed > newest.offset if newest.by_record else committed != newest.offset
        return Service(newest, newest.bundle_id, begun=newest.low is None or got_on)
    latest = max(state.live(), key=lambda snapshot: snapshot.offset, default=None)
    return Service(None, None if latest is None else latest.bundle_id, begun=True)


def go_on(
    settings: Settings,
    number: int,
    state: PartitionState,
    service: Service,
    left: Sequence[SnapshotRecord],
    published: Sequence[PublishedAlarm],
    lines: Sequence[Line] = (),
) -> Takeover:
    """The same bundle decides further: restore its snapshots, and mend what a worker that woke up late overwrote.

    What earlier terms left open (`left_behind`) is cleared, where retention has overtaken a change that was not
    finished, a worker wrote late, or the change of a line of a table was not finished. `lines`: of the table that
    decides; they are written down where a version before has not. Whoever has not begun since a line changed begins
    anew, as right behind the record.
    """
    found = state.of_service(service.switch, service.bundle_id)
    bursts: list[list[Outgoing]] = []
    if service.switch is not None:
        if lines and service.switch.held is None:
            bursts.append([fact_message(settings, with_lines(service.switch, lines))])
        if left or published:
            bursts += _withdraw(settings, service.switch, left, published)
    bursts.append(_mended(settings, number, state, found, {snapshot.asset for snapshot in left}))
    snapshots = {asset: s.data for asset, s in found.items() if s.data is not None}
    if service.switch is not None and not service.begun:
        snapshots = service.switch.undisturbed(snapshots.items())
    return Takeover([burst for burst in bursts if burst], None, snapshots)


def mend_late(
    settings: Settings, bundle_id: str, number: int, state: PartitionState, facts: Sequence[Fact]
) -> list[Outgoing]:
    """What a worker has to write again, because another one wrote under its keys although it had lost the partition."""
    lost = [fact_message(settings, fact) for fact in facts if fact not in state.facts]
    return [*lost, *_mended(settings, number, state, state.of_service(newest_switch(facts), bundle_id))]


def mend_silences(settings: Settings, state: PartitionState, silences: Mapping[str, Silence]) -> list[Outgoing]:
    """The same for which assets are silent."""
    written = state.silences
    lost = [silence for asset, silence in silences.items() if written.get(asset) != silence]
    ended = [silence for asset, silence in written.items() if asset not in silences]
    return [
        *(fact_message(settings, silence) for silence in lost),
        *(fact_message(settings, silence, taken_back=True) for silence in ended),
    ]


def _mended(
    settings: Settings,
    number: int,
    state: PartitionState,
    found: Mapping[str, SnapshotRecord],
    removed: Collection[str] = (),
) -> list[Outgoing]:
    """`removed`: assets under whose keys something is written before."""
    late = [s for asset, s in found.items() if state.last_written(asset) is not s or asset in removed]
    return [_written_again(settings, number, snapshot, snapshot.data) for snapshot in late]


def _written_again(settings: Settings, number: int, s: SnapshotRecord, data: bytes | None) -> Outgoing:
    return snapshot_message(settings, s.bundle_id, number, s.asset, data, s.offset, s.term)


def begin_anew(
    settings: Settings,
    number: int,
    state: PartitionState,
    bundle_id: str,
    offset: int,
    *,
    alone: bool,
    published: Sequence[PublishedAlarm],
    lines: Sequence[Line] = (),
) -> Takeover:
    """Nothing is committed: the bundle decides from the first record on.

    Where it has always decided alone (`decided_alone`), its alarms are raised again and cleared as before. Otherwise
    they were perhaps cleared by others: a new term begins, and whatever is open is cleared. A beginning that nobody got
    further from, not even to a snapshot, is the same one. `lines`: of the table, where it is one.
    """
    facts, stale = state.all_facts, state.live()
    term = next_term(state)
    beginning = with_lines(
        BundleSwitch(number, offset, bundle_id, None, limits_of(settings), term, 0 if alone else term), lines
    )
    newest = newest_switch(facts)
    if newest is not None and state.snapshot_term < newest.term == state.fact_term:
        again = with_lines(replace(beginning, term=newest.term, id_term=0 if alone else newest.term), lines)
        beginning = again if replace(again, held=newest.held) == newest else beginning
    # An audit has to know who has said something before; a switch beyond the end speaks of another log.
    gone = [fact for fact in facts if not isinstance(fact, BundleSwitch) or fact.offset > state.end]
    taken_back = [fact_message(settings, fact, taken_back=True) for fact in gone]
    own = [snapshot for snapshot in stale if alone and snapshot.bundle_id == bundle_id]
    removed = [_written_again(settings, number, snapshot, None) for snapshot in own]
    others = [snapshot for snapshot in stale if snapshot not in own]
    bursts = [
        [] if beginning == newest else [fact_message(settings, beginning)],
        [*taken_back, *removed],
        *_withdraw(settings, beginning, others, published),
    ]
    return Takeover([burst for burst in bursts if burst])


def decided_alone(settings: Settings, state: PartitionState, bundle_id: str) -> bool:
    """Whether no other bundle, and nobody under other limits, is known to have decided in the partition."""
    switches, limits = [fact for fact in state.all_facts if isinstance(fact, BundleSwitch)], limits_of(settings)
    return all(
        switch.bundle_id == bundle_id and not switch.id_term and switch.limits in (None, limits) for switch in switches
    )


def next_term(state: PartitionState) -> int:
    """The term of whoever begins in the partition now; 0 for the first.

    Whatever names a term counts, what another log left behind or what was taken back too: it may come to light again.
    """
    return 1 + max(state.fact_term, state.snapshot_term)


def next_id_term(state: PartitionState) -> int:
    """Of the next control record. What is not known to have had another one may have had its term in ids."""
    return next_term(state) if state.snapshot_term > state.fact_term else 1 + state.fact_id_term


def switch_bundle(
    settings: Settings,
    service: Service,
    switch: BundleSwitch,
    left: Sequence[SnapshotRecord],
    published: Sequence[PublishedAlarm],
) -> Takeover:
    """Another bundle decides from `switch.offset` on; also where that was written down and not finished.

    Args:
        settings: names group and topics.
        service: who has decided before, or this same switch where it is not finished.
        switch: what is to hold from now on.
        left: the snapshots that others left behind.
        published: what was said since the last of them, which do not know of it.
    """
    facts: list[Outgoing] = []
    if service.switch != switch:
        if service.switch is None and service.bundle_id is not None:
            facts.append(fact_message(settings, BundleSwitch(switch.partition, 0, service.bundle_id)))
        facts.append(fact_message(settings, switch))
    bursts = [facts, *_withdraw(settings, switch, left, published)]
    return Takeover([burst for burst in bursts if burst], switch.low)


def switch_by_record(
    settings: Settings,
    before: BundleSwitch | None,
    bundle_id: str,
    snapshots: Iterable[tuple[str, bytes | None]],
    switch: BundleSwitch,
) -> tuple[list[BundleSwitch], list[list[Outgoing]]]:
    """What a worker does that comes to a control record: the facts that begin to hold, and what is to be acknowledged,
    one burst after another.

    Everything below `switch.offset` is committed, so a crash in between is a start of the other bundle at that offset,
    which does the same (`switch_bundle`).

    Args:
        settings: names group and topics.
        before: the switch that held until now; None = a version that wrote nothing down has begun.
        bundle_id: who decided until now.
        snapshots: (asset, data) of all its assets. Those that a line's change does not concern stay as they are.
        switch: what is to hold from now on.
    """
    term = 0 if before is None else before.term
    facts = [switch] if before is not None else [BundleSwitch(switch.partition, 0, bundle_id), switch]
    left = [
        SnapshotRecord(settings.group, bundle_id, asset, switch.offset, data, term)
        for asset, data in snapshots
        if data is not None and switch.since(asset) == switch.term
    ]
    bursts = [[fact_message(settings, fact) for fact in facts], *_withdraw(settings, switch, left, [])]
    return facts, [burst for burst in bursts if burst]


def with_lines(switch: BundleSwitch, lines: Sequence[Line]) -> BundleSwitch:
    """The switch, with the lines of the table that it is to: all of them hold since then."""
    if not lines:
        return switch
    return replace(switch, held=HeldTable.begun(lines, switch.term, switch.id_term, switch.low))


def followed(switches: Sequence[BundleSwitch]) -> list[str]:
    """The bundle that decides, and those that control records have put it in the place of, the newest first.

    A worker that was started with one of them goes by the log. One that was started with another bundle shall decide.

    >>> followed([BundleSwitch(0, 0, "a"), BundleSwitch(0, 5, "b"), BundleSwitch(0, 9, "c", by_record=True)])
    ['c', 'b']
    """
    found: list[str] = []
    for switch in reversed(switches):
        found.append(switch.bundle_id)
        if not switch.by_record:
            break
    return found


def left_behind(state: PartitionState, service: Service, switch: BundleSwitch | None) -> list[SnapshotRecord]:
    """The live snapshots of those who decided before the switch; none where nobody wrote one down."""
    if switch is None:
        return []
    return state.written_before(switch) if service.switch == switch else state.live()


def _withdraw(
    settings: Settings, switch: BundleSwitch, stale: Sequence[SnapshotRecord], published: Sequence[PublishedAlarm]
) -> list[list[Outgoing]]:
    """Clear the alarms that others than this switch's bundle left open, then remove the snapshots that know of them."""
    number, assets = switch.partition, {snapshot.asset for snapshot in stale}
    up = {alarm.id: alarm for alarm in map(open_alarm, stale) if alarm is not None}
    for entry in published:
        if entry.alarm.state == "raised" and _raised_before(entry, settings.group, switch, assets):
            up[entry.alarm.id] = entry.alarm
    ended = {entry.alarm.id for entry in published if entry.alarm.state == "cleared"}
    return [
        [alarm_message(settings, number, None, withdrawn(alarm)) for alarm in up.values() if alarm.id not in ended],
        [_written_again(settings, number, snapshot, None) for snapshot in stale],
    ]


def _raised_before(entry: PublishedAlarm, group: str, switch: BundleSwitch, assets: Collection[str]) -> bool:
    """Whether an alarm was raised by this group in this partition, in an earlier term."""
    here = entry.alarm.asset in assets if entry.partition is None else entry.partition == switch.partition
    began = switch.since(entry.alarm.asset)
    earlier = entry.alarm.bundle != switch.bundle_id if entry.term is None else entry.term < began
    return here and earlier and entry.group in (None, group)


def open_alarm(snapshot: SnapshotRecord) -> Alarm | None:
    """The alarm that is up in a snapshot; None where there is none, or the snapshot is damaged."""
    known = None if snapshot.data is None else load(snapshot.data)
    return None if known is None or known.alarm is None else Alarm.model_validate_json(known.alarm)


def alarm_message(
    settings: Settings, partition: int, term: int | None, alarm: Alarm, scope: bytes | None = None
) -> Outgoing:
    """An alarm that was decided in a partition of the readings; `term` None: it only ends one of an earlier term.

    `scope`: of a challenger (`Scope.to_header`).
    """
    headers = [(READINGS_PARTITION, str(partition).encode()), (GROUP, settings.group.encode())]
    if term is not None:
        headers.append((TERM, str(term).encode()))
    if scope is not None:
        headers.append((SCOPE, scope))
    return Outgoing(settings.topic_alarms, alarm.asset.encode(), to_bytes(alarm), None, tuple(headers))


def read_alarm(record: KafkaRecord) -> PublishedAlarm | None:
    """What lies in the topic of alarms; None where somebody else wrote something else there."""
    try:
        alarm, headers = Alarm.model_validate_json(record.value or b""), dict(record.headers)
        partition, term, group = headers.get(READINGS_PARTITION), headers.get(TERM), headers.get(GROUP)
        return PublishedAlarm(
            alarm,
            None if partition is None else int(partition),
            None if term is None else int(term),
            None if group is None else group.decode(),
        )
    except ValueError:
        return None
