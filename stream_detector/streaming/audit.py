"""Reads the log again, from the first record to the committed offset, and holds what was published against it.

Every reading must be windowed, late, a duplicate, a dead letter or held aside, exactly one of them; and the alarms and
dead letters on the topics must be those that the log gives. A plain engine, one pass, no restart: the worker's oracle.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream_detector.engine.outcome import Counts, Outcome, RecordBatch
from stream_detector.errors import BrokerError
from stream_detector.messages import to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import own_committed_offsets
from stream_detector.streaming.clients.security import aiokafka_options
from stream_detector.streaming.clients.topics import existing_partitions
from stream_detector.streaming.worker.ports import DetectionEngine

POLL_MILLISECONDS = 500

AlarmKey = tuple[str, str]
"""(id, state)."""


@dataclass
class PartitionAudit:
    """One partition of the readings. Offsets name the next record."""

    partition: int
    begin: int
    committed: int | None
    end: int
    received: int = 0
    windowed: int = 0
    late: int = 0
    duplicate: int = 0
    dead_lettered: int = 0
    held: int = 0

    def add(self, counts: Counts) -> None:
        self.received += counts.received
        self.windowed += counts.windowed
        self.late += counts.late
        self.duplicate += counts.duplicate
        self.dead_lettered += counts.dead_lettered
        self.held = counts.held

    @property
    def balanced(self) -> bool:
        return self.received == self.windowed + self.late + self.duplicate + self.dead_lettered


@dataclass
class Audit:
    """`lost`: the log gives it, the topic lacks it. `different`: in content. `invented`: the log does not give it."""

    partitions: list[PartitionAudit] = field(default_factory=list)
    alarms: int = 0
    alarms_lost: list[str] = field(default_factory=list)
    alarms_different: list[str] = field(default_factory=list)
    alarms_invented: list[str] = field(default_factory=list)
    dead_letters: int = 0
    dead_letters_lost: int = 0
    dead_letters_invented: int = 0
    incomplete: list[int] = field(default_factory=list)
    """Partitions whose first records retention removed: their alarms cannot be given again and are not compared."""

    @property
    def good(self) -> bool:
        wrong = [*self.alarms_lost, *self.alarms_different, *self.alarms_invented]
        letters = self.dead_letters_lost + self.dead_letters_invented
        return not wrong and not letters and all(partition.balanced for partition in self.partitions)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "good": self.good}


@dataclass
class _Expected:
    """What the log gives: up to the committed offset (must be there), and up to the end (may be there)."""

    alarms: dict[AlarmKey, bytes] = field(default_factory=dict)
    alarms_possible: dict[AlarmKey, bytes] = field(default_factory=dict)
    letters: set[tuple[int, int]] = field(default_factory=set)
    letters_possible: set[tuple[int, int]] = field(default_factory=set)

    def add(self, outcome: Outcome, *, must: bool) -> None:
        alarms: dict[AlarmKey, bytes] = {(alarm.id, alarm.state): to_bytes(alarm) for alarm in outcome.alarms}
        letters = {(letter.partition, letter.offset) for letter in outcome.dead_letters}
        self.alarms_possible |= alarms
        self.letters_possible |= letters
        if must:
            self.alarms |= alarms
            self.letters |= letters


async def audit_log(settings: Settings, new_engine: Callable[[], DetectionEngine], bundle_id: str) -> Audit:
    """Read everything again and compare.

    Raises:
        BrokerError: the brokers cannot be reached, or the topic of readings does not exist.
    """
    consumer = AIOKafkaConsumer(
        **aiokafka_options(settings),
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    try:
        await consumer.start()
        topics = {
            topic: [TopicPartition(topic, number) for number in numbers]
            for topic, numbers in (await existing_partitions(settings)).items()
        }
        if settings.topic_readings not in topics:
            raise BrokerError(f"topic {settings.topic_readings} does not exist at {settings.bootstrap}")
        audit, expected = Audit(), _Expected()
        for tp in topics[settings.topic_readings]:
            await _audit_partition(consumer, tp, new_engine(), audit, expected)
        alarms = await _values(consumer, topics.get(settings.topic_alarms, []))
        _compare_alarms([body for body in alarms if body["bundle"] == bundle_id], audit, expected)
        letters = await _values(consumer, topics.get(settings.topic_dead_letters, []))
        _compare_dead_letters([body for body in letters if body["topic"] == settings.topic_readings], audit, expected)
    except KafkaError as error:
        raise BrokerError(f"{settings.bootstrap} cannot be read: {error}") from None
    finally:
        await consumer.stop()
    return audit


async def _audit_partition(
    consumer: AIOKafkaConsumer, tp: TopicPartition, engine: DetectionEngine, audit: Audit, expected: _Expected
) -> None:
    consumer.assign([tp])
    begin = (await consumer.beginning_offsets([tp]))[tp]
    end = (await consumer.end_offsets([tp]))[tp]
    found = await own_committed_offsets(consumer, [tp])
    committed = found[tp].offset if tp in found else None
    mine = PartitionAudit(tp.partition, begin, committed, end)
    audit.partitions.append(mine)
    until = min(committed or 0, end)
    async for records in _read(consumer, tp, begin, end):
        done = [record for record in records if record.offset < until]
        for part, must in ((done, True), (records[len(done) :], False)):
            if not part:
                continue
            outcome = engine.process(_batch(tp, part))
            if must:
                mine.add(outcome.counts)
            expected.add(outcome, must=must and begin == 0)
    if begin:
        audit.incomplete.append(tp.partition)


def _batch(tp: TopicPartition, records: list[Any]) -> RecordBatch:
    return RecordBatch(
        tp.topic,
        tp.partition,
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )


async def _read(consumer: AIOKafkaConsumer, tp: TopicPartition, begin: int, end: int) -> Any:
    consumer.assign([tp])
    consumer.seek(tp, begin)
    while await consumer.position(tp) < end:
        fetched = await consumer.getmany(tp, timeout_ms=POLL_MILLISECONDS)
        records = [record for record in fetched.get(tp, ()) if record.offset < end]
        if records:
            yield records


async def _values(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> list[Mapping[str, Any]]:
    bodies = []
    for tp in partitions:
        consumer.assign([tp])
        begin, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
        async for records in _read(consumer, tp, begin, end):
            bodies += [(orjson.loads(record.value), record.value) for record in records]
    return [{**body, "_raw": raw} for body, raw in bodies]


def _compare_alarms(published: list[Mapping[str, Any]], audit: Audit, expected: _Expected) -> None:
    found: dict[AlarmKey, bytes] = {}
    for body in published:
        key, raw = (body["id"], body["state"]), body["_raw"]
        known = raw if audit.incomplete else expected.alarms_possible.get(key, raw)
        if found.setdefault(key, raw) != raw or known != raw:
            audit.alarms_different.append("/".join(key))
    audit.alarms = len(found)
    audit.alarms_lost = ["/".join(key) for key in expected.alarms if key not in found]
    if not audit.incomplete:
        audit.alarms_invented = ["/".join(key) for key in found if key not in expected.alarms_possible]


def _compare_dead_letters(published: list[Mapping[str, Any]], audit: Audit, expected: _Expected) -> None:
    found = {(body["partition"], body["offset"]) for body in published}
    audit.dead_letters = len(found)
    audit.dead_letters_lost = len(expected.letters - found)
    if not audit.incomplete:
        audit.dead_letters_invented = len(found - expected.letters_possible)
