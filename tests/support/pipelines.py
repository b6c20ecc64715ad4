"""A pipeline on a local broker, with an engine that says what the test wants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stream_detector.engine.outcome import AssetStatus, Outcome, RecordBatch
from stream_detector.messages import DeadLetter, Score
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, TopicPartition
from stream_detector.streaming.clients.producer import BurstSender, ConfirmedProducer
from stream_detector.streaming.local.broker import LocalBroker
from stream_detector.streaming.local.clients import LocalProducer, local_log_reader
from stream_detector.streaming.worker.offsets.detectors import Detector, Detectors
from stream_detector.streaming.worker.offsets.planning import Planner
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.offsets.recovery import ScoredBy
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.transport.fetched import Columns, Fetched
from tests.support.messages import make_alarm, make_change

READINGS = "plant.readings"
BUNDLE = "bundle-1"
SCORED_BY = ScoredBy(BUNDLE, "fingerprint")
SETTINGS = Settings(bootstrap="local:1", outage_seconds=5.0)


@dataclass
class ScriptedEngine:
    """Answers each batch with `answer(batch)`."""

    answer: Callable[[RecordBatch], Outcome] = lambda _: Outcome()
    oldest: int | None = None
    """What `low` says."""
    batches: list[RecordBatch] = field(default_factory=list)
    together: list[list[int]] = field(default_factory=list)
    """The partitions of each call."""
    restored: list[tuple[int, dict[str, bytes], int]] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    assets: list[AssetStatus] = field(default_factory=list)
    standing: dict[str, bytes | None] = field(default_factory=dict)
    """The state of every asset."""
    retired: dict[str, Outcome] = field(default_factory=dict)
    """What comes of an asset that lives in another partition now."""

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome:
        self.batches.append(batch)
        return self.answer(batch)

    def process_all(self, batches: Sequence[RecordBatch], publish_scores: bool = False) -> list[Outcome]:
        self.together.append([batch.partition for batch in batches])
        return [self.process(batch, publish_scores) for batch in batches]

    def low(self, partition: int) -> int | None:
        return self.oldest

    def restore(self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0, id_term: int = 0) -> None:
        self.restored.append((partition, dict(snapshots), silent_until))

    def forget(self, partition: int) -> None:
        self.forgotten.append(partition)

    def status(self, detailed: int | None = None) -> list[AssetStatus]:
        return self.assets

    def retire(self, topic: str, partition: int, asset: str, offset: int) -> Outcome:
        return self.retired.get(asset, Outcome())

    def snapshots(self, partition: int, processed: int | None = None) -> list[tuple[str, bytes | None]]:
        return list(self.standing.items())

    def untold(self, partition: int, processed: int) -> list[tuple[str, bytes | None]]:
        return []


@dataclass
class RecordingObserver:
    """What the pipeline told, in order."""

    told: list[str] = field(default_factory=list)

    def decided(self, seconds: float) -> None:
        """`scored` tells it of each batch."""

    def scored(self, partition: int, outcome: Outcome, seconds: float) -> None:
        self.told.append("scored")

    def alarms_acknowledged(self, outcome: Outcome) -> None:
        self.told.append("alarms acknowledged")

    def dead_letter_held_back(self) -> None:
        self.told.append("dead letter held back")

    def evicted(self, assets: int) -> None:
        self.told.append(f"evicted {assets}")

    def committed(self) -> None:
        self.told.append("committed")

    def assigned(self, partitions: set[int]) -> None:
        self.told.append(f"assigned {sorted(partitions)}")

    def planned(self, *, rebuilding: bool) -> None:
        self.told.append(f"planned, rebuilding {rebuilding}")

    def rebuilt(self, *, rebuilding: bool) -> None:
        self.told.append(f"rebuilt, rebuilding {rebuilding}")

    def switched(self, partition: int, seconds: float) -> None:
        self.told.append(f"switched partition {partition}")


@dataclass
class Rig:
    """A pipeline and everything around it. `own` gives it a partition without a plan."""

    broker: LocalBroker = field(default_factory=LocalBroker)
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    settings: Settings = SETTINGS
    sender: BurstSender | None = None
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    errors: list[BaseException] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.producer = ConfirmedProducer(self.settings, lambda _: LocalProducer(self.broker), self.clock)
        self.planner = Planner(
            self.settings, lambda: local_log_reader(self.broker, self.settings), SCORED_BY, 60.0, self.clock, self.wait
        )
        self.pipeline = Pipeline(
            self.settings, Detectors(Detector(self.engine, SCORED_BY)), self.planner, self.sender or self.producer,
            self.observer, self.errors.append, clock=self.clock,
        )  # fmt: skip

    def clock(self) -> float:
        return self.now

    async def wait(self, seconds: float) -> None:
        self.now += seconds

    async def start(self) -> "Rig":
        await self.producer.start()
        return self

    def own(self, number: int = 0, processed: int = 10, silent_until: int = 0, committed: int | None = 10) -> None:
        self.pipeline.partitions[number] = PartitionProgress(1, processed, silent_until, committed)

    async def committed_with_metadata(self, partitions: set[int]) -> dict[int, tuple[int, str]]:
        """The rig is the consumer of a plan."""
        found = {n: self.broker.committed.get((self.settings.group, TopicPartition(READINGS, n))) for n in partitions}
        return {number: (entry.offset, entry.metadata) for number, entry in found.items() if entry is not None}

    def group_committed(self, offset: int, metadata: str = "", number: int = 0) -> None:
        """The group's offset, as of an earlier worker."""
        tp = TopicPartition(READINGS, number)
        self.broker.committed[self.settings.group, tp] = OffsetAndMetadata(offset, metadata)

    def readings(self, count: int, number: int = 0) -> None:
        """So many records in the log, a second apart."""
        for offset in range(self.broker.end(TopicPartition(READINGS, number)), count):
            self.broker.append(READINGS, b"{}", b"m", number, timestamp=offset * 1000)


def fetched(
    start: int = 10, end: int = 12, epoch: int = 1, number: int = 0, records: bool = True, value: bytes = b"{}"
) -> Fetched:
    offsets = list(range(start, end)) if records else []
    size = len(offsets)
    columns = Columns(offsets, [b"m"] * size, [value] * size, [0] * size)
    return Fetched(READINGS, number, epoch, start, end, columns)


def make_score(asset: str = "m", number: int = 0) -> Score:
    return Score(
        asset=asset, time="2026-05-01T00:00:00Z", score=float(number), threshold=1.0, probability=None, alarm=False,
        degraded=0, bundle=BUNDLE,
    )  # fmt: skip


def make_letter(offset: int = 0) -> DeadLetter:
    return DeadLetter(
        topic=READINGS, partition=0, offset=offset, reason="malformed", raw=None, key="bQ==", timestamp_ms=0
    )


def outcome_with(
    alarms: int = 0,
    scores: int = 0,
    letters: int = 0,
    snapshots: Sequence[tuple[str, bytes | None]] = (),
    at: int = 0,
    changes: int = 0,
) -> Outcome:
    """So many of each, told apart by `at`."""
    return Outcome(
        alarms=[make_alarm(at + number) for number in range(alarms)],
        alarm_timestamps_ms=[0] * alarms,
        scores=[make_score(number=at + number) for number in range(scores)],
        dead_letters=[make_letter(at + number) for number in range(letters)],
        snapshots=list(snapshots),
        operating=[make_change(at + number, running=False) for number in range(changes)],
    )
