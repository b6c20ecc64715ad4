"""The worker as a process on real Kafka, with the small plant."""

import shutil
import subprocess
import time

import pytest

from tests.streaming.worker.conftest import Start
from tests.support.plant import POISON, Record, make_log
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic, delete_topic, free_port
from tests.support.stack.workers import (
    WorkerProcess,
    alarms_of,
    caught_up,
    committed_of,
    dead_letters_of,
    ends_of,
    produce,
    read_topic,
    topic,
    wait_for,
)

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

START_SECONDS = 90.0


def ready(worker: WorkerProcess) -> bool:
    return worker.get("/readyz")[0] == 200


def run_through(start: Start, bootstrap: str, prefix: str, log: list[Record]) -> WorkerProcess:
    """One undisturbed worker over a log; it is still running."""
    create_topic(bootstrap, topic(prefix, "readings"), 4)
    produce(bootstrap, topic(prefix, "readings"), log)
    worker = start(bootstrap, prefix)
    wait_for(lambda: caught_up(bootstrap, prefix), START_SECONDS, "all is committed")
    return worker


def test_a_sigkill_midstream_loses_no_reading_and_changes_no_alarm(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    log = make_log(7, steps=150)
    run_through(start, kafka.bootstrap, f"{unique_name}-whole", log).kill()
    prefix = f"{unique_name}-killed"
    create_topic(kafka.bootstrap, topic(prefix, "readings"), 4)
    worker = start(kafka.bootstrap, prefix, instance="one")
    for part in (log[:900], log[900:1800]):
        produce(kafka.bootstrap, topic(prefix, "readings"), part)
        before = sum(committed_of(kafka.bootstrap, prefix).values())
        wait_for(lambda b=before: sum(committed_of(kafka.bootstrap, prefix).values()) > b, START_SECONDS, "progress")  # type: ignore[misc]
        worker.kill()
        worker.start()
    produce(kafka.bootstrap, topic(prefix, "readings"), log[1800:])
    wait_for(lambda: caught_up(kafka.bootstrap, prefix), START_SECONDS, "all is committed")
    expected = alarms_of(kafka.bootstrap, f"{unique_name}-whole")
    assert len(expected) > 10
    assert alarms_of(kafka.bootstrap, prefix) == expected
    assert dead_letters_of(kafka.bootstrap, prefix) == dead_letters_of(kafka.bootstrap, f"{unique_name}-whole")


def test_poison_lands_in_dead_letters_and_changes_nothing_else(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    clean = [record for record in make_log(8, steps=120) if record.value not in POISON]
    poisoned = list(clean)
    junk = Record(0, b"machine-0", b'{"sensor":"s1","value":"' + b"y" * 900_000)
    for number, bad in enumerate([*(Record(1, b"machine-1", value) for value in POISON), junk]):
        poisoned.insert(100 + 50 * number, bad)
    run_through(start, kafka.bootstrap, f"{unique_name}-clean", clean).kill()
    worker = run_through(start, kafka.bootstrap, f"{unique_name}-bad", poisoned)
    letters = dead_letters_of(kafka.bootstrap, f"{unique_name}-bad")
    ignored = worker.metric("stream_detector_readings_ignored_total")
    assert ignored > 0
    assert len(letters) == len(POISON) + 1 - ignored
    assert set(letters.values()) == {"tombstone", "malformed", "bad-time"}
    assert alarms_of(kafka.bootstrap, f"{unique_name}-bad") == alarms_of(kafka.bootstrap, f"{unique_name}-clean")
    assert worker.metric("stream_detector_readings_dead_lettered_total") == len(letters)
    fates = ("windowed", "late", "duplicate", "dead_lettered", "ignored")
    received = worker.metric("stream_detector_readings_received_total")
    assert received == sum(worker.metric(f"stream_detector_readings_{fate}_total") for fate in fates)


def test_an_open_episode_survives_a_restart(kafka: Kafka | ExistingKafka, unique_name: str, start: Start) -> None:
    log = make_log(9, steps=150, assets=1)
    run_through(start, kafka.bootstrap, f"{unique_name}-whole", log).kill()
    expected = alarms_of(kafka.bootstrap, f"{unique_name}-whole")
    prefix = f"{unique_name}-cut"
    create_topic(kafka.bootstrap, topic(prefix, "readings"), 4)
    worker = start(kafka.bootstrap, prefix, instance="one")
    for number in range(0, len(log), 100):
        produce(kafka.bootstrap, topic(prefix, "readings"), log[number : number + 100])
        wait_for(lambda: caught_up(kafka.bootstrap, prefix), START_SECONDS, "all so far is committed")
        if sum(state == "raised" for _, state in alarms_of(kafka.bootstrap, prefix)) > sum(
            state == "cleared" for _, state in alarms_of(kafka.bootstrap, prefix)
        ):
            worker.kill()
            worker.start()
            break
    produce(kafka.bootstrap, topic(prefix, "readings"), log[number + 100 :])
    wait_for(lambda: caught_up(kafka.bootstrap, prefix), START_SECONDS, "all is committed")
    assert read_topic(kafka.bootstrap, topic(prefix, "state"))
    assert alarms_of(kafka.bootstrap, prefix) == expected


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on PATH (Debian: prometheus)")
def test_prometheus_accepts_the_metrics(kafka: Kafka | ExistingKafka, unique_name: str, start: Start) -> None:
    worker = run_through(start, kafka.bootstrap, unique_name, make_log(3, steps=60))
    wait_for(lambda: worker.metric("stream_detector_assets_held") == 6, 30, "the gauges of the assets")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=worker.get("/metrics")[1], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_worker_waits_for_a_broker_that_is_down_and_ends_when_told_to(unique_name: str, start: Start) -> None:
    worker = start(f"127.0.0.1:{free_port()}", unique_name)
    wait_for(lambda: "waiting for the broker" in worker.get("/readyz")[1], START_SECONDS, "it waits")
    assert worker.get("/healthz")[0] == 200
    started = time.monotonic()
    assert worker.stop(15) == 0
    assert time.monotonic() - started < 15


def test_no_broker_for_too_long_is_a_stall(unique_name: str, start: Start) -> None:
    worker = start(f"127.0.0.1:{free_port()}", unique_name, environment={"STREAM_DETECTOR_START_SECONDS": "3"})
    assert worker.wait(START_SECONDS) == 75
    assert "no broker at" in worker.log_text()


def test_sigterm_ends_within_15_seconds_though_the_broker_is_down(
    own_kafka: Kafka, unique_name: str, start: Start
) -> None:
    worker = run_through(start, own_kafka.bootstrap, unique_name, make_log(3, steps=40))
    own_kafka.brokers[0].kill()
    time.sleep(2)
    started = time.monotonic()
    worker.stop(15)
    assert time.monotonic() - started < 15


def test_an_outage_turns_readyz_red_and_green_again(own_kafka: Kafka, unique_name: str, start: Start) -> None:
    worker = run_through(start, own_kafka.bootstrap, unique_name, make_log(3, steps=40))
    wait_for(lambda: ready(worker), START_SECONDS, "ready")
    own_kafka.brokers[0].kill()
    wait_for(lambda: "has not answered" in worker.get("/readyz")[1], 60, "red")
    own_kafka.brokers[0].start()

    def green() -> bool:
        assert worker.alive, worker.log_text()[-3000:]
        return ready(worker)

    wait_for(green, 60, "green")


def wait_until_read_again(worker: WorkerProcess, bootstrap: str, prefix: str) -> None:
    """Starts the worker again, as its supervisor would, each time that it ends with a stall."""

    def done() -> bool:
        if not worker.alive:
            assert worker.wait() == 75
            worker.start()
        return caught_up(bootstrap, prefix)

    wait_for(done, START_SECONDS, "the new log is committed")


def test_a_topic_that_is_made_again_is_read_from_its_beginning(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    log = make_log(3, steps=40)
    worker = run_through(start, kafka.bootstrap, unique_name, log)
    before = alarms_of(kafka.bootstrap, unique_name)
    name = topic(unique_name, "readings")
    delete_topic(kafka.bootstrap, name)
    create_topic(kafka.bootstrap, name, 4)
    produce(kafka.bootstrap, name, log)
    assert committed_of(kafka.bootstrap, unique_name) == {}
    wait_until_read_again(worker, kafka.bootstrap, unique_name)
    assert sum(ends_of(kafka.bootstrap, name).values()) == len(log)
    assert alarms_of(kafka.bootstrap, unique_name) == before


def test_a_named_worker_that_saw_its_topic_gone_reads_the_new_one(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    """Under its name it is given back what it had, which was nothing: it has to leave the group first."""
    log, name = make_log(3, steps=40), topic(unique_name, "readings")
    create_topic(kafka.bootstrap, name, 4)
    produce(kafka.bootstrap, name, log)
    worker = start(
        kafka.bootstrap, unique_name, instance="one",
        environment={"STREAM_DETECTOR_STALL_SECONDS": "8", "STREAM_DETECTOR_SESSION_TIMEOUT_SECONDS": "30"},
    )  # fmt: skip
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), START_SECONDS, "all is committed")
    delete_topic(kafka.bootstrap, name)
    wait_for(lambda: given(kafka.bootstrap, unique_name) == [set()], START_SECONDS, "the topic is seen to be gone")
    worker.kill()
    create_topic(kafka.bootstrap, name, 4)
    produce(kafka.bootstrap, name, log)
    worker.start()
    wait_until_read_again(worker, kafka.bootstrap, unique_name)


def given(bootstrap: str, group: str) -> list[set[int]]:
    """The partitions that each member of the group was given."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_consumer_groups([group])[group].result(10)
    return [{place.partition for place in member.assignment.topic_partitions} for member in described.members]


def test_records_of_aborted_transactions_are_never_read(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    from confluent_kafka import Producer

    log = make_log(4, steps=60, assets=1)
    run_through(start, kafka.bootstrap, f"{unique_name}-plain", log).kill()
    prefix = f"{unique_name}-transactions"
    name = topic(prefix, "readings")
    create_topic(kafka.bootstrap, name, 4)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique_name})
    producer.init_transactions(30)
    for number in range(0, len(log), 50):
        for good in (False, True):
            producer.begin_transaction()
            for record in log[number : number + 50]:
                value = record.value if good else b'{"sensor":"s1","time":1700000000,"value":1000}'
                producer.produce(name, value, record.key, record.partition)
            producer.flush(30)  # what is to be aborted lies in the log
            if good:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)
    worker = start(kafka.bootstrap, prefix)
    # The markers at the end of the log count as read too, so that lag reaches zero.
    wait_for(lambda: caught_up(kafka.bootstrap, prefix), START_SECONDS, "all is committed, markers included")
    assert alarms_of(kafka.bootstrap, prefix) == alarms_of(kafka.bootstrap, f"{unique_name}-plain")
    assert worker.alive


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_codec_is_read(kafka: Kafka | ExistingKafka, unique_name: str, start: Start, codec: str) -> None:
    from confluent_kafka import Producer

    log = [record for record in make_log(4, steps=30, assets=1) if record.value not in POISON]
    name = topic(unique_name, "readings")
    create_topic(kafka.bootstrap, name, 4)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "compression.type": codec, "linger.ms": 50})
    for record in log:
        producer.produce(name, record.value, record.key, record.partition)
    assert producer.flush(30) == 0
    start(kafka.bootstrap, unique_name)
    wait_for(lambda: caught_up(kafka.bootstrap, unique_name), START_SECONDS, "all is committed")
    assert dead_letters_of(kafka.bootstrap, unique_name) == {}


def test_three_workers_share_four_partitions_fairly(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 4)
    workers = [start(kafka.bootstrap, unique_name) for _ in range(3)]
    wait_for(
        lambda: sorted(worker.metric("stream_detector_partitions_assigned") for worker in workers) == [1, 1, 2],
        START_SECONDS,
        "one, one and two partitions",
        each=1.0,
    )
