"""A shared bus: what records of unknown tags cost the engine, beside records of known ones.

    python -m benchmarks.shared_bus [--readings N] [--repeats N] [--json FILE]

CPU time of this process, both kinds of topic in turns, so that a busy machine disturbs both alike. The names of the
unknown tags never come twice, so that memory would grow if anything were kept of them.
"""

import argparse
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.load import Load
from benchmarks.engine import batches
from stream_detector.bundle.bundle import load_bundle
from stream_detector.commands.run import tame_garbage_collector
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, RecordBatch

LOAD = Load("shared-bus", "readings", 20, 61, 120.0, 300_000)
WINDOW_STEPS = 5
KNOWN_EVERY = 20
"""One reading in so many is of a known tag: 95 % are not."""


def among_others(known: list[RecordBatch]) -> list[RecordBatch]:
    """The same records, each followed by those of unknown tags of the same machine, in batches as large as before."""
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    for batch in known:
        for key, value in zip(batch.keys, batch.values, strict=True):
            keys += [key] * KNOWN_EVERY
            values.append(value)
            for _ in range(KNOWN_EVERY - 1):
                renamed = b'"sensor":"other-%d-' % len(values)
                values.append(None if value is None else value.replace(b'"sensor":"', renamed, 1))
    size = len(known[0].offsets)
    return [
        RecordBatch(
            known[0].topic,
            0,
            range(begin, min(begin + size, len(keys))),
            keys[begin : begin + size],
            values[begin : begin + size],
            [known[0].timestamps_ms[0]] * len(keys[begin : begin + size]),
        )
        for begin in range(0, len(keys), size)
    ]


def measure(readings: int, repeats: int) -> dict[str, float]:
    """Records a second of both topics, their ratio, and how memory grows while unknown names come, in megabytes."""
    load = replace(LOAD, readings=readings)
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", load, WINDOW_STEPS)
        rules = DetectorSpec.of(load_bundle(Path(folder) / "bundle"))
    known = batches(load)
    unknown = among_others(known[: max(2, len(known) // KNOWN_EVERY)])
    assert b'"sensor":"other-' in (unknown[0].values[1] or b""), "the load writes readings in another form"
    gc.collect()
    tame_garbage_collector()
    seconds: dict[str, list[float]] = {"known": [], "unknown": []}  # a record
    growth = 0.0
    for _ in range(repeats):
        for name, topic in (("known", known), ("unknown", unknown)):
            engine = Engine(rules)
            engine.process(topic[0])
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            began = time.process_time()
            for batch in topic[1:]:
                engine.process(batch)
            records = sum(len(batch.offsets) for batch in topic[1:])
            seconds[name].append((time.process_time() - began) / records)
            if name == "unknown":
                growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    rate = {name: 1 / statistics.median(found) for name, found in seconds.items()}
    ratios = [one / other for one, other in zip(seconds["known"], seconds["unknown"], strict=True)]
    return {
        "known_records_per_s": rate["known"],
        "mostly_unknown_records_per_s": rate["unknown"],
        "ratio": statistics.median(ratios),
        "growth_megabytes": growth,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=LOAD.readings)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    found = measure(arguments.readings, arguments.repeats)
    sys.stdout.write(
        f"known tags {found['known_records_per_s'] / 1e3:.0f} k/s; 95 % unknown "
        f"{found['mostly_unknown_records_per_s'] / 1e3:.0f} k/s, {found['ratio']:.2f} times as many; memory grew by "
        f"{found['growth_megabytes']:.1f} MB\n"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
