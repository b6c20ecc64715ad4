"""Latency: Kafka timestamp of the record that closes a step -> broker's timestamp of the acknowledged alarm.

    python -m benchmarks.broker.latency [--rate 1000] [--rate 50000] [--seconds 30]

Every step of every asset raises an alarm (the bundle's threshold is below any score), so each closing record gives one
sample. All sensors report, so a step closes with its last reading. The alarm topic stamps records when it appends them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.load import Load
from benchmarks.broker.worker import pinned
from tests.kafka import Kafka, create_topic, free_port

SENSORS = 50


@dataclass(frozen=True)
class Latency:
    rate: int
    samples: int
    p50_ms: float
    p99_ms: float


def produce(bootstrap: str, topic: str, assets: int, seconds: int, closing: dict[tuple[str, str], int]) -> None:
    """One step a second for every asset, spread over that second; remembers when each step's last reading was sent."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "acks": 1, "partitioner": "murmur2_random"})
    keys = [f"machine-{number}" for number in range(assets)]
    base = int(time.time()) - seconds - 10
    began = time.perf_counter()
    for step in range(seconds):
        text = datetime.fromtimestamp(base + step, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for number, key in enumerate(keys):
            due = began + step + number / assets
            wait = due - time.perf_counter()
            if wait > 0:
                producer.poll(0)
                time.sleep(wait)
            for sensor in range(1, SENSORS + 1):
                value = orjson.dumps({"sensor": f"x{sensor}", "time": text, "value": float((step * sensor) % 7)})
                if sensor == SENSORS:
                    closing[(key, text)] = int(time.time() * 1000)
                while True:
                    try:
                        producer.produce(topic, value, key)
                        break
                    except BufferError:
                        producer.poll(0.01)
    producer.flush(30)


def measure(rate: int, seconds: int) -> Latency:
    assets = max(1, rate // SENSORS)
    load = Load("latency", "readings", assets, SENSORS, 1.0, rate * seconds)
    with tempfile.TemporaryDirectory() as folder, Kafka() as kafka, tempfile.TemporaryFile("w+") as log:
        bundle = write_bundle(Path(folder) / "bundle", load, window_steps=5, always_alarm=True)
        create_topic(kafka.bootstrap, "latency", 4)
        create_topic(kafka.bootstrap, "detector.alarms", 4, message_timestamp_type="LogAppendTime")
        environment = {**os.environ, "STREAM_DETECTOR_TOPIC_READINGS": "latency"}
        command = [
            sys.executable,
            "-m",
            "stream_detector",
            "run",
            "--bundle",
            str(bundle),
            "--bootstrap",
            kafka.bootstrap,
        ]
        worker = subprocess.Popen(
            pinned(0, [*command, "--metrics-port", str(free_port())]), stdout=log, stderr=log, env=environment
        )
        try:
            time.sleep(10)  # the group forms; the figure is about a running detector
            closing: dict[tuple[str, str], int] = {}
            feeder = threading.Thread(target=produce, args=(kafka.bootstrap, "latency", assets, seconds, closing))
            feeder.start()
            consumer = Consumer(
                {"bootstrap.servers": kafka.bootstrap, "group.id": "latency", "auto.offset.reset": "earliest"}
            )
            consumer.subscribe(["detector.alarms"])
            delays: list[float] = []
            quiet_since = time.monotonic()
            while feeder.is_alive() or time.monotonic() - quiet_since < 5:
                message = consumer.poll(0.5)
                if message is None or message.error():
                    continue
                quiet_since = time.monotonic()
                alarm = orjson.loads(message.value())
                sent = closing.get((alarm["asset"], alarm["raised_at"]))
                if alarm["state"] == "raised" and sent is not None:
                    delays.append(message.timestamp()[1] - sent)
            consumer.close()
            if worker.poll() is not None or not delays:
                log.seek(0)
                raise RuntimeError(f"no alarms; the worker says:\n{log.read()[-3000:]}")
        finally:
            worker.terminate()
            worker.wait(20)
    # The first seconds hold imports that happen once and the consumer's ramp; they are start-up, not latency.
    steady = np.asarray(delays[len(delays) // 5 :])
    return Latency(rate, len(steady), float(np.percentile(steady, 50)), float(np.percentile(steady, 99)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, action="append", help="readings/s; may be given more than once")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = [measure(rate, arguments.seconds) for rate in arguments.rate or [1000, 50_000]]
    for one in found:
        print(f"{one.rate:,} readings/s: p50 {one.p50_ms:.0f} ms, p99 {one.p99_ms:.0f} ms ({one.samples:,} alarms)")
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(one) for one in found], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
