"""More workers share the partitions evenly, and what they find together is what one would have found."""

from functools import partial
from pathlib import Path

import pytest

from tests.support.plant import make_log, small_bundle
from tests.support.stack.kafka import Kafka, create_topic
from tests.support.stack.workers import WorkerProcess, alarms_of, caught_up, produce, topic, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 8


def start_group(kafka: Kafka, prefix: str, bundle: Path, folder: Path, count: int) -> list[WorkerProcess]:
    return [
        WorkerProcess(
            kafka.bootstrap, prefix, bundle, folder / f"{prefix}-{number}.log", instance=f"{prefix}-{number}"
        ).start()
        for number in range(count)
    ]


def partitions_of(workers: list[WorkerProcess]) -> list[int]:
    return sorted(int(worker.metric("stream_detector_partitions_assigned")) for worker in workers)


def test_workers_that_join_take_equal_shares_and_find_the_same_alarms(
    kafka: Kafka, unique_name: str, tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    log = make_log(seed=11, steps=200, assets=16, partitions=PARTITIONS)
    alone, together = f"{unique_name}-one", f"{unique_name}-four"
    for prefix in (alone, together):
        create_topic(kafka.bootstrap, topic(prefix, "readings"), PARTITIONS)

    single = start_group(kafka, alone, bundle, tmp_path, 1)
    group = start_group(kafka, together, bundle, tmp_path, 2)
    try:
        wait_for(lambda: partitions_of(single) == [PARTITIONS], 60, "one worker has all partitions", each=0.5)
        wait_for(lambda: partitions_of(group) == [4, 4], 60, "two workers have four partitions each", each=0.5)
        produce(kafka.bootstrap, topic(alone, "readings"), log)
        produce(kafka.bootstrap, topic(together, "readings"), log[: len(log) // 2])
        group += [
            WorkerProcess(
                kafka.bootstrap, together, bundle, tmp_path / f"late-{number}.log", instance=f"{together}-late-{number}"
            ).start()
            for number in range(2)
        ]
        wait_for(lambda: partitions_of(group) == [2, 2, 2, 2], 90, "four workers have two partitions each", each=0.5)
        produce(kafka.bootstrap, topic(together, "readings"), log[len(log) // 2 :])
        for prefix in (alone, together):
            wait_for(partial(caught_up, kafka.bootstrap, prefix), 90, f"{prefix} is done", each=0.5)
    finally:
        for worker in [*single, *group]:
            worker.stop()

    found = alarms_of(kafka.bootstrap, alone)
    assert found
    assert alarms_of(kafka.bootstrap, together) == found
