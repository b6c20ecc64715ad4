"""A plant's file as the trainer uses it: times in order, sensors as numbers, and what the label column says."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian import Layout, parse_times, read_table, sensor_values
from trainer.data.grafana import read_grafana
from trainer.data.prelabel import prelabel
from trainer.data.vibration import is_recording, read_recordings
from trainer.recipe import DataConfig, SignalConfig

if TYPE_CHECKING:
    import pandas as pd

RUN_GAP_SECONDS = 100 * 86_400.0
"""Runs whose times start again are moved by multiples of this: a step length divides it, so rows keep their grid."""


@dataclass(frozen=True)
class Dataset:
    """N rows in the order of time.

    Attributes:
        times: (N,) epoch seconds; in a table 0, 1, 2, ...
        values: (N, F) float64, NaN = missing.
        labels: (N,) True = anomalous, or that an event happened in the row; None where the file has no labels.
        labels_mark_events: what `labels` mean.
        parts: (N,) ascending: which recording or run a row is from, where a file holds several; None = one.
    """

    name: str
    sha256: str
    sensors: tuple[str, ...]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None
    labels_mark_events: bool
    parts: NDArray[np.int64] | None = None

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
            self.name,
            self.sha256,
            self.sensors,
            self.times[rows],
            self.values[rows],
            labels,
            self.labels_mark_events,
            None if self.parts is None else self.parts[rows],
        )


def read_dataset(path: Path, config: DataConfig, sensors: tuple[str, ...] | None = None) -> Dataset:
    """Read a CSV, CSV.gz or Parquet file, or vibration recordings (.mat).

    sensors: those of a bundle; None = those of the config. A label column that is absent is an error only where a
    recipe is fitted (sensors is None): new data need no labels.
    Raises DataError, which names column, row and value, where the file is not what the config says.
    """
    if config.signal is not None and is_recording(path):
        return _recordings(path, config.signal)
    table = table_of(path, config)
    if table.empty:
        raise DataError(f"{path} has a header but no rows")
    parts = _parts(table, config)
    times = _times(path, table, config, parts)
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
    if labels is None and config.prelabel is not None:
        labels = prelabel(values, config.prelabel).labels
    return Dataset(
        path.name, file_sha256(path), tuple(names), times, values, labels, config.labels_mark == "events", parts
    )


def _recordings(path: Path, config: SignalConfig) -> Dataset:
    found = read_recordings(path, config)
    return Dataset(
        path.name, found.sha256, config.channels, found.times, found.values, found.labels, False, found.files
    )


def table_of(path: Path, config: DataConfig) -> "pd.DataFrame":
    """The file's columns as they stand."""
    if config.form == "grafana" and config.time_column is not None and path.suffix != ".parquet":
        return read_grafana(path, config.time_column)
    table = read_table(path, Layout(separator=config.separator, header=config.header))
    table.columns = table.columns.astype(str)
    return table


def _parts(table: "pd.DataFrame", config: DataConfig) -> NDArray[np.int64] | None:
    """(N,) number of the run that a row is in, counted from the first row's."""
    if not config.run_columns:
        return None
    absent = [name for name in config.run_columns if name not in table.columns]
    if absent:
        return None  # a file that was cut into its runs needs no column that tells them apart
    keys = table[list(config.run_columns)].astype(str)
    changed = (keys != keys.shift()).any(axis=1).to_numpy(dtype=bool)
    return np.cumsum(changed) - 1


def idle_sensors(dataset: Dataset) -> list[str]:
    """Sensors that are empty, or the same in every row: nothing can be learnt from them."""
    missing = np.isnan(dataset.values)
    low = np.where(missing, np.inf, dataset.values).min(axis=0)
    high = np.where(missing, -np.inf, dataset.values).max(axis=0)
    return [name for name, idle in zip(dataset.sensors, low >= high, strict=True) if idle]


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _times(
    path: Path, table: "pd.DataFrame", config: DataConfig, parts: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    if config.time_column is None:
        return np.arange(len(table), dtype=np.float64)
    if config.time_column not in table.columns:
        raise DataError(
            f"{path} has no time column {config.time_column!r}; it has {_some(list(table.columns))}: name it with "
            "--time-column"
        )
    column = table[config.time_column]
    times = parse_times(path, column, config.time_format)
    if config.time_unit_seconds != 1.0 and column.dtype.kind in "iuf":
        times = column.to_numpy(dtype=np.float64) * config.time_unit_seconds
    if parts is not None:
        times = _end_to_end(times, parts)
    backwards = np.flatnonzero(np.diff(times) < 0)
    if len(backwards):
        row = int(backwards[0]) + 1
        raise DataError(
            f"{path}: time runs backwards at data row {row + 1}: {column.iloc[row]!r} comes after "
            f"{column.iloc[row - 1]!r} ({len(backwards)} such rows); sort the file by time, or check the time format"
        )
    return times


def _end_to_end(times: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Move runs whose times start again behind the run before, far enough that no window spans two of them."""
    moved = times.copy()
    starts = np.flatnonzero(np.diff(parts, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(times)], strict=True):
        if start and moved[start] <= moved[start - 1]:
            behind = moved[start - 1] + RUN_GAP_SECONDS - times[start]
            moved[start:stop] = times[start:stop] + np.ceil(behind / RUN_GAP_SECONDS) * RUN_GAP_SECONDS
    return moved


def _labels(path: Path, table: "pd.DataFrame", config: DataConfig, required: bool) -> NDArray[np.bool_] | None:
    """(N,) True = anomalous (or an event)."""
    if config.label_column is None:
        return None
    if config.label_column not in table.columns:
        if not required or config.prelabel is not None:
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
    named = {config.time_column, config.label_column, *config.drop_columns, *config.run_columns}
    return tuple(name for name in table.columns if name not in named)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
