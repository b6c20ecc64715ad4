"""A plant in a process of its own that sends readings at an even rate: one step a second, spread over that second.

python -m benchmarks.broker.paced BOOTSTRAP TOPIC ASSETS SENSORS SECONDS OUTLIERS

The event time of a step is the wall clock. Values are noise; those of the first OUTLIERS assets are far from it, so
that every step of theirs raises an alarm. The last line on standard output is a `Sent` as JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import IO

import numpy as np
from confluent_kafka import Producer

from benchmarks.broker.worker import pinned
from tests.support.paths import ROOT

NOISE_TEXTS = 4096
OUTLIER = b'","value":1000}'
SOONEST_SECONDS = 0.001
"""Shorter waits cost more CPU than they even out."""


@dataclass(frozen=True)
class Sent:
    """What a plant sent. `behind_ms`: how far it was behind its clock at most, the start-up second left out.

    `closings`: (asset, time of the step, ms since the epoch just before its last readings were sent), outliers only.
    """

    readings: int
    seconds: float
    behind_ms: float
    cpu_seconds: float
    closings: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def readings_per_s(self) -> float:
        return self.readings / self.seconds


def send(bootstrap: str, topic: str, assets: int, sensors: int, seconds: int, outliers: int) -> Sent:
    """Send `assets * sensors` readings a second for so many seconds; returns when the broker has acknowledged them."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 1,
            "acks": 1,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    # Everything that can be encoded before is: the plant shares its core with the broker.
    heads = [b'{"sensor":"x%d","time":"' % number for number in range(1, sensors + 1)]
    noise = [b'","value":%.6g}' % value for value in np.random.default_rng(7).normal(0.0, 1.0, NOISE_TEXTS)]
    names = [f"machine-{number}" for number in range(assets)]
    keys = [name.encode() for name in names]
    closings: list[tuple[str, str, int]] = []
    behind = 0.0
    count = 0
    # Steps begin with a second of the clock.
    first = int(time.time()) + 1
    time.sleep(first - time.time())
    began, used = time.perf_counter(), time.process_time()
    produce = producer.produce
    for step in range(seconds):
        text = datetime.fromtimestamp(first + step, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        middle = text.encode()
        for number, key in enumerate(keys):
            ahead = began + step + number / assets - time.perf_counter()
            if ahead > SOONEST_SECONDS:
                producer.poll(0)
                time.sleep(ahead)
            elif step:
                behind = max(behind, -ahead)
            if number < outliers:
                closings.append((names[number], text, int(time.time() * 1000)))
            for position, head in enumerate(heads):
                tail = OUTLIER if number < outliers else noise[(count + position * 31) % NOISE_TEXTS]
                value = head + middle + tail
                try:
                    produce(topic, value, key)
                except BufferError:
                    producer.poll(0.1)
                    produce(topic, value, key)
            count += sensors
    producer.flush(30)
    return Sent(count, time.perf_counter() - began, 1000 * behind, time.process_time() - used, closings)


@dataclass(frozen=True)
class Plant:
    """A running `paced` process."""

    process: subprocess.Popen[str]
    output: IO[str]

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def sent(self) -> Sent:
        """Waits for its end; what it sent."""
        self.process.wait()
        self.output.seek(0)
        text = self.output.read()
        if self.process.returncode != 0:
            raise RuntimeError(f"the plant ended with {self.process.returncode}:\n{text[-3000:]}")
        document = json.loads(text.splitlines()[-1])
        return Sent(**{**document, "closings": [(key, step, int(sent)) for key, step, sent in document["closings"]]})


@contextmanager
def plant(
    core: int, bootstrap: str, topic: str, assets: int, sensors: int, seconds: int, outliers: int = 0
) -> Iterator[Plant]:
    """Such a process on `core`; ended at the end if it has not by itself."""
    numbers = [str(number) for number in (assets, sensors, seconds, outliers)]
    command = [sys.executable, "-m", "benchmarks.broker.paced", bootstrap, topic, *numbers]
    # A file, not a pipe: nobody reads until the plant has ended, and a pipe would fill up and hold it.
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(pinned(core, command), stdout=output, stderr=output, text=True, cwd=ROOT)
        try:
            yield Plant(process, output)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def main() -> int:
    bootstrap, topic, *numbers = sys.argv[1:]
    assets, sensors, seconds, outliers = map(int, numbers)
    print(json.dumps(asdict(send(bootstrap, topic, assets, sensors, seconds, outliers))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
