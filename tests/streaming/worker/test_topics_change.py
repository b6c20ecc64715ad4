"""Topics that change under a running worker, on real Kafka: partitions added, topics deleted."""

import json

import pytest

from tests.streaming.worker.conftest import Start
from tests.support.plant import BASE, SENSORS, STEP_SECONDS, Record
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic, delete_topic, with_admin
from tests.support.stack.workers import WorkerProcess, alarms_of, caught_up, produce, topic, wait_for

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SETTINGS = {"STREAM_DETECTOR_SESSION_TIMEOUT_SECONDS": "6"}
ALARMING, QUIET = 9.0, 0.1


def rows(begin: int, end: int, value: float, partition: int = 0, asset: str = "m1") -> list[Record]:
    return [
        Record(
            partition,
            asset.encode(),
            json.dumps({"time": BASE + step * STEP_SECONDS, "values": dict.fromkeys(SENSORS, value)}).encode(),
        )
        for step in range(begin, end)
    ]


def add_partitions(bootstrap: str, name: str, count: int) -> None:
    async def add(admin: object) -> None:
        from aiokafka.admin import NewPartitions

        await admin.create_partitions({name: NewPartitions(count)})  # type: ignore[attr-defined]

    with_admin(bootstrap, add)


def ready(worker: WorkerProcess) -> bool:
    return worker.get("/readyz")[0] == 200


def open_alarms(bootstrap: str, prefix: str) -> set[str]:
    alarms = alarms_of(bootstrap, prefix)
    return {id_ for id_, state in alarms if state == "raised"} - {id_ for id_, state in alarms if state == "cleared"}


def with_an_alarm_up(
    kafka: Kafka | ExistingKafka, prefix: str, start: Start, partitions: int, **environment: str
) -> WorkerProcess:
    name = topic(prefix, "readings")
    create_topic(kafka.bootstrap, name, partitions)
    worker = start(kafka.bootstrap, prefix, instance="w", environment={**SETTINGS, **environment})
    wait_for(lambda: ready(worker), 90, "ready")
    produce(kafka.bootstrap, name, rows(0, 20, QUIET) + rows(20, 26, ALARMING))
    wait_for(lambda: caught_up(kafka.bootstrap, prefix), 60, "all is committed")
    assert len(open_alarms(kafka.bootstrap, prefix)) == 1
    return worker


def test_partitions_may_be_added_while_an_alarm_is_up_and_its_asset_moves(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    worker = with_an_alarm_up(kafka, unique_name, start, 2)
    name = topic(unique_name, "readings")
    add_partitions(kafka.bootstrap, name, 4)
    add_partitions(kafka.bootstrap, topic(unique_name, "alarms"), 6)
    produce(kafka.bootstrap, name, rows(26, 60, QUIET, partition=3))
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 60, "the new partitions are read")
    wait_for(lambda: not open_alarms(kafka.bootstrap, unique_name), 90, "the alarm in the old partition is cleared")
    assert worker.alive
    worker.kill()
    worker.start()
    wait_for(lambda: ready(worker), 90, "ready again")
    produce(kafka.bootstrap, name, rows(60, 70, QUIET, partition=3))
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 60, "all is committed")
    assert len(alarms_of(kafka.bootstrap, unique_name)) == 2


def test_a_topic_of_state_that_may_not_be_extended_is_named_while_the_old_partitions_go_on(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    for other, config in (("state", {"cleanup_policy": "compact"}), ("alarms", {}), ("dead_letters", {})):
        create_topic(kafka.bootstrap, topic(unique_name, other), 1, **config)
    worker = with_an_alarm_up(kafka, unique_name, start, 1, STREAM_DETECTOR_CREATE_TOPICS="false")
    name = topic(unique_name, "readings")
    add_partitions(kafka.bootstrap, name, 2)
    wait_for(lambda: not ready(worker), 30, "red")
    assert "state has 1 partitions, 2 are needed" in worker.get("/readyz")[1]
    produce(kafka.bootstrap, name, rows(0, 30, QUIET, partition=1, asset="m2") + rows(26, 60, QUIET))
    wait_for(lambda: not open_alarms(kafka.bootstrap, unique_name), 60, "the old partition goes on")
    assert worker.alive
    add_partitions(kafka.bootstrap, topic(unique_name, "state"), 2)
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name) or not worker.alive, 60, "it goes on, or starts again")
    if not worker.alive:
        assert worker.wait() == 75
        worker.start()
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 60, "both partitions are read")
    wait_for(lambda: ready(worker), 90, "ready")


def test_a_topic_of_state_that_was_deleted_costs_no_alarm_even_where_the_worker_is_killed_next(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    worker = with_an_alarm_up(kafka, unique_name, start, 1)
    name = topic(unique_name, "readings")
    delete_topic(kafka.bootstrap, topic(unique_name, "state"))
    produce(kafka.bootstrap, name, rows(0, 10, QUIET, asset="m2"))
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 60, "the topic is there again")
    worker.kill()
    worker.start()
    produce(kafka.bootstrap, name, rows(26, 60, QUIET))
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), 60, "all is committed")
    assert not open_alarms(kafka.bootstrap, unique_name)
    assert len(alarms_of(kafka.bootstrap, unique_name)) == 2
