"""A worker that would go on where another one's scores round otherwise."""

import asyncio
import logging
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_detector.bundle.bundle import load_bundle
from stream_detector.errors import MixedProcessorsError
from stream_detector.settings import Settings
from stream_detector.streaming.state.partition_state import PartitionState
from stream_detector.streaming.worker.offsets.planning import PartitionPlan, Planner
from stream_detector.streaming.worker.offsets.recovery import ScoredBy, to_metadata
from tests.support.plant import make_log, small_bundle
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import WorkerProcess, caught_up, produce, topic, wait_for

HERE = ScoredBy("bundle", "fingerprint of this processor")


class FakeLog:
    """A partition of 100 records without snapshots."""

    async def __aenter__(self) -> Self:
        return self

    async def close(self) -> None: ...

    def rest(self) -> None: ...

    async def ends(self, partitions: set[int]) -> dict[int, tuple[int, int]]:
        return dict.fromkeys(partitions, (0, 100))

    async def state(self, ends: dict[int, int]) -> dict[int, PartitionState]:
        return {number: PartitionState("stream-detector", end) for number, end in ends.items()}


def planned(
    metadata: str, mixed: Literal["refuse", "accept"] = "refuse", in_memory: dict[int, int] | None = None
) -> PartitionPlan:
    log: Any = FakeLog
    planner = Planner(Settings(mixed_processors=mixed), log, HERE, 60.0)
    return asyncio.run(planner.plan({3}, {3: (80, metadata)}, in_memory or {}))[3]


def test_a_worker_whose_scores_round_otherwise_is_refused_and_told_what_to_do() -> None:
    with pytest.raises(MixedProcessorsError, match=r"partition 3 .* round otherwise.*MIXED_PROCESSORS=accept"):
        planned(to_metadata(50, ScoredBy("bundle", "another")))


def test_it_may_go_on_where_that_was_accepted_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert planned(to_metadata(50, ScoredBy("bundle", "another")), "accept").start.offset == 50
    assert "round otherwise" in caplog.text


@pytest.mark.parametrize(
    "metadata",
    [to_metadata(50, HERE), to_metadata(50, ScoredBy("another bundle", "another")), '{"low":50}'],
    ids=["the same processor", "another bundle", "a commit of an older version"],
)
def test_nothing_is_said_where_nothing_is_mixed(metadata: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert planned(metadata).start.offset == 50
    assert "round" not in caplog.text


def test_a_worker_that_goes_on_from_its_own_memory_scores_what_comes_as_before() -> None:
    assert planned(to_metadata(50, ScoredBy("bundle", "another")), in_memory={3: 90}).start.keep_state


@pytest.mark.kafka
@pytest.mark.slow
def test_a_group_refuses_a_worker_on_a_processor_that_rounds_otherwise(
    kafka: Kafka | ExistingKafka, unique_name: str, tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    readings = topic(unique_name, "readings")
    create_topic(kafka.bootstrap, readings, 1)
    produce(kafka.bootstrap, readings, make_log(5, steps=20, partitions=1))
    worker = WorkerProcess(kafka.bootstrap, unique_name, bundle, tmp_path / "log").start()
    try:
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
        assert worker.stop() == 0
        bundle_id = load_bundle(bundle).manifest.bundle_id
        asyncio.run(_commit_as_another(kafka.bootstrap, unique_name, readings, bundle_id))
        assert worker.start().wait(60) == 2
        assert "whose scores round otherwise" in worker.log_text()
        assert "Traceback" not in worker.log_text(), worker.log_text()
        worker.environment = {"STREAM_DETECTOR_MIXED_PROCESSORS": "accept"}
        worker.start()
        produce(kafka.bootstrap, readings, make_log(6, steps=20, partitions=1))
        wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 90, "all is committed")
        assert worker.stop() == 0
    finally:
        worker.kill()


async def _commit_as_another(bootstrap: str, group: str, readings: str, bundle_id: str) -> None:
    """What another processor's worker would have left behind: the same offset, another fingerprint."""
    tp = TopicPartition(readings, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([tp])
        offset = await consumer.committed(tp)
        assert offset
        await consumer.commit({tp: (offset, to_metadata(0, ScoredBy(bundle_id, "another")))})
    finally:
        await consumer.stop()
