"""How long a restart takes while one machine of many stands still, beside the time without it.

    python -m benchmarks.idle_asset [--assets 60] [--days 7] [--step 1] [--repeats 3] [--json FILE]

Engine only, no broker: one row a step of every asset for so many days, one of them silent after its first ten minutes.
Then what a restart does: a new engine gets the snapshots, and reads again from `low` up to the end. Printed are the
records and the CPU seconds that this takes, with the silent machine and without it, and their ratio.
"""

import argparse
import gc
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
from msgspec.structs import replace

from stream_detector.bundle.bundle import load_bundle
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.engine import Engine, RecordBatch
from tests.support.plant import SENSORS, small_bundle

START = 1_700_000_000
LIVELY_STEPS = 600
BATCH_RECORDS = 12_000
KEPT_RECORDS = 2_000_000
"""Of the end of the log, to be read again; more than any restart here needs."""


@dataclass(frozen=True)
class Restart:
    """What one takes: records read again, bytes of snapshots, and CPU seconds, the median of the repeats."""

    records: int
    snapshot_bytes: int
    seconds: float


def batches(assets: int, silent: int, steps: int, step_seconds: float) -> Iterator[RecordBatch]:
    """Rows of every asset, step by step; the first `silent` assets stop after `LIVELY_STEPS`."""
    rng = np.random.default_rng(1)
    noise = [
        orjson.dumps(dict(zip(SENSORS, row, strict=True)))
        for row in rng.normal(size=(997, len(SENSORS))).round(3).tolist()
    ]
    names = [f"m{number}".encode() for number in range(assets)]
    keys: list[bytes] = []
    values: list[bytes] = []
    offset = number = 0
    for step in range(steps):
        head = b'{"time":%r,"values":' % (START + step * step_seconds)
        for name in names if step < LIVELY_STEPS else names[silent:]:
            keys.append(name)
            values.append(head + noise[number % 997] + b"}")
            number += 1
        if len(keys) >= BATCH_RECORDS or step == steps - 1:
            yield RecordBatch("plant.readings", 0, range(offset, offset + len(keys)), keys, values, [-1] * len(keys))
            offset += len(keys)
            keys, values = [], []


def restart(spec: DetectorSpec, assets: int, silent: int, steps: int, step_seconds: float, repeats: int) -> Restart:
    engine, state, tail = Engine(spec), dict[str, bytes](), list[RecordBatch]()
    end = 0
    for batch in batches(assets, silent, steps, step_seconds):
        for asset, data in engine.process(batch).snapshots:
            state.pop(asset, None)
            if data is not None:
                state[asset] = data
        tail.append(batch)
        end = batch.offsets[-1] + 1
        while end - tail[0].offsets[0] > KEPT_RECORDS:
            tail.pop(0)
    low = engine.low(0)
    low = end if low is None else low
    if low < tail[0].offsets[0]:
        raise SystemExit(f"error: a restart reads from {low}, which was not kept")
    again = [_from(batch, low) for batch in tail if batch.offsets[-1] >= low]
    seconds = []
    for _ in range(repeats):
        gc.collect()
        began = time.process_time()
        successor = Engine(spec)
        successor.restore(0, state, silent_until=end)
        for batch in again:
            successor.process(batch)
        seconds.append(time.process_time() - began)
    return Restart(end - low, sum(map(len, state.values())), statistics.median(seconds))


def _from(batch: RecordBatch, low: int) -> RecordBatch:
    skip = max(0, low - batch.offsets[0])
    return RecordBatch(
        batch.topic, batch.partition, batch.offsets[skip:], batch.keys[skip:], batch.values[skip:],
        batch.timestamps_ms[skip:],
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=60)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--step", type=float, default=1.0, help="seconds between the rows of an asset")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    steps = round(arguments.days * 86_400 / arguments.step)
    with tempfile.TemporaryDirectory() as folder:
        spec = DetectorSpec.of(load_bundle(small_bundle(Path(folder) / "bundle")))
    grid = spec.grid.model_copy(update={"step_seconds": arguments.step, "lateness_seconds": 3 * arguments.step})
    spec = replace(spec, grid=grid, threshold=math.inf)  # alarms would only make it slower
    found = {
        name: restart(spec, arguments.assets, silent, steps, arguments.step, arguments.repeats)
        for name, silent in (("without", 0), ("with", 1))
    }
    for name, each in found.items():
        print(
            f"{name:8} the silent machine: {each.records:,} records read again, {each.snapshot_bytes:,} bytes of "
            f"snapshots, {each.seconds * 1000:.1f} ms"
        )
    print(f"ratio {found['with'].seconds / found['without'].seconds:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({name: asdict(each) for name, each in found.items()}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
