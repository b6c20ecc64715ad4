"""Memory by assets and sensors: resident size of a process with an engine whose windows are full.

    python -m benchmarks.memory [--write]

Each combination runs in a process of its own, which is looked at twice: when one asset has been through everything
(libraries, weights, work space), and when all assets have full windows. What an asset and what a sensor of an asset
costs follows from differences between combinations. The last lines are of real workers with everything on, which read
full windows from a real broker as fast as they can: the largest fetches that there are.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from benchmarks.broker.load import START, Load, records
from benchmarks.page import Document, add_arguments, deliver, machine, markdown, said
from tests.support.stack.kafka import Kafka, create_topic
from tests.support.stack.processes import resident_megabytes

NAME = "memory"
ASSETS = (1000, 10_000)
SENSORS = (1, 10, 60)
WINDOW_STEPS = (5, 30)
BATCH_RECORDS = 1000
STEPS_BEYOND_WINDOW = 3
MOST_MB = {(20, 61): 160, (10_000, 10): 350}
"""What a worker with so many (assets, sensors) may hold, windows of 30 steps full."""
WORKER_CORE = 0
SETTLING_SECONDS = 5.0
MOST_SECONDS = 600.0


@dataclass(frozen=True)
class Case:
    """One process. `base_mb`: with one asset; `rss_mb`: with all of them."""

    window_steps: int
    assets: int
    sensors: int
    base_mb: float
    rss_mb: float

    @property
    def grown_mb(self) -> float:
        return self.rss_mb - self.base_mb


@dataclass(frozen=True)
class Cost:
    """Bytes that an asset costs without its sensors, and each of its sensors, with windows of so many steps."""

    window_steps: int
    asset_bytes: int
    sensor_bytes: int


def measure(window_steps: int, assets: int, sensors: int) -> Case:
    """In this process, which should be a fresh one."""
    from benchmarks.broker.bundles import write_bundle
    from stream_detector.bundle.bundle import load_bundle
    from stream_detector.engine.engine import Engine, RecordBatch

    steps = window_steps + STEPS_BEYOND_WINDOW
    load = Load(NAME, "rows", assets, sensors, 1.0, assets * sensors * steps)
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", load, window_steps)
        bundle = load_bundle(Path(folder) / "bundle")

    def fill(engine: Engine, some: Load) -> None:
        stamp = int(START.timestamp() * 1000) + 10**9
        offset = 0
        for keys, values in _fetches(some):
            batch = RecordBatch(
                "plant.readings", 0, range(offset, offset + len(keys)), keys, values, [stamp] * len(keys)
            )
            offset += len(keys)
            engine.process(batch)

    fill(Engine(bundle), Load(NAME, "rows", 1, sensors, 1.0, sensors * steps))
    gc.collect()
    base = resident_megabytes(os.getpid())
    engine = Engine(bundle)
    fill(engine, load)
    gc.collect()
    return Case(window_steps, assets, sensors, round(base, 1), round(resident_megabytes(os.getpid()), 1))


def _fetches(load: Load) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """Keys and values of a thousand records after the other: only one fetch is held at a time, as in a worker."""
    source = records(load)
    while fetched := list(islice(source, BATCH_RECORDS)):
        yield [key for key, _ in fetched], [value for _, value in fetched]


def costs(cases: Sequence[Case]) -> list[Cost]:
    """From differences, so that what does not depend on assets cancels out.

    Raises:
        ValueError: a combination of the smallest and largest number of assets and sensors is missing.
    """
    found = []
    for steps in sorted({case.window_steps for case in cases}):
        grown = {(case.assets, case.sensors): case.grown_mb for case in cases if case.window_steps == steps}
        assets = sorted({count for count, _ in grown})
        sensors = sorted({count for _, count in grown})
        few, most, one, many = assets[0], assets[-1], sensors[0], sensors[-1]
        missing = {(few, one), (most, one), (most, many)} - grown.keys()
        if missing or few == most or one == many:
            raise ValueError(f"windows of {steps} steps: no figures for (assets, sensors) {sorted(missing)}")
        sensor = (grown[most, many] - grown[most, one]) / (most * (many - one))
        asset = (grown[most, one] - grown[few, one]) / (most - few) - one * sensor
        found.append(Cost(steps, round(asset * 2**20), round(sensor * 2**20)))
    return found


@dataclass(frozen=True)
class WorkerMemory:
    """A worker's process once it has read everything, and the most that it ever held."""

    case: str
    resident_mb: float
    peak_rss_mb: float
    most_mb: int


def worker_memory(assets: int, sensors: int) -> WorkerMemory:
    """Of a worker on a broker of its own.

    Raises:
        RuntimeError: it ended, or had not read everything after MOST_SECONDS.
    """
    from benchmarks.broker.bundles import write_bundle
    from benchmarks.broker.load import write
    from benchmarks.broker.worker import pinned_worker

    steps = max(WINDOW_STEPS) + STEPS_BEYOND_WINDOW
    load = Load(f"{assets}-assets-{sensors}-sensors", "readings", assets, sensors, 1.0, assets * sensors * steps)
    with tempfile.TemporaryDirectory() as folder, Kafka() as kafka:
        bundle = write_bundle(Path(folder) / "bundle", load, max(WINDOW_STEPS))
        create_topic(kafka.bootstrap, load.name, load.partitions)
        write(kafka.bootstrap, load.name, load)
        with pinned_worker(WORKER_CORE, kafka.bootstrap, load.name, bundle) as worker:
            worker.wait_until_ready()
            deadline = time.monotonic() + MOST_SECONDS
            while worker.metrics().get("stream_detector_readings_received_total", 0.0) < load.exact_readings:
                if not worker.alive or time.monotonic() > deadline:
                    raise RuntimeError(f"the worker did not read everything:\n{worker.log_text()}")
                time.sleep(0.5)
            time.sleep(SETTLING_SECONDS)
            return WorkerMemory(
                load.name,
                round(worker.resident_megabytes(), 1),
                round(worker.peak_megabytes(), 1),
                MOST_MB[assets, sensors],
            )


def table(document: Document) -> str:
    cases = [Case(**case) for case in document["cases"]]
    rows = [
        (
            f"{case.window_steps} steps, {case.assets:,} x {case.sensors}", f"{case.base_mb:.0f}", f"{case.rss_mb:.0f}",
            f"{case.grown_mb:.0f}", f"{case.grown_mb * 1024 / case.assets:.1f}",
        )
        for case in cases
    ]  # fmt: skip
    header = ("window, assets x sensors", "with one asset, MB", "with all, MB", "grown by, MB", "an asset, kB")
    lines = [
        f"- windows of {cost['window_steps']} steps: {cost['asset_bytes'] / 1024:.1f} kB an asset and "
        f"{cost['sensor_bytes']:,} bytes each of its sensors"
        for cost in document["costs"]
    ]
    lines += [
        f"- a worker on a broker, `{worker['case']}`, windows of 30 steps: {worker['resident_mb']} MB resident, "
        f"{worker['peak_rss_mb']} MB at most (aim: {worker['most_mb']} MB)"
        for worker in document["workers"]
    ]
    return f"{said(document['machine'])}\n\n{markdown(header, rows)}\n\n" + "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=int, nargs=3, metavar=("STEPS", "ASSETS", "SENSORS"), help=argparse.SUPPRESS)
    add_arguments(parser, NAME)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(measure(*arguments.one))))
        return 0
    taken_on = machine()
    cases = []
    for steps in WINDOW_STEPS:
        for assets in ASSETS:
            for sensors in SENSORS:
                command = [sys.executable, "-m", "benchmarks.memory", "--one", str(steps), str(assets), str(sensors)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                cases.append(Case(**json.loads(done.stdout.splitlines()[-1])))
                print(cases[-1], file=sys.stderr, flush=True)
    document = {
        "machine": taken_on,
        "cases": [asdict(case) for case in cases],
        "costs": [asdict(cost) for cost in costs(cases)],
        "workers": [asdict(worker_memory(*case)) for case in MOST_MB],
    }
    deliver(arguments, NAME, document, table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
