"""Files of oil wells (3W), by the minute, with what happened when."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.wells_published import isolation_forest_f1
from stream_detector.errors import DataError
from trainer.data.dataset import Dataset, read_dataset
from trainer.recipe import load_recipe

SECONDS = 60.0
SENSORS = ("P-PDG", "P-TPT", "T-TPT", "P-MON-CKP", "T-JUS-CKP", "P-JUS-CKGL", "T-JUS-CKGL", "QGL")
NORMAL, TRANSIENTS, UNKNOWN = 0, range(101, 110), -1


@dataclass(frozen=True)
class WellFile:
    """One file. The number of the fault is in its name: it is there for the report, no method may see it.

    times: (N,) epoch seconds of the last row of each minute. values: (N, F) the last value of each sensor in it, NaN =
    missing: what a grid of minutes keeps of the rows. turns, classes: (K,) from when on the file is in which class.
    published_f1: an isolation forest's in the published protocol, which needs the rows of every second.
    """

    name: str
    well: str
    fault: int
    sensors: tuple[str, ...]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    turns: NDArray[np.float64]
    classes: NDArray[np.int64]
    ended: float
    published_f1: float | None

    def __len__(self) -> int:
        return len(self.times)

    @property
    def is_event(self) -> bool:
        return bool(np.isin(self.classes, TRANSIENTS).any())

    @property
    def fault_from(self) -> float:
        """When the fault's steady state begins, or the file ends."""
        steady = np.flatnonzero((self.classes > NORMAL) & (self.classes < min(TRANSIENTS)))
        return float(self.turns[steady[0]]) if len(steady) else self.ended

    @property
    def normal_seconds(self) -> float:
        lengths = np.diff(np.append(self.turns, self.ended))
        return float(lengths[self.classes == NORMAL].sum())

    def state_at(self, times: NDArray[np.float64]) -> NDArray[np.str_]:
        """(M,) "normal", "transient" or "other": what an alarm at each time is."""
        place = np.searchsorted(self.turns, times, side="right") - 1
        found = self.classes[np.maximum(place, 0)]
        inside = (place >= 0) & (times <= self.ended)
        states = np.where(found == NORMAL, "normal", np.where(np.isin(found, TRANSIENTS), "transient", "other"))
        return np.where(inside, states, "other")


def read_wells(folder: Path, seed: int) -> list[WellFile]:
    """All files of a folder, by name; DataError where there is none."""
    files = [read_well(path, seed) for path in sorted(folder.glob("*.parquet"))]
    if not any(file.is_event for file in files):
        raise DataError(f"{folder} has {len(files)} Parquet files of wells, none with an event; give the folder of 3W")
    return files


def read_well(path: Path, seed: int = 1) -> WellFile:
    """A file named FAULT_WELL-NUMBER_START.parquet, read as the recipe reads it."""
    config = load_recipe("oil-well").data
    dataset = read_dataset(path, config.model_copy(update={"sensors": SENSORS, "label_column": None}))
    classes = _classes(path)
    turns = np.flatnonzero(np.diff(classes, prepend=-2))
    rows, values = by_the_minute(dataset)
    fault, well, _ = path.stem.split("_")
    return WellFile(
        path.stem,
        well,
        int(fault),
        SENSORS,
        dataset.times[rows],
        values,
        dataset.times[turns],
        classes[turns],
        float(dataset.times[-1]),
        isolation_forest_f1(dataset, classes, seed),
    )


def by_the_minute(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The last row (N,) of each minute, and each sensor's last value in it (N, F)."""
    minutes = np.floor(dataset.times / SECONDS)
    last = np.flatnonzero(np.diff(minutes, append=np.inf))
    first = np.append(0, last[:-1] + 1)
    known = np.isfinite(dataset.values)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(dataset))[:, None], -1), axis=0)[last]
    values = np.take_along_axis(dataset.values, np.maximum(newest, 0), axis=0)
    return last, np.where(newest >= first[:, None], values, np.nan)


def _classes(path: Path) -> NDArray[np.int64]:
    import pyarrow.parquet as parquet

    column = parquet.read_table(path, columns=["class"]).column("class").fill_null(UNKNOWN)
    return np.asarray(column.to_numpy(), np.int64)
