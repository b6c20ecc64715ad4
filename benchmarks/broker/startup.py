"""How long a start and a restart take, on a real broker: `python -m benchmarks.broker.startup [--write]`.

A plant sends rows all the time. *Start*: from the start of the process to the first green `/readyz`, split into the
stages that the worker names in its log. *Kill*: from SIGKILL, with the replacement started at once, to the first offset
that is committed beyond those of the killed worker; with a stable instance name, and without one, where the broker
first has to give the dead member up (`STREAM_DETECTOR_SESSION_TIMEOUT_SECONDS`). Every first start of a series, which
also creates the topics, is left out.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.load import START, Load
from benchmarks.page import Document, add_arguments, deliver, machine, markdown, said
from tests.support.stack.kafka import Kafka, create_topic, why_no_kafka
from tests.support.stack.workers import WorkerProcess, topic, wait_for

NAME = "startup"
LOAD = Load("startup", "rows", assets=20, sensors=61, step_seconds=1.0, readings=0)
WINDOW_STEPS = 30
PARTITIONS = 4
ROUNDS_PER_SECOND = 20
"""Each asset sends a row so often: there is always progress to commit."""

LOOK_SECONDS = 0.01
MOST_SECONDS = 120.0


class Plant(threading.Thread):
    """Sends rows until `ending` is set, and keeps an eye on the group's committed offsets."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        super().__init__(daemon=True)
        self._brokers, self._group = bootstrap, prefix
        self.ending = threading.Event()
        self.committed = 0
        """Sum over the partitions, a few milliseconds old."""

    def run(self) -> None:
        asyncio.run(self._work())

    async def _work(self) -> None:
        looking = asyncio.create_task(self._look())
        try:
            await self._send()
        finally:
            looking.cancel()

    async def _send(self) -> None:
        from aiokafka import AIOKafkaProducer

        values = json.dumps(dict.fromkeys(LOAD.sensor_names, 0.5))
        async with AIOKafkaProducer(bootstrap_servers=self._brokers) as producer:
            step = 0
            while not self.ending.is_set():
                row = f'{{"time":{START.timestamp() + step * LOAD.step_seconds},"values":{values}}}'.encode()
                for asset in range(LOAD.assets):
                    await producer.send(
                        topic(self._group, "readings"), row, f"machine-{asset}".encode(), asset % PARTITIONS
                    )
                step += 1
                await asyncio.sleep(1 / ROUNDS_PER_SECOND)

    async def _look(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.errors import KafkaError

        admin = AIOKafkaAdminClient(bootstrap_servers=self._brokers)
        await admin.start()
        while True:
            try:
                found = await admin.list_consumer_group_offsets(self._group)
                self.committed = sum(entry.offset for entry in found.values() if entry.offset >= 0)
            except KafkaError:
                await asyncio.sleep(0.2)
            await asyncio.sleep(LOOK_SECONDS)


def seconds_to_ready(worker: WorkerProcess) -> float:
    """Start the worker and wait until it is ready."""
    started = time.monotonic()
    worker.start()
    wait_for(lambda: worker.get("/readyz")[0] == 200, MOST_SECONDS, "the worker is ready", each=LOOK_SECONDS)
    return time.monotonic() - started


def seconds_to_progress(worker: WorkerProcess, plant: Plant) -> float:
    """Kill the worker, start it again at once, and wait for progress beyond what was committed."""
    started = time.monotonic()
    worker.kill()
    before = plant.committed
    worker.start()
    # What the dead worker had on its way may still arrive; nothing of it can once the next one has started.
    time.sleep(0.2)
    before = max(before, plant.committed)
    wait_for(lambda: plant.committed > before, MOST_SECONDS, "progress after the kill", each=LOOK_SECONDS)
    return time.monotonic() - started


def stages(log: str) -> list[dict[str, float]]:
    """What each start says of itself: {stage: seconds since the process began}."""
    lines = re.findall(r"seconds since the process began: (.*)", log)
    return [{name: float(at) for name, at in re.findall(r"(\w+) ([\d.]+)", line)} for line in lines]


def spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), 2),
        "longest": round(max(values), 2),
        "all": [round(value, 2) for value in values],
    }


def measure(
    kafka: Kafka, bundle: Path, folder: Path, prefix: str, instance: str | None, repeats: int, python: Path
) -> Any:
    """One series with its own topics and group: (seconds to ready, stages, seconds from kill to progress)."""
    create_topic(kafka.bootstrap, topic(prefix, "readings"), PARTITIONS)
    worker = WorkerProcess(kafka.bootstrap, prefix, bundle, folder / f"{prefix}.log", instance, python=python)
    plant = Plant(kafka.bootstrap, prefix)
    starts, kills = [], []
    try:
        seconds_to_ready(worker)
        plant.start()
        wait_for(lambda: plant.committed > 0, MOST_SECONDS, "the first commit")
        for _ in range(repeats):
            worker.stop()
            starts.append(seconds_to_ready(worker))
        for _ in range(repeats):
            kills.append(seconds_to_progress(worker, plant))
            wait_for(lambda: worker.get("/readyz")[0] == 200, MOST_SECONDS, "the worker is ready")
            time.sleep(1.0)
    finally:
        plant.ending.set()
        worker.kill()
    return starts, stages(worker.log_text())[1 : 1 + repeats], kills


def table(document: Document) -> str:
    stages = [(name, f"{seconds:.2f}") for name, seconds in document["stage_ends_seconds"].items()]
    outages = [
        (title, f"{document[name]['median']:.2f}", f"{document[name]['longest']:.2f}")
        for title, name in (
            ("start to green", "start_to_ready_seconds"),
            ("kill to commit, stable instance", "kill_to_commit_seconds"),
            ("kill to commit, no instance name (session of 10 s)", "kill_to_commit_without_instance_seconds"),
        )
    ]
    starts = len(document["start_to_ready_seconds"]["all"])
    return "\n".join(
        (
            said(document["machine"]),
            "",
            markdown((f"{starts} of each", "median (s)", "longest (s)"), outages),
            "",
            markdown(("a start, stage by stage", "ends at (s, median)"), stages),
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broker.startup", description=__doc__)
    add_arguments(parser, NAME)
    parser.add_argument("--repeats", type=int, default=5, help="starts and kills of each series (default 5)")
    parser.add_argument("--bundle", type=Path, help="for 61 sensors x1 to x61; default: a small LSTM autoencoder")
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        help="of the workers; the development environment has packages that some libraries import where they find them",
    )
    arguments = parser.parse_args()
    reason = why_no_kafka()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 1
    taken_on = machine()
    with tempfile.TemporaryDirectory(prefix="stream-detector-startup-") as temporary, Kafka() as kafka:
        folder = Path(temporary)
        bundle = arguments.bundle or write_bundle(folder / "bundle", LOAD, WINDOW_STEPS)
        starts, split, kills = measure(kafka, bundle, folder, "named", "worker-0", arguments.repeats, arguments.python)
        _, _, nameless = measure(kafka, bundle, folder, "nameless", None, arguments.repeats, arguments.python)
    document = {
        "machine": taken_on,
        "start_to_ready_seconds": spread(starts),
        "stage_ends_seconds": {
            name: round(statistics.median(stage[name] for stage in split), 2) for name in (split[0] if split else ())
        },
        "kill_to_commit_seconds": spread(kills),
        "kill_to_commit_without_instance_seconds": spread(nameless),
    }
    deliver(arguments, NAME, document, table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
