"""Two bundles of different grids in one worker's engine, against one bundle for all of the same records.

    python -m benchmarks.bundle_table [--readings N] [--repeats N] [--json FILE]

CPU time of this process, the ways in turns, so that a busy machine disturbs all alike. Every asset closes as many
steps in both grids.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.broker.bundles import write_bundle
from benchmarks.broker.load import Load
from benchmarks.engine import batches
from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.bundle_table import AnyBundle, BundleTable
from stream_detector.commands.run import tame_garbage_collector
from stream_detector.detection.config import GridConfig
from stream_detector.engine.table_engine import engine_of

LOADS = {
    "readings": Load("readings-120s", "readings", 20, 61, 120.0, 400_000),
    "rows": Load("rows-120s", "rows", 20, 61, 120.0, 1_000_000),
    "rows, 1,000 assets": Load("rows-1000-assets", "rows", 1000, 10, 120.0, 1_000_000),
}
WINDOW_STEPS, OTHER_WINDOW_STEPS = 5, 8
FINER_GRID = GridConfig(step_seconds=60.0, staleness_steps=5, max_gap_steps=3)
"""Every other step is empty, and is passed over."""

LINES = ("*", "*[13579]")


def measure(load: Load, repeats: int) -> dict[str, float]:
    """Readings a second by the first bundle, by the second and by both, and how that is to the mean of one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = load_bundle(write_bundle(folder / "one", load, WINDOW_STEPS))
        other = load_bundle(write_bundle(folder / "other", load, OTHER_WINDOW_STEPS, grid=FINER_GRID))
    table = BundleTable.of(zip(LINES, (one, other), strict=True))
    ways: dict[str, AnyBundle] = {"one": one, "other": other, "both": table}
    fetched = batches(load)
    warm = max(1, len(fetched) // 3)
    gc.collect()
    tame_garbage_collector()
    seconds: dict[str, list[float]] = {way: [] for way in ways}  # a reading
    for _ in range(repeats):
        for way, bundle in ways.items():
            engine, readings = engine_of(bundle), 0
            for batch in fetched[:warm]:
                engine.process(batch)
            began = time.process_time()
            for batch in fetched[warm:]:
                readings += engine.process(batch).counts.received
            seconds[way].append((time.process_time() - began) / readings)
    return rates(seconds)


def rates(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """What `measure` returns, of the seconds a reading that "one", "other" and "both" took in each repetition."""
    # Half of the assets are each bundle's: alone, they would take the mean of the two.
    ratios = [
        (one + other) / 2 / both
        for one, other, both in zip(seconds["one"], seconds["other"], seconds["both"], strict=True)
    ]
    return {way: 1 / statistics.median(found) for way, found in seconds.items()} | {"ratio": statistics.median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, help="readings a case, for a quick look")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    results = {}
    for name, load in LOADS.items():
        used = replace(load, readings=arguments.readings) if arguments.readings else load
        results[name] = found = measure(used, arguments.repeats)
        sys.stdout.write(
            f"{name:20s} one bundle {found['one'] / 1e3:.0f} k/s, the other {found['other'] / 1e3:.0f} k/s, "
            f"a table of both {found['both'] / 1e3:.0f} k/s: {found['ratio']:.2f} of the rate with one\n"
        )
        sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
