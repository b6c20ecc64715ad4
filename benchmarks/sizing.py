"""The sizing table of docs/deploy.md, computed from measured figures: workers, partitions, memory, retention.

    python -m benchmarks.sizing [--results benchmarks/results.json] [--reserve 0.5]

Nothing here is measured on many machines: a row is the measured rate of one core (benchmarks/results.json) times the
share of it that a plan should use; the rest is for rebuilds and bad days. Memory is what an asset and a sensor were
measured to cost with windows of 30 steps (benchmarks/memory.json).
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import Cost
from benchmarks.page import BENCHMARKS, markdown
from stream_detector.engine.limits import Limits

RESULTS = BENCHMARKS / "results.json"
MEMORY = BENCHMARKS / "memory.json"
PAGE = BENCHMARKS.parent / "docs" / "deploy.md"

BASE_MEGABYTES = 230.0
"""What a worker holds beside its windows, rounded up: 150 MB with 20 assets, 230 MB with 10,000, whose fetches are full
(the workers of benchmarks/memory.json less what their windows cost)."""

WINDOW_STEPS = 30
REBUILD_STEPS = 64.0
"""What a restart reads back: window, staleness, lateness and a run's beginning, about 64 steps."""


@dataclass(frozen=True)
class Plant:
    """What reports how often. `case` names the measured case whose rate applies."""

    assets: int
    sensors: int
    step_seconds: float
    case: str

    @property
    def readings_per_second(self) -> float:
        return self.assets * self.sensors / self.step_seconds


PLANTS = (
    Plant(1, 61, 120.0, "readings-120s"),
    Plant(20, 61, 1.0, "readings-1s"),
    Plant(1_000, 60, 120.0, "readings-120s"),
    Plant(1_000, 60, 1.0, "readings-1s"),
    Plant(10_000, 10, 1.0, "readings-1s-10000-assets"),
    Plant(10_000, 60, 1.0, "readings-1s"),
    Plant(100_000, 10, 1.0, "readings-1s-10000-assets"),
)

HEADER = (
    "assets x sensors", "every", "readings/s", "workers", "partitions", "memory each", "least retention", "rebuild",
    "at worst",
)  # fmt: skip


def row(plant: Plant, rates: dict[str, float], cost: Cost, reserve: float) -> tuple[str, ...]:
    """One line of the table."""
    usable = rates[plant.case] * reserve
    workers = max(1, math.ceil(plant.readings_per_second / usable))
    partitions = max(4, 2 * workers)
    asset_bytes = cost.asset_bytes + plant.sensors * cost.sensor_bytes
    megabytes = BASE_MEGABYTES + plant.assets / workers * asset_bytes / 2**20
    # A restart reads back one ring of steps; a day is kept so that an operator can go back further.
    rebuild_seconds = REBUILD_STEPS * plant.step_seconds
    rebuild_readings = plant.readings_per_second / workers * rebuild_seconds
    # Assets that stand still, in every partition, just before their windows are put into their snapshots.
    limits = Limits()
    held_back = max(limits.window_lag_records * partitions / workers, limits.window_lag_spans * rebuild_readings)
    return (
        f"{plant.assets:,} x {plant.sensors}",
        f"{plant.step_seconds:g} s",
        f"{plant.readings_per_second:,.0f}",
        str(workers),
        str(partitions),
        f"{megabytes:,.0f} MB",
        f"{rebuild_seconds / 3600:.2g} h",
        f"{rebuild_readings / rates[plant.case]:.1f} s",
        f"{held_back / rates[plant.case]:.1f} s",
    )


def table(rates: dict[str, float], costs: Sequence[Cost], reserve: float = 0.5) -> str:
    """`rates`: readings a second of one core by case; `reserve`: the share of it to plan with."""
    (cost,) = (cost for cost in costs if cost.window_steps == WINDOW_STEPS)
    return markdown(HEADER, [row(plant, rates, cost, reserve) for plant in PLANTS])


def measured(results: Path = RESULTS) -> tuple[dict[str, float], list[Cost]]:
    """The rates and costs that were measured last.

    Raises:
        ValueError: a figure is not there.
    """
    for file, command in ((results, "make bench"), (MEMORY, "make figures")):
        if not file.exists():
            raise ValueError(f"{file} is not there; `{command}` writes it")
    rates = {line["case"]: float(line["readings_per_s"]) for line in json.loads(results.read_text())}
    missing = sorted({plant.case for plant in PLANTS} - rates.keys())
    if missing:
        raise ValueError(f"{results} has no figure for {', '.join(missing)}; run `make bench`")
    return rates, [Cost(**cost) for cost in json.loads(MEMORY.read_text())["costs"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--reserve", type=float, default=0.5, help="share of the measured rate to plan with")
    arguments = parser.parse_args()
    try:
        print(table(*measured(arguments.results), arguments.reserve))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
