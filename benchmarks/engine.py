"""The engine alone, without a broker: how near its speed is to bare decoding, and what it costs as plants grow.

    python -m benchmarks.engine [--readings N] [--repeats N] [--case NAME] [--json FILE]

Times are CPU time of this process; each figure is the median of repeats that are interleaved with those of the decode
limit, so that a busy machine disturbs both alike.
"""

import argparse
import gc
import json
import math
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.load import START, Load, records
from stream_detector.bundle.bundle import load_bundle
from stream_detector.commands.run import tame_garbage_collector
from stream_detector.decoding.record_formats import StrictRecord
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, Limits, RecordBatch

BATCH_RECORDS = 12_000
BATCH_BYTES = 2**20
"""What a fetch brings from one partition at most, as the worker's consumer is set."""

CASES: dict[str, tuple[Load, int]] = {
    "readings-120s": (Load("readings-120s", "readings", 20, 61, 120.0, 600_000), 5),
    "rows-120s": (Load("rows-120s", "rows", 20, 61, 120.0, 2_000_000), 5),
    "readings-1s": (Load("readings-1s", "readings", 20, 61, 1.0, 600_000), 30),
    "blocks": (Load("blocks", "blocks", 4, 1, 1 / 12_000, 4_000_000), 500),
    "readings-120s-10000-assets": (Load("readings-120s-10000-assets", "readings", 10_000, 10, 120.0, 1_500_000), 5),
    "readings-1s-10000-assets": (Load("readings-1s-10000-assets", "readings", 10_000, 10, 1.0, 4_000_000), 30),
}
"""Load and steps of a window."""

SWEEP = {
    f"{assets} assets x {sensors} sensors": (Load("", "readings", assets, sensors, 120.0, 300_000), 5)
    for assets, sensors in ((1, 61), (10, 61), (100, 61), (1000, 61), (100, 1), (100, 10), (100, 600))
}


SMALL_BATCHES, SCANS = Load("", "readings", 1000, 50, 1.0, 450_000), 5
"""What a fetch brings of a plant whose machines are read scan by scan, and how many scans of each partition."""


def batches(load: Load) -> list[RecordBatch]:
    """All records of the load, as a consumer would fetch them from one partition."""
    stamp = int(START.timestamp() * 1000) + 10**9
    found: list[RecordBatch] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    size = offset = 0

    def fetch() -> None:
        offsets = range(offset - len(keys), offset)
        found.append(RecordBatch("plant.readings", 0, offsets, list(keys), list(values), [stamp] * len(keys)))
        keys.clear()
        values.clear()

    for key, value in records(load):
        keys.append(key)
        values.append(value)
        offset += 1
        size += len(value)
        if len(keys) == BATCH_RECORDS or size > BATCH_BYTES:
            fetch()
            size = 0
    if keys:
        fetch()
    return found


def measure(load: Load, window_steps: int, repeats: int) -> dict[str, Any]:
    """Readings a second of the engine and of bare decoding, on the same records."""
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", load, window_steps)
        rules = DetectorSpec.of(load_bundle(Path(folder) / "bundle"))
    held_before = _resident_megabytes()
    fetched = batches(load)
    records_megabytes = _resident_megabytes() - held_before
    gc.collect()
    tame_garbage_collector()
    decode = msgspec.json.Decoder(StrictRecord).decode
    limits, speeds, shares, scored = [], [], [], 0
    warm = max(1, len(fetched) // 3)
    for _ in range(repeats):
        engine = Engine(rules, Limits())
        for batch in fetched[:warm]:
            engine.process(batch)
        readings, decoding, processing, scored = 0, 0.0, 0.0, 0
        for batch in fetched[warm:]:
            began = time.process_time()
            decoded = list(map(decode, batch.values))  # type: ignore[arg-type]
            between = time.process_time()
            outcome = engine.process(batch)
            decoding += between - began
            processing += time.process_time() - between
            readings += outcome.counts.received
            scored += outcome.closed.scored
            del decoded
        limits.append(readings / decoding)
        speeds.append(readings / processing)
        shares.append(decoding / processing)
    return {
        "readings_per_s": statistics.median(speeds),
        "decode_limit_per_s": statistics.median(limits),
        "ratio_to_decode": statistics.median(shares),
        "windows_per_s": scored * statistics.median(speeds) / readings,
        "resident_megabytes": _resident_megabytes() - records_megabytes,
    }


class Stopwatch:
    """CPU seconds spent in functions, each under a name. One within another of the same name is not counted again."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: set[str] = set()

    def on(self, owner: Any, method: str, name: str) -> None:
        """Time `owner.method` from now on."""
        inner = getattr(owner, method)

        def timed(*arguments: Any) -> Any:
            if name in self._running:
                return inner(*arguments)
            self._running.add(name)
            began = time.process_time()
            try:
                return inner(*arguments)
            finally:
                self._running.discard(name)
                self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began

        setattr(owner, method, timed)


def parts(load: Load, window_steps: int) -> dict[str, float]:
    """Nanoseconds a reading in each part of the engine."""
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", load, window_steps)
        rules = DetectorSpec.of(load_bundle(Path(folder) / "bundle"))
    fetched = batches(load)
    engine = Engine(rules)
    warm = max(1, len(fetched) // 3)
    for batch in fetched[:warm]:
        engine.process(batch)
    (partition,) = engine._partitions.values()  # noqa: SLF001 - what the time goes to has no public name
    watch = Stopwatch()
    for method in ("decode", "parse", "plain"):
        watch.on(partition._decoder, method, "decode")  # noqa: SLF001 - what the time goes to has no public name
    watch.on(partition.decider, "add", "windows")
    watch.on(partition.decider, "add_stretches", "windows")
    watch.on(rules.scorer, "score", "scores")
    watch.on(partition.decider, "take", "scores and decisions")
    watch.on(engine, "process", "all")
    readings = sum(engine.process(batch).counts.received for batch in fetched[warm:])
    found = {name: seconds / readings * 1e9 for name, seconds in watch.seconds.items()}
    found["grid and bookkeeping"] = found["all"] - found["decode"] - found["windows"] - found["scores and decisions"]
    found["decisions"] = found.pop("scores and decisions") - found["scores"]
    return found


def together(cut: int) -> dict[str, float]:
    """Milliseconds of small batches of several partitions, one after another and at once; the best of each.

    cut: readings by which the batches begin and end within a scan.
    """
    load = SMALL_BATCHES
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", load, 5)
        rules = DetectorSpec.of(load_bundle(Path(folder) / "bundle"))
    stamp, scan = int(START.timestamp() * 1000) + 10**9, load.sensors
    logs: list[list[tuple[bytes, bytes]]] = [[] for _ in range(load.partitions)]
    for place, record in enumerate(records(load)):
        logs[place // scan % load.partitions].append(record)
    edges = [0, *range(SCANS * scan + cut, len(logs[0]), SCANS * scan)]
    engines = {"one after another": Engine(rules), "at once": Engine(rules)}
    found = dict.fromkeys(engines, math.inf)
    for begin, end in pairwise(edges):
        fetched = [
            RecordBatch("plant.readings", number, range(begin, end), *map(list, zip(*log[begin:end], strict=True)),
                        [stamp] * (end - begin))
            for number, log in enumerate(logs)
        ]  # fmt: skip
        for name, engine in engines.items():
            began = time.process_time()
            if name == "at once":
                engine.process_all(fetched)
            else:
                for batch in fetched:
                    engine.process(batch)
            if begin > len(logs[0]) // 2:
                found[name] = min(found[name], 1e3 * (time.process_time() - began))
    return found


def _resident_megabytes() -> float:
    """Resident memory now (Linux); elsewhere the most it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, help="readings a case, for a quick look")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", action="append", help="only these; also 'sweep', 'parts' and 'together'")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    wanted = arguments.case or [*CASES, "sweep", "parts", "together"]
    results: dict[str, Any] = {}
    for name, (load, steps) in {**CASES, **(SWEEP if "sweep" in wanted else {})}.items():
        if name in CASES and name not in wanted:
            continue
        used = replace(load, readings=arguments.readings) if arguments.readings else load
        results[name] = found = measure(used, steps, arguments.repeats)
        speed, limit = found["readings_per_s"] / 1e3, found["decode_limit_per_s"] / 1e3
        sys.stdout.write(
            f"{name:32s} {speed:7.0f} k/s  decode {limit:7.0f} k/s  ratio {found['ratio_to_decode']:.2f}  "
            f"{found['windows_per_s']:7.0f} windows/s  {found['resident_megabytes']:6.0f} MB\n"
        )
        sys.stdout.flush()
    if "parts" in wanted:
        for name in ("readings-120s", "rows-120s", "readings-1s", "blocks", "readings-120s-10000-assets"):
            results[f"nanoseconds, {name}"] = spent = parts(*CASES[name])
            listed = ", ".join(f"{part} {cost:.0f}" for part, cost in sorted(spent.items()))
            sys.stdout.write(f"ns a reading, {name:26s} {listed}\n")
            sys.stdout.flush()
    for cut in (0, 20) if "together" in wanted else ():
        results[f"milliseconds, cut {cut}"] = spent = together(cut)
        listed = ", ".join(f"{way} {cost:.1f} ms" for way, cost in spent.items())
        sys.stdout.write(f"{SMALL_BATCHES.partitions} batches of {SCANS} scans, cut by {cut:2d} readings: {listed}\n")
        sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
