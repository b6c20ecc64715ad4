"""Whole workers on a local broker."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stream_detector.bundle.bundle_table import AnyBundle
from stream_detector.engine.outcome import RecordBatch
from stream_detector.engine.table_engine import engine_of
from stream_detector.messages import to_bytes
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import OffsetAndMetadata, TopicPartition
from stream_detector.streaming.local.broker import EVERY_TOPIC, LocalBroker, LocalGroup
from stream_detector.streaming.local.clients import (
    LocalProducer,
    LocalTopicCounts,
    ensure_local_topics,
    local_log_reader,
)
from stream_detector.streaming.local.stream import LocalStream
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.worker.composition import build_worker
from stream_detector.streaming.worker.pipeline import Pipeline
from stream_detector.streaming.worker.ports import DetectionEngine
from stream_detector.streaming.worker.worker import Worker
from tests.support.plant import BASE, Record

SETTINGS = Settings(
    bootstrap="local:1",
    metrics_port=0,
    console=False,
    commit_interval_seconds=0.01,
    start_seconds=5.0,
    shutdown_seconds=2.0,
    max_poll_records=40,
)


async def nothing_to_say(_: Settings) -> None:
    """Instead of a look at brokers that are not there."""


@dataclass
class Plant:
    """A local broker with the topics of a worker, and the group whose members are its workers."""

    partitions: int = 1
    settings: Settings = SETTINGS
    broker: LocalBroker = field(default_factory=lambda: LocalBroker(wall_clock=lambda: BASE + 600.0))
    streams: list[LocalStream] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broker.create_topic(self.settings.topic_readings, self.partitions)
        self.group = LocalGroup(self.broker, self.settings.group, self.settings.topic_readings)

    def send(self, log: list[Record]) -> None:
        for record in log:
            self.broker.append(
                self.settings.topic_readings, record.value, record.key, record.partition % self.partitions
            )

    def worker(
        self,
        bundle: AnyBundle,
        engine: DetectionEngine | None = None,
        stream: type[LocalStream] = LocalStream,
        **changes: Any,
    ) -> Worker:
        """A worker of the group; the changes are arguments of `build_worker`."""

        def open_stream(settings: Settings, pipeline: Pipeline) -> LocalStream:
            self.streams.append(stream(settings, pipeline, self.group))
            return self.streams[-1]

        def open_log(settings: Settings) -> LogReader:
            return local_log_reader(self.broker, settings)

        arguments: dict[str, Any] = {
            "engine": engine,
            "open_log": open_log,
            "open_producer": lambda _: LocalProducer(self.broker),
            "open_stream": open_stream,
            "ensure_topics": partial(ensure_local_topics, self.broker),
            "topic_counts": LocalTopicCounts(self.broker),
            "watch_seconds": 0.01,
            "why_unreachable": nothing_to_say,
        }
        return build_worker(changes.pop("settings", self.settings), bundle, **(arguments | changes))

    async def run_to_the_end(self, bundle: AnyBundle, **changes: Any) -> None:
        """A worker reads the log to its end, and ends as it should; the changes are arguments of `build_worker`."""
        worker = self.worker(bundle, **changes)
        running = asyncio.create_task(worker.run())
        await until(self.caught_up)
        worker.stop()
        assert await running == 0

    async def run_and_kill(self, bundle: AnyBundle, rng: random.Random, most_looks: int) -> None:
        """A worker is killed after so many looks at most, while the broker acknowledges late and out of order."""
        self.broker.hold = EVERY_TOPIC if rng.random() < 0.5 else ()
        await self._work_and_die([self.worker(bundle)], rng, most_looks)
        self.forget_held()

    async def kill_some(self, start: Callable[[], Worker], rng: random.Random) -> None:
        """One or two workers are killed likewise; what they have sent is held until `forget_held`."""
        self.broker.hold = EVERY_TOPIC if rng.random() < 0.4 else ()
        await self._work_and_die([start() for _ in range(rng.choice([1, 1, 2]))], rng, 60)

    async def _work_and_die(self, workers: Sequence[Worker], rng: random.Random, most_looks: int) -> None:
        running = [asyncio.create_task(worker.run()) for worker in workers]
        for _ in range(rng.randint(1, most_looks)):
            await asyncio.sleep(0.002)
            self.broker.acknowledge([sent for sent in self.broker.held if rng.random() < 0.7])
        for stream in self.streams:
            if not stream._killed:
                stream.kill()
        for task in running:
            task.cancel()

    def forget_held(self) -> None:
        """What the broker has not acknowledged is lost, and it holds back no more."""
        self.broker.held.clear()
        self.broker.hold = ()

    def tp(self, number: int = 0) -> TopicPartition:
        return TopicPartition(self.settings.topic_readings, number)

    def committed(self, number: int = 0) -> int | None:
        entry = self.broker.committed.get((self.settings.group, self.tp(number)))
        return None if entry is None else entry.offset

    def commit_of_another(self, offset: int, metadata: str = "", number: int = 0) -> None:
        self.broker.committed[self.settings.group, self.tp(number)] = OffsetAndMetadata(offset, metadata)

    def caught_up(self) -> bool:
        return all(
            (self.committed(number) or 0) == self.broker.end(self.tp(number)) for number in range(self.partitions)
        )

    def alarms(self) -> set[bytes]:
        return {value or b"" for value in self.broker.values(self.settings.topic_alarms)}


def alarms_of_log(bundle: AnyBundle, plant: Plant, most: int | None = None) -> set[bytes]:
    """What one engine says that reads the log from its beginning to its end, or `most` records of each partition."""
    engine = engine_of(bundle, limits_of(SETTINGS))
    alarms: set[bytes] = set()
    for number in range(plant.partitions):
        records, _ = plant.broker.between(plant.tp(number), 0, most)
        if records:
            outcome = engine.process(
                RecordBatch(
                    plant.settings.topic_readings,
                    number,
                    [record.offset for record in records],
                    [record.key for record in records],
                    [record.value for record in records],
                    [record.timestamp for record in records],
                )
            )
            alarms |= {to_bytes(alarm) for alarm in outcome.alarms}
    return alarms


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for the condition; fails when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.002)
