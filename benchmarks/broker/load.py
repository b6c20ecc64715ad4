"""The load that every contender reads: the same records, already in the topic when the clock starts.

A plant of `assets` machines with `sensors` sensors each, sampled on a grid of `step_seconds`. Values are noise, written
with six significant digits as a historian would.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
from confluent_kafka import Producer

START = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Load:
    """What is in the topic. `readings` is approximate: whole steps of all assets are written."""

    name: str
    form: str  # readings | rows | blocks
    assets: int
    sensors: int
    step_seconds: float
    readings: int
    partitions: int = 4
    block_samples: int = 1200

    @property
    def steps(self) -> int:
        if self.form == "blocks":
            return max(1, self.readings // (self.assets * self.sensors * self.block_samples))
        return max(1, self.readings // (self.assets * self.sensors))

    @property
    def exact_readings(self) -> int:
        per_step = self.assets * self.sensors * (self.block_samples if self.form == "blocks" else 1)
        return self.steps * per_step

    @property
    def records(self) -> int:
        return self.steps * self.assets * (1 if self.form == "rows" else self.sensors)

    @property
    def sensor_names(self) -> list[str]:
        return [f"x{number}" for number in range(1, self.sensors + 1)]


def records(load: Load) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of every record, in order of time, all assets of a step before the next step."""
    generator = np.random.default_rng(7)
    # A pool of texts instead of a fresh one for every number: writing the load must not take longer than reading it.
    pool = [f"{value:.6g}".encode() for value in generator.normal(0.0, 1.0, 4096)]
    pick = generator.integers(0, len(pool), 65_536)
    heads = [b'{"sensor":"' + name.encode() + b'","time":"' for name in load.sensor_names]
    keys = [f"machine-{number}".encode() for number in range(load.assets)]
    count = 0
    for step in range(load.steps):
        if load.form == "blocks":
            time = START.timestamp() + step * load.block_samples * load.step_seconds
            for key in keys:
                for name in load.sensor_names:
                    count += 1
                    samples = [float(pool[pick[(count * 31 + j) & 65_535]]) for j in range(load.block_samples)]
                    yield (
                        key,
                        orjson.dumps(
                            {"sensor": name, "time": time, "step_seconds": load.step_seconds, "values": samples}
                        ),
                    )
            continue
        moment = START + timedelta(seconds=step * load.step_seconds)
        text = moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        for key in keys:
            if load.form == "rows":
                cells = []
                for name in load.sensor_names:
                    count += 1
                    cells.append(b'"' + name.encode() + b'":' + pool[pick[count & 65_535]])
                yield key, b'{"time":"' + text + b'","values":{' + b",".join(cells) + b"}}"
            else:
                for head in heads:
                    count += 1
                    yield key, head + text + b'","value":' + pool[pick[count & 65_535]] + b"}"


def write(bootstrap: str, topic: str, load: Load) -> None:
    """Write the load into `topic`, which exists; returns when the broker has acknowledged everything."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "batch.num.messages": 100_000,
            "queue.buffering.max.messages": 1_000_000,
            "compression.type": "none",
            "partitioner": "murmur2_random",
            "acks": 1,
        }
    )
    failed: list[str] = []

    def remember(error: object, _message: object) -> None:
        if error is not None:
            failed.append(str(error))

    for number, (key, value) in enumerate(records(load)):
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=remember if number % 1000 == 0 else None)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush(120)
    if failed:
        raise RuntimeError(f"the broker refused records of the load: {failed[0]}")
