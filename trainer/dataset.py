"""A plant's file as the trainer uses it: times in order, sensors as numbers, and what the label column says."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian import Layout, parse_times, read_table, sensor_values
from trainer.recipe import DataConfig

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """N rows in the order of time.

    Attributes:
        times: (N,) epoch seconds; in a table 0, 1, 2, ...
        values: (N, F) float64, NaN = missing.
        labels: (N,) True = anomalous, or that an event happened in the row; None where the file has no labels.
        labels_mark_events: what `labels` mean.
    """

    name: str
    sha256: str
    sensors: tuple[str, ...]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None
    labels_mark_events: bool

    def __len__(self) -> int:
        return len(self.times)

    @property
    def events(self) -> NDArray[np.bool_]:
        """(N,) the rows of events, which are no part of any window."""
        if self.labels is None or not self.labels_mark_events:
            return np.zeros(len(self), dtype=bool)
        return self.labels

    def take(self, rows: NDArray[np.bool_]) -> "Dataset":
        """The rows of a mask (N,)."""
        labels = None if self.labels is None else self.labels[rows]
        return Dataset(
            self.name, self.sha256, self.sensors, self.times[rows], self.values[rows], labels, self.labels_mark_events
        )


def read_dataset(path: Path, config: DataConfig, sensors: tuple[str, ...] | None = None) -> Dataset:
    """Read a CSV, CSV.gz or Parquet file.

    sensors: those of a bundle; None = those of the config. A label column that is absent is an error only where a
    recipe is fitted (sensors is None): new data need no labels.
    Raises DataError, which names column, row and value, where the file is not what the config says.
    """
    table = read_table(path, Layout(separator=config.separator, header=config.header))
    table.columns = table.columns.astype(str)
    if table.empty:
        raise DataError(f"{path} has a header but no rows")
    times = _times(path, table, config)
    labels = _labels(path, table, config, required=sensors is None)
    names = sensors or config.sensors or _other_columns(table, config)
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise DataError(
            f"{path} lacks {len(absent)} of {len(names)} sensors, the first is {absent[0]!r}; it has the columns "
            f"{_some(list(table.columns))}"
        )
    if not names:
        raise DataError(f"{path} has no sensor column beside time and label; it has {_some(list(table.columns))}")
    values = sensor_values(path, table, names)
    for code in config.missing_codes:
        values[values == code] = np.nan
    return Dataset(path.name, file_sha256(path), tuple(names), times, values, labels, config.labels_mark == "events")


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _times(path: Path, table: "pd.DataFrame", config: DataConfig) -> NDArray[np.float64]:
    if config.time_column is None:
        return np.arange(len(table), dtype=np.float64)
    if config.time_column not in table.columns:
        raise DataError(
            f"{path} has no time column {config.time_column!r}; it has {_some(list(table.columns))}: name it with "
            "--time-column"
        )
    times = parse_times(path, table[config.time_column], config.time_format)
    backwards = np.flatnonzero(np.diff(times) < 0)
    if len(backwards):
        row = int(backwards[0]) + 1
        column = table[config.time_column]
        raise DataError(
            f"{path}: time runs backwards at data row {row + 1}: {column.iloc[row]!r} comes after "
            f"{column.iloc[row - 1]!r} ({len(backwards)} such rows); sort the file by time, or check the time format"
        )
    return times


def _labels(path: Path, table: "pd.DataFrame", config: DataConfig, required: bool) -> NDArray[np.bool_] | None:
    """(N,) True = anomalous (or an event)."""
    if config.label_column is None:
        return None
    if config.label_column not in table.columns:
        if not required:
            return None
        raise DataError(
            f"{path} has no label column {config.label_column!r}; it has {_some(list(table.columns))}: name it with "
            "--label-column"
        )
    column = table[config.label_column]
    marked = np.zeros(len(column), dtype=bool)
    for value in config.label_values:
        # "1", 1 and 1.0 are the same label: files differ in how they write it.
        same = column.astype(str).str.strip() == str(value)
        if isinstance(value, float | int):
            import pandas as pd

            same |= pd.to_numeric(column, errors="coerce") == float(value)
        marked |= same.to_numpy(dtype=bool)
    return ~marked if config.labels_are == "normal" else marked


def _other_columns(table: "pd.DataFrame", config: DataConfig) -> tuple[str, ...]:
    named = {config.time_column, config.label_column, *config.drop_columns}
    return tuple(name for name in table.columns if name not in named)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
