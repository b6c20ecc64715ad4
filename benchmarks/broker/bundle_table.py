"""Two bundles of different grids in one worker on a real broker, against each of them alone.

    python -m benchmarks.broker.bundle_table [--readings N] [--repeats N] [--form readings|rows] [--json FILE]

The worker runs as a user runs it. What is told is its processor time a reading, the ways in turns, so that other work
on the machine disturbs it little; readings a second of one core follow from that.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.contenders import RECEIVED
from benchmarks.broker.load import Load, write
from benchmarks.broker.progress import DONE, WARM
from benchmarks.broker.worker import Worker, pinned_worker
from benchmarks.bundle_table import FINER_GRID, LINES, OTHER_WINDOW_STEPS, WINDOW_STEPS, rates
from tests.support.stack.kafka import Kafka, create_topic

LOAD = Load("bundle-table", "readings", 20, 61, 120.0, 1_000_000)
CORE = 0
TIMEOUT_SECONDS = 900.0


def processor_seconds(process_id: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seconds_a_reading(worker: Worker, readings: int) -> float:
    """Processor time of the worker, between two parts of the topic.

    Raises:
        RuntimeError: it reads too little, or ends.
    """
    warm: tuple[float, float] | None = None
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline and worker.alive:
        time.sleep(0.1)
        try:
            count = worker.metrics(RECEIVED).get(RECEIVED, 0.0)
        except OSError:
            continue
        spent = processor_seconds(worker.process.pid)
        if warm is None:
            warm = (spent, count) if count >= WARM * readings else None
        elif count >= DONE * readings:
            return (spent - warm[0]) / (count - warm[1])
    raise RuntimeError(f"the worker read too little (exit {worker.process.poll()}):\n{worker.log_text()}")


def measure(bootstrap: str, folder: Path, load: Load, repeats: int) -> dict[str, float]:
    """Readings a second of a core by the first bundle alone, by the second and by both, and how that is to one."""
    one = write_bundle(folder / "one", load, WINDOW_STEPS)
    other = write_bundle(folder / "other", load, OTHER_WINDOW_STEPS, grid=FINER_GRID)
    table = folder / "table.toml"
    lines = zip(LINES, (one, other), strict=True)
    table.write_text("".join(f'[[bundles]]\nassets = "{glob}"\nbundle = "{bundle}"\n' for glob, bundle in lines))
    create_topic(bootstrap, load.name, load.partitions, retention_ms="-1")
    write(bootstrap, load.name, load)
    seconds: dict[str, list[float]] = {"one": [], "other": [], "both": []}
    for _ in range(repeats):
        for way, bundle in (("one", one), ("other", other), ("both", table)):
            with pinned_worker(CORE, bootstrap, load.name, bundle) as worker:
                seconds[way].append(seconds_a_reading(worker, load.exact_readings))
            sys.stderr.write(f"{way}: {seconds[way][-1] * 1e9:.0f} ns a reading\n")
    return rates(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=LOAD.readings)
    parser.add_argument("--form", choices=("readings", "rows"), default=LOAD.form)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    load = Load(LOAD.name, arguments.form, LOAD.assets, LOAD.sensors, LOAD.step_seconds, arguments.readings)
    with tempfile.TemporaryDirectory() as folder, Kafka(config={"log.segment.bytes": "268435456"}) as kafka:
        found = measure(kafka.bootstrap, Path(folder), load, arguments.repeats)
    sys.stdout.write(
        f"{load.form}: one bundle {found['one'] / 1e3:.0f} k/s, the other {found['other'] / 1e3:.0f} k/s, "
        f"a table of both {found['both'] / 1e3:.0f} k/s of a core: {found['ratio']:.2f} of the rate with one\n"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
