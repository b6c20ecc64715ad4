"""What a log with control records in it gives, by plain engines. Knows no facts, snapshots or commits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.decoding.asset_table import specificity
from stream_detector.decoding.control_records import (
    ANNOUNCE,
    DROP_LINE,
    SWITCH,
    SWITCH_LINE,
    WITHDRAW,
    WITHDRAW_LINE,
    Order,
    read_order,
)
from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.engine.engine import Engine
from stream_detector.engine.outcome import Outcome, RecordBatch
from stream_detector.messages import Alarm, to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.state.group_limits import limits_of


def engines_from(registry: Registry, settings: Settings) -> Callable[[str], Engine]:
    """Makes an engine of a bundle (id) of the registry, with the limits of the settings."""
    return lambda bundle_id: Engine(load_bundle(registry.folder_of(bundle_id)), limits_of(settings))


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

    def switch(self, assets: Callable[[str], bool] = lambda _: True) -> None:
        """Another bundle decides about these assets."""
        self.switches += 1
        for alarm in [alarm for alarm in self.up.values() if assets(alarm.asset)]:
            self.alarms[alarm.id, "cleared"] = to_bytes(withdrawn(alarm))
            del self.up[alarm.id]


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


def decided_by_table(
    records: Sequence[KafkaRecord], group: str, lines: Mapping[str, str], engine_of: Callable[[str], Engine]
) -> Said:
    """The same of a group whose workers are started with a table (glob: bundle id), asset by asset: an engine each.

    The key of a record is its asset. Once nobody decides for an asset, its records go nowhere.
    """
    said = Said()
    for number in sorted({record.partition for record in records}):
        mine = [record for record in records if record.partition == number]
        assets = {(key or b"").decode(): _of_asset(mine, key) for key in dict.fromkeys(r.key for r in mine)}
        now, term = dict(lines), 0
        said.up.clear()
        engines = {asset: engine_of(now[line]) for asset in assets if (line := line_of(now, asset)) is not None}
        begun = dict.fromkeys(engines, 0)

        def run_to(asset: str, offset: float) -> None:
            if asset in engines:  # noqa: B023 - it is called at once
                part = [r for r in assets[asset] if begun[asset] <= r.offset < offset]  # noqa: B023
                said.add(engines[asset].process(_batch(number, part)))  # noqa: B023

        for record in mine:
            order = read_order(record.key, record.value)
            if order is None or order.group != group or order.control not in (SWITCH_LINE, DROP_LINE):
                continue
            after = {**now, order.assets: order.bundle}
            if order.control == DROP_LINE:
                after.pop(order.assets, None)
            if after in (now, {}) or _taken_back(order, mine, record.offset):
                continue
            term += 1
            moved = {asset for asset in assets if order.assets in (line_of(now, asset), line_of(after, asset))}
            for asset in moved:
                run_to(asset, record.offset)
                engines.pop(asset, None)
            said.switch(moved.__contains__)
            now = after
            for asset in moved:
                line = line_of(now, asset)
                if line is not None:
                    engines[asset], begun[asset] = engine_of(now[line]), record.offset
                    engines[asset].restore(number, {}, record.offset, term)
                    engines[asset].process(_batch(number, [r for r in assets[asset] if r.offset < record.offset]))
        for asset in engines:
            run_to(asset, float("inf"))
    return said


def line_of(lines: Mapping[str, str], asset: str) -> str | None:
    """The line (glob) that decides for the asset: the most specific one that fits."""
    fitting = [glob for glob in lines if fnmatchcase(asset, glob)]
    return max(fitting, key=specificity, default=None)


def _of_asset(records: Sequence[KafkaRecord], key: bytes | None) -> list[KafkaRecord]:
    return [record for record in records if record.key == key and read_order(record.key, record.value) is None]


def _taken_back(order: Order, records: Sequence[KafkaRecord], offset: int) -> bool:
    """Whether the first record of the group behind this switch that says something else takes it back."""
    for record in records:
        other = read_order(record.key, record.value)
        if record.offset <= offset or other is None or other.group != order.group or other.control == ANNOUNCE:
            continue
        if other.assets == order.assets and (other.control, other.bundle) != (order.control, order.bundle):
            takes_back = {SWITCH: WITHDRAW, SWITCH_LINE: WITHDRAW_LINE}.get(order.control)
            return (other.control, other.bundle) == (takes_back, order.bundle)
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
