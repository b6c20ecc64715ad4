"""Latency: Kafka timestamp of the record that closes a step -> broker's timestamp of the acknowledged alarm.

    python -m benchmarks.broker.latency [--rate 1000] [--rate 50000] [--seconds 60] [--write]

A plant of 50 sensors an asset sends one step a second, spread over that second. Twenty of its assets are far from
normal and raise an alarm at every step, so each of their closing records gives one sample. All sensors report, so a
step closes with its last reading. The alarm topic stamps records when it appends them. The worker has a core; plant,
broker and this process share the other.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from confluent_kafka import Consumer

from benchmarks.broker.bundles import ALARM_EVERY_STEP, write_bundle
from benchmarks.broker.load import Load
from benchmarks.broker.paced import Sent, plant
from benchmarks.broker.worker import Worker, pinned_worker
from benchmarks.page import Document, add_arguments, deliver, machine, markdown, said
from tests.support.stack.kafka import Kafka, create_topic

NAME = "latency"
SENSORS = 50
OUTLIERS = 20
WINDOW_STEPS = 5
RATES = (1000, 50_000)
FEWEST_SAMPLES = 300
"""Fewer say nothing about the last percent."""
WORKER_CORE, OTHER_CORE = 0, 1
SETTLING_SECONDS = 3.0


@dataclass(frozen=True)
class Latency:
    """Of one rate. `sent_per_s` and `behind_ms` say whether the plant kept it; `busy`: the worker's share of a core."""

    rate: int
    sent_per_s: int
    behind_ms: float
    samples: int
    p50_ms: float
    p99_ms: float
    longest_ms: float
    busy: float


def measure(rate: int, seconds: int) -> Latency:
    assets = max(1, rate // SENSORS)
    load = Load(NAME, "readings", assets, SENSORS, 1.0, rate * seconds)
    own_cores = os.sched_getaffinity(0)
    # The broker inherits the affinity that its parent has when it starts it.
    os.sched_setaffinity(0, {OTHER_CORE} & own_cores or own_cores)
    with tempfile.TemporaryDirectory() as folder, Kafka() as kafka:
        bundle = write_bundle(Path(folder) / "bundle", load, WINDOW_STEPS, ALARM_EVERY_STEP)
        create_topic(kafka.bootstrap, NAME, load.partitions)
        create_topic(kafka.bootstrap, "detector.alarms", load.partitions, message_timestamp_type="LogAppendTime")
        with pinned_worker(WORKER_CORE, kafka.bootstrap, NAME, bundle) as worker:
            worker.wait_until_ready()
            with plant(OTHER_CORE, kafka.bootstrap, NAME, assets, SENSORS, seconds, OUTLIERS) as running:
                raised: dict[tuple[str, str], int] = {}
                consumer = Consumer(
                    {"bootstrap.servers": kafka.bootstrap, "group.id": NAME, "auto.offset.reset": "earliest"}
                )
                consumer.subscribe(["detector.alarms"])
                caught_up_by: float | None = None
                before, began = cpu_seconds(worker), time.monotonic()
                busy = 0.0
                while caught_up_by is None or time.monotonic() < caught_up_by:
                    if caught_up_by is None and not running.alive and has_read(worker, running.sent()):
                        caught_up_by = time.monotonic() + SETTLING_SECONDS
                        busy = (cpu_seconds(worker) - before) / (time.monotonic() - began)
                    message = consumer.poll(0.5)
                    value = None if message is None or message.error() else message.value()
                    if message is None or value is None:
                        continue
                    alarm = orjson.loads(value)
                    if alarm["state"] == "raised":
                        raised.setdefault((alarm["asset"], alarm["raised_at"]), message.timestamp()[1])
                consumer.close()
                sent = running.sent()
            latency = latency_of(rate, sent, raised, busy)
    os.sched_setaffinity(0, own_cores)
    return latency


def has_read(worker: Worker, sent: Sent) -> bool:
    """Whether the worker has received all that was sent.

    Raises:
        RuntimeError: it has ended.
    """
    if not worker.alive:
        raise RuntimeError(f"the worker ended:\n{worker.log_text()}")
    return worker.metrics()["stream_detector_readings_received_total"] >= sent.readings


def cpu_seconds(worker: Worker) -> float:
    """What the worker has computed since its start."""
    return worker.metrics()["process_cpu_seconds_total"]


def latency_of(rate: int, sent: Sent, raised: dict[tuple[str, str], int], busy: float) -> Latency:
    """`raised`: when the broker appended the alarm (ms) of each asset and step.

    The first fifth holds imports that happen once and the consumer's ramp; it is start-up, not latency.

    Raises:
        RuntimeError: there are too few alarms.
    """
    found = [raised[asset, step] - moment for asset, step, moment in sent.closings if (asset, step) in raised]
    steady = np.array(found[len(found) // 5 :], np.int64)
    if len(steady) < FEWEST_SAMPLES:
        raise RuntimeError(
            f"{len(steady)} alarms after the start-up, {FEWEST_SAMPLES} are wanted for a 99th percentile: "
            f"give more --seconds ({len(sent.closings)} closing records were sent)"
        )
    p50, p99 = np.percentile(steady, [50, 99])
    return Latency(
        rate, round(sent.readings_per_s), round(sent.behind_ms, 1), len(steady),
        float(p50), float(p99), float(steady.max()), round(busy, 3),
    )  # fmt: skip


def table(document: Document) -> str:
    header = ("readings/s", "sent/s", "behind its clock at most", "alarms", "p50", "p99", "longest", "of its core")
    rows = [
        (
            f"{one['rate']:,}", f"{one['sent_per_s']:,}", f"{one['behind_ms']:.0f} ms", f"{one['samples']:,}",
            f"{one['p50_ms']:.0f} ms", f"{one['p99_ms']:.0f} ms", f"{one['longest_ms']:.0f} ms", f"{one['busy']:.0%}",
        )
        for one in document["rates"]
    ]  # fmt: skip
    return f"{said(document['machine'])}\n\n{markdown(header, rows)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, action="append", help="readings/s; may be given more than once")
    parser.add_argument("--seconds", type=int, default=60)
    add_arguments(parser, NAME)
    arguments = parser.parse_args()
    taken_on = machine()
    found = [measure(rate, arguments.seconds) for rate in arguments.rate or RATES]
    document = {"machine": taken_on, "rates": [asdict(one) for one in found]}
    deliver(arguments, NAME, document, table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
