"""A plant's file as the trainer uses it: times in order, sensors as numbers, and what the label column says."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian import History, Layout, ReadReport, files_of, read_history
from trainer.data.prelabel import prelabel
from trainer.data.vibration import is_recording, read_recordings
from trainer.recipe import DataConfig, SignalConfig

CLOCK_CHANGE_SECONDS = (1_800.0, 3_600.0)
"""How far times step back where a clock is set back by an hour between two rows."""


@dataclass(frozen=True)
class Dataset:
    """N rows: one asset after another, each in the order of time.

    Attributes:
        times: (N,) epoch seconds; in a table 0, 1, 2, ...
        values: (N, F) float64, NaN = missing.
        labels: (N,) True = anomalous, or that an event happened in the row; None where the file has no labels.
        labels_mark_events: what `labels` mean.
        parts: (N,) ascending: which asset, recording or run a row is from, where a file holds several; None = one.
        told_late_seconds: how long after an event a detector is told of it.
        report: what the reader found.
        assets: names of the assets; empty where nothing tells of any.
        asset_rows: (N,) ascending: the place of each row's asset in `assets`; None where there is none.
        acted: (N,) rows around an alarm that somebody acted on: what would have followed nobody knows, so that they are
            neither learnt from nor judged; None where nobody acted.
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
    assets: tuple[str, ...] = ()
    asset_rows: NDArray[np.int64] | None = None
    told_late_seconds: float = 0.0
    acted: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.times)

    @property
    def events(self) -> NDArray[np.bool_]:
        """(N,) the rows of events, which are no part of any window."""
        if self.labels is None or not self.labels_mark_events:
            return np.zeros(len(self), dtype=bool)
        return self.labels

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Dataset":
        """The rows of a mask (N,), or these rows in this order."""
        return replace(
            self,
            times=self.times[rows],
            values=self.values[rows],
            labels=None if self.labels is None else self.labels[rows],
            parts=None if self.parts is None else self.parts[rows],
            asset_rows=None if self.asset_rows is None else self.asset_rows[rows],
            acted=None if self.acted is None else self.acted[rows],
        )

    def by_part(self) -> list[slice]:
        """The rows of each part; all of them where nothing tells of parts."""
        begins = [] if self.parts is None else (np.flatnonzero(np.diff(self.parts)) + 1).tolist()
        return [slice(begin, end) for begin, end in pairwise([0, *begins, len(self)])]

    def by_asset(self) -> list[tuple[str | None, slice]]:
        """Each asset and its rows; one without a name where nothing tells of assets, or there are no rows."""
        if self.asset_rows is None or not len(self):
            return [(None, slice(0, len(self)))]
        starts = np.searchsorted(self.asset_rows, np.arange(len(self.assets) + 1)).tolist()
        return [
            (name, slice(start, stop))
            for name, start, stop in zip(self.assets, starts, starts[1:], strict=False)
            if stop > start
        ]


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
    history = _one_asset_after_another(history)
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
        _parts(history),
        history.report,
        history.assets,
        history.asset_rows,
    )


def read_query_dataset(file: Path, config: DataConfig, name: str) -> Dataset:
    """The rows of a query that were written to this file; errors name the query on `name`, not the file.

    Raises:
        DataError: as for `read_dataset`.
    """
    try:
        dataset = read_dataset(file, config)
    except DataError as error:
        raise DataError(str(error).replace(str(file), f"the query on {name}")) from error
    return replace(dataset, name=name)


def _one_asset_after_another(history: History) -> History:
    if history.asset_rows is None or (np.diff(history.asset_rows) >= 0).all():
        return history
    return history.take(np.argsort(history.asset_rows, kind="stable"))


def _parts(history: History) -> NDArray[np.int64] | None:
    """(N,) ascending: another asset begins another part, and so does another run of an asset."""
    columns = [column for column in (history.asset_rows, history.runs) if column is not None]
    if not columns:
        return None
    changed = np.zeros(len(history), np.bool_)
    for column in columns:
        changed[1:] |= np.diff(column) != 0
    return np.cumsum(changed)


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
    times, codes = history.times, history.asset_rows
    back = np.diff(times) < 0
    if codes is not None:
        back &= np.diff(codes) == 0
    backwards = np.flatnonzero(back)
    if len(backwards):
        row = int(backwards[0]) + 1
        where = f"data row {row + 1}" if codes is None else f"a row of asset {history.assets[codes[row]]!r}"
        steps_back = times[backwards] - times[backwards + 1]
        least, most = CLOCK_CHANGE_SECONDS
        if config.zone is None and ((least <= steps_back) & (steps_back <= most)).all():
            # Sorting would mix the two hours, and none of them could be told from the other any more.
            what = "was the clock changed there? Name its zone in the recipe (data.zone), and do not sort; else sort"
        else:
            what = "sort"
        several = "" if codes is not None else "; several machines in one file? name their column as asset_column"
        raise DataError(
            f"{path}: time runs backwards at {where}: {in_words(times[row])} comes after "
            f"{in_words(times[row - 1])} ({len(backwards)} such rows); {what} the file by "
            f"time, or check the time format{several}"
        )
    return times


def in_words(seconds: float) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
