"""What becomes of what others left behind in a partition: decided from the topic of state, without any I/O.

When another bundle takes over, that is written down first: from which reading on it decides, and from where it reads
its windows, so that every restart and an audit do the same. The open alarms of the bundle before it are cleared, in
words that follow from the raised alarm, and its snapshots are removed. A crash in between repeats messages that say the
same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.snapshots import load
from stream_detector.messages import Alarm, to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.state.group_facts import BundleSwitch, Fact, fact_message
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import SnapshotRecord, snapshot_message

READINGS_PARTITION = "partition"
"""Header of an alarm: the partition of the readings that it was decided in."""


@dataclass(frozen=True, slots=True)
class PublishedAlarm:
    """An alarm as it lies in its topic; `partition` of the readings, None where its writer did not say."""

    alarm: Alarm
    partition: int | None


@dataclass(frozen=True, slots=True)
class Service:
    """Which bundle decides in a partition.

    Attributes:
        switch: since when; None = since ever, by a version that wrote nothing down.
        bundle_id: the bundle; None = nobody has decided anything.
        begun: it has committed something since.
    """

    switch: BundleSwitch | None
    bundle_id: str | None
    begun: bool


@dataclass(frozen=True, slots=True)
class Takeover:
    """`bursts` are to be acknowledged, one after another, before the first decision.

    `low`: where windows are first read from, in silence; None = where the commit says. `snapshots`: {asset: data}.
    """

    bursts: Sequence[Sequence[Outgoing]] = ()
    low: int | None = None
    snapshots: Mapping[str, bytes] = field(default_factory=dict)


def service_at(state: PartitionState, committed: int) -> Service:
    """Who has decided up to the committed offset."""
    if state.switches:
        newest = state.switches[-1]
        begun = newest.low is None or committed != newest.offset
        return Service(newest, newest.bundle_id, begun)
    latest = max(state.live(), key=lambda snapshot: snapshot.offset, default=None)
    return Service(None, None if latest is None else latest.bundle_id, begun=True)


def go_on(settings: Settings, number: int, state: PartitionState, service: Service) -> Takeover:
    """The same bundle decides further: restore its snapshots, and mend what a worker that woke up late overwrote."""
    found = state.of_service(service.switch, service.bundle_id)
    mended = _mended(settings, number, state, found)
    return Takeover(
        [mended] if mended else [], None, {asset: s.data for asset, s in found.items() if s.data is not None}
    )


def mend_late(
    settings: Settings, bundle_id: str, number: int, state: PartitionState, facts: Sequence[Fact]
) -> list[Outgoing]:
    """What a worker has to write again, because another one wrote under its keys although it had lost the partition."""
    switches = [fact for fact in facts if isinstance(fact, BundleSwitch)]
    newest = max(switches, key=lambda switch: switch.offset, default=None)
    lost = [fact_message(settings, fact) for fact in facts if fact not in state.facts]
    if newest is None or newest in state.facts:
        return [*lost, *_mended(settings, number, state, state.of_service(newest, bundle_id))]
    # Only snapshots behind the record that says since when the bundle decides count.
    found = state.of_service(None, bundle_id).values()
    return [*lost, *(snapshot_message(settings, bundle_id, number, s.asset, s.data, s.offset) for s in found)]


def _mended(
    settings: Settings, number: int, state: PartitionState, found: Mapping[str, SnapshotRecord]
) -> list[Outgoing]:
    late = [snapshot for asset, snapshot in found.items() if state.last_written(asset) is not snapshot]
    return [snapshot_message(settings, s.bundle_id, number, s.asset, s.data, s.offset) for s in late]


def begin_anew(settings: Settings, number: int, state: PartitionState, bundle_id: str, offset: int) -> Takeover:
    """Nothing is committed: the bundle decides from the first record on, and old facts speak of another log.

    Alarms that it raised itself are raised again, and cleared as before; those of other bundles would stay.
    """
    beginning = BundleSwitch(number, offset, bundle_id, None, limits_of(settings))
    others = [snapshot for snapshot in state.live() if snapshot.bundle_id != bundle_id]
    taken_back: list[Fact] = [fact for fact in state.all_facts if fact != beginning]
    return Takeover(
        [
            [
                *(fact_message(settings, fact, taken_back=True) for fact in taken_back),
                fact_message(settings, beginning),
            ],
            *_withdraw(settings, number, others, [], set()),
        ]
    )


def switch_bundle(
    settings: Settings,
    number: int,
    state: PartitionState,
    service: Service,
    switch: BundleSwitch,
    published: Iterable[PublishedAlarm],
) -> Takeover:
    """Another bundle decides from `switch.offset` on; also where that was written down and not finished.

    Args:
        settings: names group and topics.
        number: the partition.
        state: what the topic of state holds of it.
        service: who has decided before, or this same switch where it is not finished.
        switch: what is to hold from now on.
        published: what was said since the last of those snapshots, which do not know of it.
    """
    facts: list[Outgoing] = []
    stale = left_behind(state, service, switch)
    if service.switch != switch:
        # Where an operator went back, later switches are no longer true.
        gone = [fact for fact in state.switches if fact.offset > switch.offset]
        facts += [fact_message(settings, fact, taken_back=True) for fact in gone]
        if service.switch is None and service.bundle_id is not None:
            facts.append(fact_message(settings, BundleSwitch(number, 0, service.bundle_id)))
        facts.append(fact_message(settings, switch))
    assets = {snapshot.asset for snapshot in stale}
    raised, ended = [], set()
    for entry in published:
        alarm = entry.alarm
        if alarm.state == "cleared":
            ended.add(alarm.id)
        elif alarm.bundle != switch.bundle_id and (
            entry.partition == number if entry.partition is not None else alarm.asset in assets
        ):
            raised.append(alarm)
    bursts = [facts, *_withdraw(settings, number, stale, raised, ended)]
    return Takeover([burst for burst in bursts if burst], switch.low)


def left_behind(state: PartitionState, service: Service, switch: BundleSwitch) -> list[SnapshotRecord]:
    """The live snapshots of those who decided before the switch."""
    return state.written_before(switch) if service.switch == switch else state.live()


def _withdraw(
    settings: Settings, number: int, stale: Iterable[SnapshotRecord], raised: Iterable[Alarm], ended: set[str]
) -> list[list[Outgoing]]:
    """Clear the alarms that are up, then remove the snapshots that know of them."""
    removed = list(stale)
    up = {alarm.id: alarm for alarm in (*map(open_alarm, removed), *raised) if alarm is not None}
    return [
        [alarm_message(settings, number, withdrawn(alarm)) for alarm in up.values() if alarm.id not in ended],
        [snapshot_message(settings, s.bundle_id, number, s.asset, None, s.offset) for s in removed],
    ]


def open_alarm(snapshot: SnapshotRecord) -> Alarm | None:
    """The alarm that is up in a snapshot; None where there is none, or the snapshot is damaged."""
    known = None if snapshot.data is None else load(snapshot.data)
    return None if known is None or known.alarm is None else Alarm.model_validate_json(known.alarm)


def alarm_message(settings: Settings, partition: int, alarm: Alarm) -> Outgoing:
    """An alarm that was decided in a partition of the readings."""
    headers = ((READINGS_PARTITION, str(partition).encode()),)
    return Outgoing(settings.topic_alarms, alarm.asset.encode(), to_bytes(alarm), None, headers)


def read_alarm(record: KafkaRecord) -> PublishedAlarm | None:
    """What lies in the topic of alarms; None where somebody else wrote something else there."""
    try:
        alarm = Alarm.model_validate_json(record.value or b"")
        partition = dict(record.headers).get(READINGS_PARTITION)
        return PublishedAlarm(alarm, None if partition is None else int(partition))
    except ValueError:
        return None
