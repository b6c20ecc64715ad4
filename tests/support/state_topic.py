"""One partition of the topic of state in memory, and snapshots with and without an open alarm."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

from stream_detector.engine.assets.snapshots import Snapshot, dump
from stream_detector.messages import Alarm, to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.state.snapshots import snapshot_message
from stream_detector.streaming.worker.offsets.planning import PartitionPlan, Planner
from stream_detector.streaming.worker.offsets.recovery import ScoredBy, to_metadata

SETTINGS = Settings.load(group="g")
END = 10**6
"""Of the readings."""


@dataclass(frozen=True)
class Record:
    """A record as a consumer gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass
class StateTopic:
    """What was written, in order; `alarms`: what went to the topic of alarms."""

    records: list[Record] = field(default_factory=list)
    alarms: list[Outgoing] = field(default_factory=list)
    end: int = 0

    def write(self, messages: Iterable[Outgoing]) -> None:
        for message in messages:
            if message.topic == SETTINGS.topic_alarms:
                self.alarms.append(message)
                continue
            number, self.end = self.end, self.end + 1
            self.records.append(Record(message.topic, 0, number, number, message.key, message.value, message.headers))

    def snapshot(self, bundle: str, asset: str, until: int, alarm: Alarm | None = None, term: int = 0) -> None:
        data = dump(Snapshot(since=0, until=until, alarm=None if alarm is None else to_bytes(alarm)))
        self.write([snapshot_message(SETTINGS, bundle, 0, asset, data, until, term)])

    def compact(self) -> None:
        """Of each key the last record stays, as the cleaner leaves it."""
        last = {record.key: record.offset for record in self.records}
        self.records = [record for record in self.records if last[record.key] == record.offset]

    def read(self, end: int = END) -> PartitionState:
        state = PartitionState(SETTINGS.group, end)
        state.take(self.records)
        return state


@dataclass
class StandingLog:
    """`LogReader` over a `StateTopic` and a log of readings that ends at `END`."""

    topic: StateTopic
    low: int = 0
    """What is found where windows are looked for by time."""
    published: list[Alarm] = field(default_factory=list)
    """Further alarms in their topic, of the time 0."""
    beginning: int = 0
    end: int = END
    asked_since_ms: list[int] = field(default_factory=list)
    """Since when alarms were asked for."""

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None: ...

    def rest(self) -> None: ...

    async def ends(self, partitions: set[int]) -> dict[int, tuple[int, int]]:
        return dict.fromkeys(partitions, (self.beginning, self.end))

    async def low_by_time(self, *_: object) -> int:
        return self.low

    async def state(self, ends: dict[int, int]) -> dict[int, PartitionState]:
        return {number: self.topic.read(end) for number, end in ends.items()}

    async def alarms_since(self, timestamp_ms: int) -> list[Record]:
        self.asked_since_ms.append(timestamp_ms)
        known = self.published if timestamp_ms <= 0 else []
        said: list[tuple[bytes, tuple[tuple[str, bytes], ...]]] = [(to_bytes(alarm), ()) for alarm in known]
        said += [(message.value or b"", message.headers) for message in self.topic.alarms]
        return [Record("alarms", 0, number, 0, None, *each) for number, each in enumerate(said)]


def plan_of(log: StandingLog, bundle: str, committed: int | None, settings: Settings = SETTINGS) -> PartitionPlan:
    """What a worker with this bundle plans for partition 0; nothing is written."""
    scored_by = ScoredBy(bundle, "fingerprint")
    planner = Planner(settings, lambda: cast(LogReader, log), scored_by, 3600.0)
    offsets = {} if committed is None else {0: (committed, to_metadata(committed - 5, scored_by))}
    return asyncio.run(planner.plan({0}, offsets, {}))[0]


def start_worker(log: StandingLog, bundle: str, committed: int | None, bursts: int | None = None) -> PartitionPlan:
    """Plan, and write the first `bursts` of what is to be written; None = all."""
    plan = plan_of(log, bundle, committed)
    for burst in plan.bursts[:bursts]:
        log.topic.write(burst)
    return plan
