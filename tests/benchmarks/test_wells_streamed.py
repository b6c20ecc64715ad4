"""What the benchmark says of a well is what the worker says of its log, second by second."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest

from benchmarks.detection.wells import Alarms, bundle_alarms, fitted
from benchmarks.detection.wells_files import SENSORS, WellFile, read_well
from stream_detector.bundle.bundle import Bundle
from stream_detector.messages import from_iso
from tests.benchmarks.test_wells import drifting, minutes_of, well_file
from tests.support.plant import Record
from tests.support.public_data import data_set
from tests.support.stack.local_workers import SETTINGS, Plant, until
from trainer.data.dataset import Dataset, read_dataset
from trainer.recipe import load_recipe

RECIPE = load_recipe("oil-well")


@dataclass(frozen=True)
class Well:
    """A file as the benchmark takes it, and the rows that the plant sends of it."""

    file: WellFile
    rows: Dataset


def log_of(well: Well, partition: int) -> list[Record]:
    return [
        Record(
            partition,
            well.file.name.encode(),
            orjson.dumps(
                {"time": time, "values": {s: None if v != v else v for s, v in zip(SENSORS, row, strict=True)}}
            ),
        )
        for time, row in zip(well.rows.times.tolist(), well.rows.values.tolist(), strict=True)
    ]


async def streamed(bundle: Bundle, wells: list[Well]) -> dict[str, Alarms]:
    """The moments of the alarms that a worker raises, by file; each well has a partition for itself."""
    plant = Plant(len(wells), SETTINGS.model_copy(update={"max_poll_records": 5_000}))
    for partition, well in enumerate(wells):
        plant.send(log_of(well, partition))
    worker = plant.worker(bundle)
    running = asyncio.create_task(worker.run())
    await until(plant.caught_up, 300.0)
    worker.stop()
    assert await running == 0
    grid = bundle.manifest.grid
    found: dict[str, set[float]] = {well.file.name: set() for well in wells}
    for alarm in map(orjson.loads, plant.alarms()):
        if alarm["state"] == "raised":
            found[alarm["asset"]].add(from_iso(alarm["raised_at"]) + grid.step_seconds + grid.lateness_seconds)
    return {name: np.array(sorted(moments), np.float64) for name, moments in found.items()}


def settled(alarms: Alarms, file: WellFile) -> list[float]:
    """Without those of the last minute, which the end of a file closes and a log leaves open."""
    return alarms[alarms <= file.ended].tolist()


def the_worker_agrees(bundle: Bundle, wells: list[Well]) -> int:
    online = asyncio.run(streamed(bundle, wells))
    for well in wells:
        offline = settled(bundle_alarms(bundle, well.file), well.file)
        assert settled(online[well.file.name], well.file) == offline, well.file.name
    return sum(len(alarms) for alarms in online.values())


@pytest.mark.slow
def test_simulated_wells_get_the_same_alarms_from_the_worker(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    normal = [well_file(f"0_WELL-{well}_{part}", minutes_of(240, well, rng)) for well in range(3) for part in "ab"]
    bundle = fitted(RECIPE, normal, tmp_path)
    files = [drifting(f"{fault}_WELL-{fault}_x", fault, rng) for fault in (1, 2, 5)]
    wells = [Well(file, Dataset("", "", SENSORS, file.times, file.values, None, False)) for file in files]
    assert the_worker_agrees(bundle, wells) >= len(wells)


@pytest.mark.slow
def test_an_event_of_each_fault_gets_the_same_alarms_from_the_worker(shared_data: Path, tmp_path: Path) -> None:
    folder = data_set(shared_data, "wells3w")
    normal = [read_well(path) for path in sorted(folder.glob("0_*.parquet"))[::8]]
    bundle = fitted(RECIPE, normal, tmp_path)
    data = RECIPE.data.model_copy(update={"sensors": SENSORS, "label_column": None})
    wells = []
    for fault in sorted({path.name[0] for path in folder.glob("[1-9]_*.parquet")}):
        smallest = min(folder.glob(f"{fault}_*.parquet"), key=lambda path: path.stat().st_size)
        wells.append(Well(read_well(smallest), read_dataset(smallest, data)))
    assert the_worker_agrees(bundle, wells) > 0
