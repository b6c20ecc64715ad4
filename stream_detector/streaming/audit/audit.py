"""Reads the log again, from the first record to the committed offset, and holds what was published against it.

Every reading must be windowed, late, a duplicate, a dead letter or held aside, exactly one of them; and the alarms and
dead letters on the topics must be those that the log gives. A plain engine, one pass, no restart: the worker's oracle.

Where bundles took turns, each range of offsets is judged with the bundle that decided it, as the topic of state tells.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from aiokafka.errors import KafkaError

from stream_detector.decoding.decoded import UNKNOWN_ASSET, UNKNOWN_SENSOR
from stream_detector.decoding.held_table import HeldTable
from stream_detector.engine.limits import Limits
from stream_detector.errors import BrokerError, UsageError
from stream_detector.messages import Alarm, DeadLetter
from stream_detector.settings import Settings
from stream_detector.streaming.audit.report import (
    Audit,
    Expected,
    NotJudged,
    OnTheWay,
    PartitionAudit,
    compare_alarms,
    compare_dead_letters,
)
from stream_detector.streaming.audit.topics import AuditTopics, open_audit_topics
from stream_detector.streaming.clients.diagnosis import in_words_for
from stream_detector.streaming.clients.kafka_types import KafkaRecord, TopicPartition
from stream_detector.streaming.state.group_facts import BundleSwitch, Departure
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.worker.ports import DetectionEngine

NewEngine = Callable[[Limits], DetectionEngine]

NewTable = Callable[[HeldTable, Limits], DetectionEngine | None]
"""Makes an engine that runs a table whose lines the log has changed; None where one of its bundles is not given."""

WAIT_SECONDS = 60.0
"""So long what is on its way is waited for."""

STILL_SECONDS = 10.0
"""Nobody is at work where nothing has been committed for so long."""

LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long running workers are waited for. `clock`, `sleep`: monotonic seconds, and how to let them pass."""

    wait_seconds: float = WAIT_SECONDS
    still_seconds: float = STILL_SECONDS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Service:
    """The bundle of a switch decides about the readings `begin .. end`; of none where it could commit nothing.

    `last`: nobody follows yet.
    """

    switch: BundleSwitch
    begin: int
    end: int
    last: bool

    @property
    def bundle_id(self) -> str:
        return self.switch.bundle_id


def services(state: PartitionState, bundle_id: str, begin: int, end: int) -> list[Service]:
    """Who decided what, in order; where nobody wrote it down, `bundle_id` decided everything.

    What was decided anew, since the offsets were set back or lost, counts as decided by whoever did so last.
    """
    switches = state.switches or [BundleSwitch(0, begin, bundle_id)]
    untils = list(accumulate(reversed([*(switch.offset for switch in switches[1:]), end]), min))[::-1]
    found = []
    for number, (switch, until) in enumerate(zip(switches, untils, strict=True), 1):
        since = max(switch.offset, begin)
        found.append(Service(switch, since, max(until, since), last=number == len(switches)))
    return found


async def audit_log(
    settings: Settings,
    new_engine: NewEngine,
    bundle_id: str,
    others: Mapping[str, NewEngine] | None = None,
    open_topics: Callable[[Settings], AuditTopics] = open_audit_topics,
    patience: Patience = Patience(),
    tables: Mapping[str, frozenset[str]] | None = None,
    new_table: NewTable = lambda _, __: None,
) -> Audit:
    """Read everything again and compare, under the limits that the group has written down.

    Workers may run meanwhile: all that came before the audit began is judged, once the group has committed it.

    Args:
        settings: names brokers, group and topics.
        new_engine: makes an engine that runs the bundle.
        bundle_id: of that bundle.
        others: the same for more bundles that the group has run; ranges of bundles that are not given are not judged.
        open_topics: makes the reader of the topics.
        patience: how long to wait for that.
        tables: {id: the bundles that its alarms name}, of those among all these that are tables of bundles.
        new_table: makes engines of tables whose lines were changed by records in the log.

    Raises:
        BrokerError: the brokers cannot be reached, or the topic of readings does not exist.
        UsageError: the group has committed nothing, though there are readings.
    """
    engines = {bundle_id: new_engine, **(others or {})}
    reader = open_topics(settings)
    try:
        await reader.start()
        named = {each: frozenset([each]) for each in engines} | dict(tables or {})
        return await _audit(settings, reader, engines, new_table, bundle_id, patience, named)
    except KafkaError as error:
        reason = await in_words_for(settings, error)
        raise BrokerError(f"{settings.bootstrap} cannot be read: {reason}") from None
    finally:
        await reader.stop()


async def _until_committed(
    reader: AuditTopics, readings: list[TopicPartition], patience: Patience
) -> tuple[dict[TopicPartition, int], list[OnTheWay]]:
    """What the group has committed when it has all that is there now, and what of that it lacks when time is over."""
    spans = {tp: await reader.ends(tp) for tp in readings}
    began = moved = patience.clock()
    seen: dict[TopicPartition, int] | None = None
    while True:
        committed = await reader.committed(readings)
        now = patience.clock()
        if committed != seen:
            seen, moved = committed, now
        reached = {tp: max(begin, committed.get(tp, begin)) for tp, (begin, _) in spans.items()}
        left = [OnTheWay(tp.partition, reached[tp], end) for tp, (_, end) in spans.items() if reached[tp] < end]
        over = now - began >= patience.wait_seconds or now - moved >= patience.still_seconds
        if not left or over or not committed:
            return committed, left
        await patience.sleep(LOOK_AGAIN_SECONDS)


async def _audit(
    settings: Settings,
    reader: AuditTopics,
    engines: Mapping[str, NewEngine],
    new_table: NewTable,
    bundle_id: str,
    patience: Patience,
    named: Mapping[str, frozenset[str]],
) -> Audit:
    """named: {id: the bundles that alarms of this detector name}."""
    audit, expected = Audit(), Expected()
    left: list[tuple[TopicPartition, DetectionEngine, Service, int]] = []

    def engine_of(switch: BundleSwitch) -> DetectionEngine | None:
        limits = switch.limits or limits_of(settings)
        if switch.held is not None and (switch.of_line or switch.bundle_id not in engines):
            return new_table(switch.held, limits)
        return engines[switch.bundle_id](limits) if switch.bundle_id in engines else None

    readings = reader.partitions(settings.topic_readings)
    # Workers may be running. What was committed by now must have been published by now; and what was published by now
    # must follow from the readings that will have come by then.
    committed, audit.on_the_way = await _until_committed(reader, readings, patience)
    if not committed:
        await _refuse_to_judge(settings, reader, readings)
    voices = frozenset[str]().union(*named.values())
    alarms = [body for body in await reader.values(settings.topic_alarms, Alarm) if body["bundle"] in voices]
    of_others: set[tuple[int, int]] = set()
    letters = await reader.values(settings.topic_dead_letters, DeadLetter)
    letters = [body for body in letters if body["topic"] == settings.topic_readings]
    # Under another policy than before, what was a dead letter then is none now.
    ignored = {
        reason
        for reason, policy in ((UNKNOWN_SENSOR, settings.unknown_sensors), (UNKNOWN_ASSET, settings.unknown_assets))
        if policy != "dead-letter"
    }
    letters = [body for body in letters if body["reason"] not in ignored]
    for tp in readings:
        begin, end = await reader.ends(tp)
        mine = PartitionAudit(tp.partition, begin, committed.get(tp), end)
        audit.partitions.append(mine)
        if begin:
            audit.incomplete.append(tp.partition)
        state = await reader.state(tp.partition, end)
        before: _Ended | None = None
        in_turn = services(state, bundle_id, begin, end)
        for service, following in zip(in_turn, [*in_turn[1:], None], strict=True):
            engine, next_switch = engine_of(service.switch), None if following is None else following.switch
            # What the change of a line leaves as it was is known where what was before it is.
            if engine is not None and not (service.switch.of_line and before is None):
                await _audit_service(reader, tp, engine, service, mine, expected, state.departures, before)
                before = _Ended(engine, service.end)
                await _end(reader, tp, before, service, next_switch, mine, expected)
                if not service.last:
                    left.append((tp, engine, replace(service, end=before.end), end))
                continue
            before = None
            expected.withdraw(list(expected.open.values()), must=False)
            of_others.add((tp.partition, service.switch.term))
            if service.begin < service.end:
                audit.not_judged.append(NotJudged(tp.partition, service.begin, service.end, service.bundle_id))
        expected.open.clear()
    # A table that was not given may name bundles that were; and it may have gone on with what they had raised.
    unjudged = {body["id"] for body in alarms if body["_said_in"] in of_others and body["state"] == "raised"}
    alarms = [body for body in alarms if body["id"] not in unjudged and body["_said_in"] not in of_others]
    for tp, engine, service, end in left:
        held = service.switch.held
        voices = named.get(service.bundle_id) or (frozenset() if held is None else frozenset(held.owners))
        await _read_beyond(reader, tp, engine, service, end, expected, alarms, letters, voices)
    compare_alarms(alarms, audit, expected)
    compare_dead_letters(letters, audit, expected)
    return audit


async def _refuse_to_judge(settings: Settings, reader: AuditTopics, readings: list[TopicPartition]) -> None:
    """Of a group that has committed nothing every reading might still be on its way, so nothing could be lost."""
    spans = [await reader.ends(tp) for tp in readings]
    if all(begin == end for begin, end in spans):
        return
    others = ", ".join(await reader.groups(readings))
    raise UsageError(
        f"group {settings.group} has committed nothing of {settings.topic_readings}, so nothing can be judged; "
        + (f"name the workers' group with --group, one of: {others}" if others else "no other group has either")
    )


async def _audit_service(
    reader: AuditTopics,
    tp: TopicPartition,
    engine: DetectionEngine,
    service: Service,
    mine: PartitionAudit,
    expected: Expected,
    departures: Sequence[Departure],
    before: "_Ended | None",
) -> None:
    """Leaves the engine as it is at the end of the service. `before`: who decided before, as it was at its begin."""
    begin, until, switch = service.begin, min(mine.committed or 0, service.end), service.switch
    kept = {}
    if before is not None and switch.of_line:
        kept = switch.undisturbed(before.engine.snapshots(tp.partition, before.end))
    lows = [
        low for low in (switch.low, before.engine.low(tp.partition) if kept and before else None) if low is not None
    ]
    engine.restore(tp.partition, kept, 0 if switch.low is None else begin, switch.id_term)
    if switch.low is not None:
        begin = min(max(min(lows), mine.begin), begin)
    complete = mine.begin == 0
    gone = [departure for departure in departures if service.begin < departure.offset <= service.end]
    async for records in reader.read(tp, begin, service.end):
        for part in _cut(records, {until, *(departure.offset for departure in gone)}):
            must = part[0].offset < until
            for departure in [each for each in gone if each.offset <= part[0].offset]:
                gone.remove(departure)
                _let_go(engine, tp, departure, expected, must=complete and departure.offset < until)
            outcome = engine.process(reader.batch(tp, part))
            if must:
                mine.add(outcome.counts)
            expected.add(outcome, must=must and complete)
    for departure in gone:
        _let_go(engine, tp, departure, expected, must=complete and departure.offset < until)


@dataclass(slots=True)
class _Ended:
    """Who has decided up to the offset `end`, as it was left there."""

    engine: DetectionEngine
    end: int


async def _end(
    reader: AuditTopics,
    tp: TopicPartition,
    ended: _Ended,
    service: Service,
    following: BundleSwitch | None,
    mine: PartitionAudit,
    expected: Expected,
) -> None:
    """The next bundle has cleared what was open, before its own first decision; of a line's change what it concerns."""
    if following is None:
        return
    if following.of_line and following.offset > ended.end:
        # The offsets were set back behind it later: what was decided up to there may have been said.
        async for records in reader.read(tp, ended.end, following.offset):
            expected.beyond(ended.engine.process(reader.batch(tp, records)))
        ended.end = following.offset
    must = mine.begin == 0 and (mine.committed or 0) > service.end
    concerned = [alarm for alarm in expected.open.values() if following.since(alarm.asset) == following.term]
    expected.withdraw(concerned, must=must)


def _let_go(
    engine: DetectionEngine, tp: TopicPartition, departure: Departure, expected: Expected, *, must: bool
) -> None:
    """The asset moved to another partition, and an alarm that was open here was cleared."""
    expected.add(engine.retire(tp.topic, tp.partition, departure.asset, departure.offset), must=must)


def _cut(records: Sequence[KafkaRecord], offsets: Iterable[int]) -> list[Sequence[KafkaRecord]]:
    """The records, cut before the first of them that has reached each of these offsets."""
    places = [bisect_left(records, offset, key=lambda record: record.offset) for offset in offsets]
    return [records[start:end] for start, end in pairwise(sorted({0, len(records), *places}))]


async def _read_beyond(
    reader: AuditTopics,
    tp: TopicPartition,
    engine: DetectionEngine,
    service: Service,
    end: int,
    expected: Expected,
    alarms: Sequence[Mapping[str, Any]],
    letters: Sequence[Mapping[str, Any]],
    named: Collection[str],
) -> None:
    """What the bundle said beyond the offset where the next one began: its worker was killed before it could commit."""
    unknown = {(body["id"], body["state"]) for body in alarms if body["bundle"] in named and expected.unknown(body)}
    found = {(body["partition"], body["offset"]) for body in letters}
    unexplained = {
        (partition, offset)
        for partition, offset in found - expected.letters_possible
        if partition == tp.partition and offset >= service.end
    }
    if not unknown and not unexplained:
        return
    async for records in reader.read(tp, service.end, end):
        outcome = engine.process(reader.batch(tp, records))
        expected.beyond(outcome)
        unknown -= {(alarm.id, alarm.state) for alarm in outcome.alarms}
        unexplained -= expected.letters_possible
        if not unknown and not unexplained:
            return
