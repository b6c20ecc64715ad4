"""Does a worker's memory stay flat? A steady load on a real broker, and the curve of what the worker holds.

    python -m benchmarks.broker.endurance [--minutes 30] [--rate 100000] [--write]

A thousand assets send one step a second, windows of 30 steps. The worker has a core and everything on; broker, plant
and this process share the other. The topic keeps about two minutes, more than a worker would read back after a restart,
so the disk does not fill. The verdict is about the second half of the curve; the first is warming up. Exits with 1
where memory grows, or readings are missing at the end.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.load import Load
from benchmarks.broker.paced import Sent, plant
from benchmarks.broker.trend import FLAT_PER_TEN_MINUTES, Trend, sparkline, trend
from benchmarks.broker.worker import Worker, pinned_worker
from benchmarks.page import Document, add_arguments, deliver, machine, markdown, said
from tests.support.stack.kafka import Kafka, create_topic

NAME = "endurance"
ASSETS = 1000
WINDOW_STEPS = 30
WORKER_CORE, OTHER_CORE = 0, 1
SEGMENT_BYTES, KEPT_BYTES = 2**26, 2**28
"""Of a partition. A reading takes about 80 bytes in the log, so a second of 100,000 readings takes 8 MB."""
CATCH_UP_SECONDS = 120.0
SHOWN_ROWS = 10
CURVE_MARKS = 60
READ = "stream_detector_readings_received_total"

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Sample:
    """The worker at one moment. `lag_records`: between its committed offsets and the ends of the partitions."""

    seconds: float
    rss_mb: float
    pss_mb: float
    lag_records: int
    readings: int
    cpu_seconds: float


def look(worker: Worker, seconds: float) -> Sample:
    metrics = worker.metrics()
    return Sample(
        round(seconds, 1),
        round(worker.resident_megabytes(), 1),
        round(worker.proportional_megabytes(), 1),
        int(metrics.get("stream_detector_kafka_lag_records", 0)),
        int(metrics.get(READ, 0)),
        round(metrics["process_cpu_seconds_total"], 1),
    )


def watch(kafka: Kafka, load: Load, bundle: Path, seconds: int, every_seconds: float) -> tuple[list[Sample], Sent]:
    """Runs plant and worker beside each other; one sample every `every_seconds`, and one at the end."""
    samples: list[Sample] = []
    with pinned_worker(WORKER_CORE, kafka.bootstrap, NAME, bundle) as worker:
        worker.wait_until_ready()
        with plant(OTHER_CORE, kafka.bootstrap, NAME, load.assets, load.sensors, seconds) as running:
            began = due = time.monotonic()
            while running.alive:
                due += every_seconds
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    samples.append(look(worker, time.monotonic() - began))
                except OSError as error:
                    if not worker.alive:
                        raise RuntimeError(f"the worker ended:\n{worker.log_text()}") from error
                    print(f"no sample: {error}", file=sys.stderr, flush=True)
                    continue
                print(_said(samples[-1]), file=sys.stderr, flush=True)
            sent = running.sent()
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while worker.alive and worker.metrics()[READ] < sent.readings and time.monotonic() < deadline:
            time.sleep(1.0)
        samples.append(look(worker, time.monotonic() - began))
    return samples, sent


def document_of(taken_on: Document, rate: int, samples: list[Sample], sent: Sent) -> Document:
    steady = samples[:-1]
    found = trend([sample.seconds for sample in steady], [sample.rss_mb for sample in steady])
    return {
        "machine": taken_on,
        "rate": rate,
        "sent": sent.readings,
        "sent_per_s": round(sent.readings_per_s),
        "behind_ms": round(sent.behind_ms, 1),
        "received": samples[-1].readings,
        "trend": {name: round(value, 2) for name, value in asdict(found).items()},
        "flat": found.flat,
        "samples": [asdict(sample) for sample in samples],
    }


def table(document: Document) -> str:
    """The verdict, the curve as a line of text, and about ten of its samples."""
    samples = [Sample(**sample) for sample in document["samples"]]
    found = Trend(**document["trend"])
    memory = [sample.rss_mb for sample in samples]
    rate = f"{document['sent_per_s']:,} a second ({document['rate']:,} wanted)"
    slope = f"{found.mb_per_hour:+.1f} MB an hour (95 % interval {found.low:+.1f} to {found.high:+.1f})"
    limit = f"{FLAT_PER_TEN_MINUTES:.0%} in ten minutes = {found.limit:.0f} MB an hour"
    verdict = "flat" if document["flat"] else "not flat"
    text = f"""{said(document["machine"])}

- {document["sent"]:,} readings in {samples[-2].seconds / 60:.0f} minutes, {rate}; {document["received"]:,} received
- resident memory over the second half: {found.level_mb:.0f} MB, slope {slope}: **{verdict}** (limit: {limit})
- resident memory, {min(memory):.0f} to {max(memory):.0f} MB: `{sparkline(thinned(memory, CURVE_MARKS))}`

"""
    rows = [
        (
            f"{now.seconds / 60:.1f}", f"{now.rss_mb:.0f}", f"{now.pss_mb:.0f}", f"{now.lag_records:,}",
            f"{(now.readings - before.readings) / (now.seconds - before.seconds):,.0f}",
            f"{(now.cpu_seconds - before.cpu_seconds) / (now.seconds - before.seconds):.0%}",
        )
        for before, now in pairwise(thinned(samples[:-1], SHOWN_ROWS + 1))
    ]  # fmt: skip
    header = ("minute", "RSS, MB", "PSS, MB", "lag, records", "readings/s", "of a core")
    return text + markdown(header, rows)


def thinned(entries: Sequence[Entry], most: int) -> list[Entry]:
    """At most so many, evenly spread, the first and the last among them."""
    if len(entries) <= most:
        return list(entries)
    return [entries[round(place * (len(entries) - 1) / (most - 1))] for place in range(most)]


def _said(sample: Sample) -> str:
    return (
        f"{sample.seconds:6.0f} s: RSS {sample.rss_mb:.0f} MB, PSS {sample.pss_mb:.0f} MB, lag {sample.lag_records:,}, "
        f"{sample.readings:,} readings, CPU {sample.cpu_seconds:.0f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=100_000, help=f"readings/s, a multiple of {ASSETS}")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples")
    add_arguments(parser, NAME)
    arguments = parser.parse_args()
    if arguments.rate < ASSETS or arguments.rate % ASSETS:
        parser.error(f"--rate {arguments.rate}: a multiple of {ASSETS} is wanted")
    taken_on = machine()
    seconds = round(arguments.minutes * 60)
    load = Load(NAME, "readings", ASSETS, arguments.rate // ASSETS, 1.0, arguments.rate * seconds)
    own_cores = os.sched_getaffinity(0)
    # The broker inherits the affinity that its parent has when it starts it.
    os.sched_setaffinity(0, {OTHER_CORE} & own_cores or own_cores)
    with tempfile.TemporaryDirectory(prefix="stream-detector-bench-") as folder, Kafka() as kafka:
        bundle = write_bundle(Path(folder) / "bundle", load, WINDOW_STEPS)
        create_topic(
            kafka.bootstrap,
            NAME,
            load.partitions,
            segment_bytes=str(SEGMENT_BYTES),
            retention_bytes=str(KEPT_BYTES),
            file_delete_delay_ms="1000",
        )
        samples, sent = watch(kafka, load, bundle, seconds, arguments.every)
    document = document_of(taken_on, arguments.rate, samples, sent)
    deliver(arguments, NAME, document, table(document))
    return 0 if document["flat"] and document["received"] == document["sent"] else 1


if __name__ == "__main__":
    sys.exit(main())
