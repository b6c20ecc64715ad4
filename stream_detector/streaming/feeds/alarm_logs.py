"""The forwarder's side of Kafka: each receiver reads the alarms with progress of its own.

Partitions are assigned by hand, not by the group: a receiver that hangs for hours would be thrown out of a group.
Only the progress is kept in one. Two forwarders of the same name would both send everything; receivers recognise the
repeats.
"""

import json
import time
from collections.abc import Collection, Sequence
from functools import partial

from stream_detector.messages import Alarm, AlarmStateChange, Feedback, to_bytes
from stream_detector.operations.alarms.alarm_states import SAYS
from stream_detector.operations.alarms.state_keeper import StateInput, StatesSoFar
from stream_detector.operations.notify.delivery import AlarmRecord, Restored
from stream_detector.operations.record_guard import RecordGuard, broker_seconds, read_message
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaRecord, WaitingProducer
from stream_detector.streaming.readers.committed_log import CommittedLog, until_it_works
from stream_detector.streaming.readers.topic_reader import TopicReader

OPEN_SECONDS = 30 * 86_400.0
"""An alarm that nobody has acknowledged for longer is not asked after any more."""

ANSWERS = ("acknowledge", "real", "false-alarm", "acted")
"""What is said about a single alarm."""

OF_ASSET = b'"alarm":null'
"""Is in every change that concerns an asset and no single alarm: our messages are canonical JSON."""

METADATA_CHARACTERS = 3_500
EVERY_ALARM = "*"
"""All are in doubt: too many are untold for the metadata of a commit (the broker takes 4,096 bytes)."""


class KafkaAlarmLog:
    """`delivery.AlarmLog` for one receiver. `committed`: an open `CommittedLog` of the topic of alarms."""

    def __init__(self, committed: CommittedLog, topic: str, lookback_seconds: float, guard: RecordGuard) -> None:
        self._committed = committed
        self._guard = guard
        self._topic = topic
        self._lookback_seconds = lookback_seconds

    async def restore(self) -> Restored:
        records = [self._read(record) for record in await self._committed.before(self._lookback_seconds)]
        untold: set[str] = set()
        in_doubt: set[str] = set()
        for metadata in self._committed.metadata.values():
            if metadata == EVERY_ALARM:
                return Restored(records, in_doubt=None)
            if metadata:
                kept = json.loads(metadata)
                # A list is of the untold ones alone.
                untold |= set(kept["untold"] if isinstance(kept, dict) else kept)
                in_doubt |= set(kept["in_doubt"] if isinstance(kept, dict) else ())
        return Restored(records, untold, in_doubt)

    async def next(self) -> Sequence[AlarmRecord]:
        return [self._read(record) for record in await self._committed.next()]

    def _read(self, record: KafkaRecord) -> AlarmRecord:
        alarm = None
        with self._guard.skipping(record):
            if record.value is not None:
                alarm = read_message(Alarm, record.value)
        timestamp = broker_seconds(record.timestamp, time.time())
        return AlarmRecord(alarm, timestamp, record.topic, record.partition, record.offset)

    def accept(self, record: AlarmRecord) -> None:
        self._committed.done(self._topic, record.partition, record.offset)

    async def commit(self, untold: Collection[str], in_doubt: Collection[str]) -> None:
        kept = {"untold": sorted(untold), "in_doubt": sorted(in_doubt)} if in_doubt else sorted(untold)
        metadata = json.dumps(kept, separators=(",", ":")) if kept else ""
        await self._committed.commit(metadata if len(metadata) <= METADATA_CHARACTERS else EVERY_ALARM)

    async def pending(self) -> int:
        return await self._committed.pending()

    @property
    def answered_at(self) -> float:
        return self._committed.answered_at


class KafkaStateLog:
    """`state_keeper.StateLog` on Kafka: alarms and feedback are read, changes of state are written.

    Args:
        committed: an open `CommittedLog` of the topics of alarms and feedback.
        settings: names the topics.
        producer: a started aiokafka producer.
        guard: what becomes of a record that is no message of ours.
    """

    def __init__(
        self, committed: CommittedLog, settings: Settings, producer: WaitingProducer, guard: RecordGuard
    ) -> None:
        self._committed = committed
        self._guard = guard
        self._settings = settings
        self._producer = producer

    async def restore(self) -> StatesSoFar:
        changes = []
        old = (time.time() - OPEN_SECONDS) * 1000
        async with TopicReader(self._settings, [self._settings.topic_alarm_states]) as reader:
            async for records in reader.to_end():
                for record in records:
                    # Years of the audit trail: of the old part only what set an asset aside can matter still.
                    if record.timestamp_ms < old and OF_ASSET not in (record.value or b""):
                        continue
                    with self._guard.skipping(record):
                        changes.append(read_message(AlarmStateChange, record.value))
        return StatesSoFar(changes, *await self._said())

    async def _said(self) -> tuple[list[Feedback], list[Feedback]]:
        """Of the last weeks: what was said about alarms, and about assets up to the progress."""
        answers, taken = [], []
        async with TopicReader(self._settings, [self._settings.topic_feedback], time.time() - OPEN_SECONDS) as reader:
            async for records in reader.to_end():
                for record in records:
                    with self._guard.skipping(record):
                        said = read_message(Feedback, record.value, record.timestamp_ms)
                        if said.alarm is not None and said.action in ANSWERS:
                            answers.append(said)
                        elif said.action in SAYS and self._committed.is_done(
                            record.topic, record.partition, record.offset
                        ):
                            taken.append(said)
        return answers, taken

    async def next(self) -> Sequence[StateInput]:
        inputs = []
        for record in await self._committed.next():
            kind: type[Alarm | Feedback] = Feedback if record.topic == self._settings.topic_feedback else Alarm
            with self._guard.skipping(record):
                if record.value is not None:
                    message = read_message(kind, record.value, record.timestamp)
                    inputs.append(StateInput(message, broker_seconds(record.timestamp, time.time()), record))
            self._committed.done(record.topic, record.partition, record.offset)
        return inputs

    async def publish(self, changes: Sequence[AlarmStateChange]) -> None:
        topic = self._settings.topic_alarm_states
        for change in changes:
            send = partial(self._producer.send_and_wait, topic, to_bytes(change), key=change.asset.encode())
            await until_it_works(send, f"send to {topic}")

    async def commit(self) -> None:
        await self._committed.commit()
