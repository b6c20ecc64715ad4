"""A plant's file as the trainer uses it: times in order, sensors as numbers, and what the label column says."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian import History, Layout, ReadReport, files_of, read_history
from trainer.data.prelabel import prelabel
from trainer.data.vibration import is_recording, read_recordings
from trainer.recipe import DataConfig, SignalConfig


@dataclass(frozen=True)
class Dataset:
    """N rows in the order of time.

    Attributes:
        times: (N,) epoch seconds; in a table 0, 1, 2, ...
        values: (N, F) float64, NaN = missing.
        labels: (N,) True = anomalous, or that an event happened in the row; None where the file has no labels.
        labels_mark_events: what `labels` mean.
        parts: (N,) ascending: which recording or run a row is from, where a file holds several; None = one.
        report: what the reader found.
    """

    name: str
    sha256: str
    sensors: tuple[str, ...]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None
    labels_mark_events: bool
    parts: NDArray[np.int64] | None = None
    report: ReadReport = field(default_factory=ReadReport)

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
            self.report,
        )


def read_dataset(path: Path, config: DataConfig, sensors: tuple[str, ...] | None = None) -> Dataset:
    """Read a file, a folder or a glob of files (`stream_detector.historian`), or vibration recordings (.mat).

    sensors: those of a bundle; None = those of the config. A label column that is absent is an error only where a
    recipe is fitted (sensors is None): new data need no labels.
    Raises DataError, which names column, row and value, where the file is not what the config says.
    """
    if config.signal is not None and is_recording(path):
        return _recordings(path, config.signal)
    layout = layout_of(config)
    if sensors is not None:
        layout = replace(layout, sensors=sensors)
    if sensors is not None or config.prelabel is not None:
        layout = replace(layout, label_optional=True)
    history = read_history(path, layout)
    labels = history.labels
    if labels is None and config.prelabel is not None:
        labels = prelabel(history.values, config.prelabel).labels
    return Dataset(
        path.name,
        files_sha256(path),
        history.sensors,
        _in_order(path, history, config),
        history.values,
        labels,
        config.labels_mark == "events",
        history.runs,
        history.report,
    )


def layout_of(config: DataConfig) -> Layout:
    """The data section of a recipe as the reader takes it. Labels are never guessed: a recipe names them."""
    return replace(Layout.of_recipe(config.model_dump()), find_label=False)


def _recordings(path: Path, config: SignalConfig) -> Dataset:
    found = read_recordings(path, config)
    return Dataset(
        path.name, found.sha256, config.channels, found.times, found.values, found.labels, False, found.files
    )


def files_sha256(path: Path) -> str:
    """Hash of a file's bytes; of several files of the bytes of all, in the order of their names."""
    digest = hashlib.sha256()
    for file in files_of(path):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _in_order(path: Path, history: History, config: DataConfig) -> NDArray[np.float64]:
    """The times; DataError where time runs backwards."""
    times = history.times
    backwards = np.flatnonzero(np.diff(times) < 0)
    if len(backwards):
        row = int(backwards[0]) + 1
        zone = "" if config.zone else "; if the clock was changed there, name its zone in the recipe"
        raise DataError(
            f"{path}: time runs backwards at data row {row + 1}: {in_words(times[row])} comes after "
            f"{in_words(times[row - 1])} ({len(backwards)} such rows); sort the file by time, or check the time format"
            + zone
        )
    return times


def in_words(seconds: float) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
