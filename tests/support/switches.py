"""What a log with control records in it gives, by plain engines. Knows no facts, snapshots or commits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stream_detector.decoding.control_records import ANNOUNCE, SWITCH, WITHDRAW, Order, read_order
from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.engine import Engine
from stream_detector.engine.outcome import Outcome, RecordBatch
from stream_detector.messages import Alarm, to_bytes
from stream_detector.streaming.clients.kafka_types import KafkaRecord


@dataclass
class Said:
    """What was said, and the alarms that are up; `switches`: how often another bundle took over."""

    alarms: dict[tuple[str, str], bytes] = field(default_factory=dict)
    dead_letters: dict[tuple[int, int], str] = field(default_factory=dict)
    switches: int = 0
    up: dict[str, Alarm] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        for alarm in outcome.alarms:
            self.alarms[alarm.id, alarm.state] = to_bytes(alarm)
            self.up.pop(alarm.id, None)
            if alarm.state == "raised":
                self.up[alarm.id] = alarm
        for letter in outcome.dead_letters:
            self.dead_letters[letter.partition, letter.offset] = letter.reason

    def switch(self) -> None:
        self.switches += 1
        for alarm in self.up.values():
            self.alarms[alarm.id, "cleared"] = to_bytes(withdrawn(alarm))
        self.up.clear()


def decided_by_log(records: Sequence[KafkaRecord], group: str, first: str, engine_of: Callable[[str], Engine]) -> Said:
    """All that the group says of these records of one topic, partition after partition.

    first: id of the bundle that its workers are started with. Each bundle has read all that is before its record, as it
    does where the whole log is younger (Kafka timestamps) than windows and episodes reach back.
    """
    said = Said()
    for number in sorted({record.partition for record in records}):
        mine = [record for record in records if record.partition == number]
        decides, term, engine, before, readings = first, 0, engine_of(first), list[KafkaRecord](), list[KafkaRecord]()
        said.up.clear()
        for record in mine:
            order = read_order(record.key, record.value)
            if order is None:
                readings.append(record)
            elif (
                (order.control, order.group) == (SWITCH, group)
                and order.bundle != decides
                and not _taken_back(order, mine, record.offset)
            ):
                said.add(engine.process(_batch(number, readings)))
                said.switch()
                before += readings
                readings.clear()
                term, decides, engine = term + 1, order.bundle, engine_of(order.bundle)
                engine.restore(number, {}, record.offset, term)
                engine.process(_batch(number, before))
        said.add(engine.process(_batch(number, readings)))
    return said


def _taken_back(order: Order, records: Sequence[KafkaRecord], offset: int) -> bool:
    """Whether the first record of the group behind this switch that says something else takes it back."""
    for record in records:
        other = read_order(record.key, record.value)
        if record.offset <= offset or other is None or other.group != order.group or other.control == ANNOUNCE:
            continue
        if (other.control, other.bundle) != (SWITCH, order.bundle):
            return (other.control, other.bundle) == (WITHDRAW, order.bundle)
    return False


def _batch(number: int, records: Sequence[KafkaRecord]) -> RecordBatch:
    return RecordBatch(
        records[0].topic if records else "",
        number,
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp for record in records],
    )
