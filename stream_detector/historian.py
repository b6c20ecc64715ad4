"""Reads a historian's file in wide form: a time column, one column a sensor and, often, a label column.

CSV (also gzipped) and Parquet. This is the one reader of such files: `stream-detector replay` sends what it returns,
and the trainer builds on it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.messages import MILLISECONDS_FROM

if TYPE_CHECKING:
    import pandas as pd

TIME_NAMES = ("time", "timestamp", "datetime", "date")
LABEL_NAMES = ("y", "label", "event", "anomaly", "att_flag")
"""Where no column is named: the first of these that the file has, in any case."""

_DATES = ("%m/%d/%y", "%d/%m/%y", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d.%m.%y", "%Y/%m/%d", "%Y%m%d")
_CLOCKS = (" %H:%M:%S", " %H:%M", " %H", "")


@dataclass(frozen=True)
class Layout:
    """How to read a file; None = find out.

    `sensors`: these columns in this order; None = every column that is neither time, label nor in `ignore`.
    `time_format`: as of strptime. Without one: numbers are epoch seconds (milliseconds from 1e11 on), text is ISO 8601
    or the only usual format that fits every row and keeps the rows in order. Times without a zone are UTC.
    `label_values`: the values that mark a row; None = whatever is above 0 or true. `missing_codes`: numbers that stand
    for a missing value, beside empty cells.
    """

    time_column: str | None = None
    label_column: str | None = None
    label_values: tuple[float | str, ...] | None = None
    labels_are_normal: bool = False  # the values mark the normal rows instead
    time_format: str | None = None
    sensors: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    missing_codes: tuple[float, ...] = ()
    separator: str | None = None
    header: bool = True  # without one, the columns are called c1, c2, ...
    decimal: str = "."


@dataclass(frozen=True)
class History:
    """A file's content. Rows are as in the file, whatever their order.

    Attributes:
        times: (N,) epoch seconds.
        sensors: F names.
        values: (N, F) float64, NaN = missing.
        labels: (N,) whether something happened in the row; None where the file has no label column.
    """

    path: Path
    times: NDArray[np.float64]
    sensors: tuple[str, ...]
    values: NDArray[np.float64]
    labels: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.times)

    def between(self, from_time: float | None, until_time: float | None) -> "History":
        """The rows with from_time <= time < until_time."""
        keep = np.ones(len(self), dtype=bool)
        if from_time is not None:
            keep &= self.times >= from_time
        if until_time is not None:
            keep &= self.times < until_time
        labels = None if self.labels is None else self.labels[keep]
        return History(self.path, self.times[keep], self.sensors, self.values[keep], labels)


def read_history(path: Path, layout: Layout = Layout()) -> History:
    """Read the file.

    Raises:
        DataError: the file is absent or unreadable, a column is missing, a time or a value cannot be understood.
    """
    table = read_table(path, layout)
    time_column = _time_column(path, table, layout)
    label_column = _label_column(path, table, layout)
    sensors = layout.sensors or tuple(
        str(name) for name in table.columns if name not in (time_column, label_column, *layout.ignore)
    )
    missing = [name for name in sensors if name not in table.columns]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of {len(sensors)} sensors: {_some(missing)}; it has {_some(table.columns)}"
        )
    if not sensors:
        raise DataError(f"{path} has no sensor column beside {time_column!r}; it has {_some(table.columns)}")
    if table.empty:
        raise DataError(f"{path} has a header but no rows")
    labels = None if label_column is None else _labels(path, table, label_column, layout.label_values)
    if labels is not None and layout.labels_are_normal:
        labels = ~labels
    values = sensor_values(path, table, sensors)
    values[np.isin(values, layout.missing_codes)] = np.nan
    return History(path, parse_times(path, table[time_column], layout.time_format), sensors, values, labels)


def read_table(path: Path, layout: Layout = Layout()) -> "pd.DataFrame":
    """The file as it is, columns untouched.

    Raises:
        DataError: the file is absent, empty or not what its name says.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}; give a .csv, .csv.gz or .parquet file"
        )
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        separator = layout.separator or _separator(path)
        table = pd.read_csv(
            path,
            header=0 if layout.header else None,
            sep=separator,
            decimal=layout.decimal,
            skipinitialspace=True,
            low_memory=False,
            # The default is off by one in the last digit now and then, and then scores would differ from the stream's.
            float_precision="round_trip",
        )
        if not layout.header:
            table.columns = pd.Index([f"c{number}" for number in range(1, len(table.columns) + 1)])
    except (OSError, ValueError, EOFError) as error:  # pandas' and pyarrow's parsing errors are ValueErrors
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise DataError(f"{path} cannot be read as {kind}: {str(error).strip().splitlines()[0]}") from error
    return table


def parse_times(path: Path, column: "pd.Series", time_format: str | None = None) -> NDArray[np.float64]:
    """(N,) epoch seconds; see `Layout.time_format`.

    Raises:
        DataError: a time is empty or of no or another format, or several formats fit.
    """
    import pandas as pd

    name = column.name
    if column.isna().any():
        row = int(np.argmax(column.isna().to_numpy()))
        raise DataError(f"{path}: column {name!r} has no time in data row {row + 1}; every row needs one")
    if time_format is None and pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise DataError(f"{path}: column {name!r} holds a time that is no finite number")
        return np.where(np.abs(numbers) >= MILLISECONDS_FROM, numbers / 1000, numbers)
    if pd.api.types.is_datetime64_any_dtype(column):
        return _epoch(pd.to_datetime(column, utc=True))
    text = column.astype(str)
    if time_format is not None:
        return _epoch(_parsed(path, text, time_format))
    iso = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    if iso.notna().all():
        return _epoch(iso)
    return _guessed(path, text)


def _guessed(path: Path, text: "pd.Series") -> NDArray[np.float64]:
    import pandas as pd

    fitting = {}
    for time_format in (date + clock for date in _DATES for clock in _CLOCKS):
        if pd.isna(pd.to_datetime(text.iloc[0], format=time_format, errors="coerce")):
            continue
        moments = pd.to_datetime(text, format=time_format, utc=True, errors="coerce")
        if moments.notna().all():
            fitting[time_format] = moments
    if len(fitting) > 1:
        fitting = {name: moments for name, moments in fitting.items() if moments.is_monotonic_increasing} or fitting
    if len(fitting) == 1:
        return _epoch(next(iter(fitting.values())))
    example = text.iloc[0]
    if fitting:
        raise DataError(
            f"{path}: times such as {example!r} in column {text.name!r} could be {' or '.join(map(repr, fitting))}; "
            "say which with --time-format"
        )
    raise DataError(
        f"{path}: times such as {example!r} in column {text.name!r} are neither ISO 8601 nor epoch seconds "
        "nor in one usual format throughout; name the format with --time-format, e.g. '%d.%m.%Y %H:%M'"
    )


def _parsed(path: Path, text: "pd.Series", time_format: str) -> "pd.Series":
    import pandas as pd

    moments = pd.to_datetime(text, format=time_format, utc=True, errors="coerce")
    wrong = moments.isna().to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{path}: time {text.iloc[row]!r} in data row {row + 1} does not have the format {time_format!r} "
            f"({int(wrong.sum())} of {len(wrong)} rows do not)"
        )
    return moments


def _epoch(moments: "pd.Series") -> NDArray[np.float64]:
    naive = moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    seconds: NDArray[np.float64] = naive.astype(np.int64) / 1e6
    return seconds


def _separator(path: Path) -> str:
    """The likeliest of comma, semicolon and tab, by the header line."""
    import gzip

    with path.open("rb") as raw:
        header = (gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw).readline().decode(errors="replace")
    if not header.strip():
        raise DataError(f"{path} is empty")
    return max(",;\t", key=header.count)


def _time_column(path: Path, table: "pd.DataFrame", layout: Layout) -> str:
    found = _column(table, layout.time_column, TIME_NAMES)
    if found is None:
        wanted = repr(layout.time_column) if layout.time_column else "of the name " + " or ".join(map(repr, TIME_NAMES))
        raise DataError(
            f"{path} has no time column {wanted}; it has {_some(table.columns)}: name one with --time-column"
        )
    return found


def _label_column(path: Path, table: "pd.DataFrame", layout: Layout) -> str | None:
    found = _column(table, layout.label_column, LABEL_NAMES)
    if found is None and layout.label_column:
        raise DataError(
            f"{path} has no label column {layout.label_column!r}; it has {_some(table.columns)}: "
            "name one with --label-column"
        )
    return found


def _column(table: "pd.DataFrame", wanted: str | None, usual: tuple[str, ...]) -> str | None:
    if wanted:
        return wanted if wanted in table.columns else None
    by_lower = {str(name).lower(): str(name) for name in reversed(table.columns.to_list())}
    return next((by_lower[name] for name in usual if name in by_lower), None)


def marked_rows(column: "pd.Series", marks: tuple[float | str, ...]) -> NDArray[np.bool_]:
    """(N,) whether the label is one of `marks`; "1", 1 and 1.0 are the same label, for files differ in writing it."""
    import pandas as pd

    text, numbers = column.astype(str).str.strip(), pd.to_numeric(column, errors="coerce")
    marked = np.zeros(len(column), dtype=bool)
    for mark in marks:
        same = text == str(mark) if isinstance(mark, str) else (text == str(mark)) | (numbers == float(mark))
        marked |= same.to_numpy(dtype=bool)
    return marked


def _labels(path: Path, table: "pd.DataFrame", column: str, marks: tuple[float | str, ...] | None) -> NDArray[np.bool_]:
    """Without `marks`, whatever is not 0, empty or false counts as something that happened."""
    import pandas as pd

    if marks is not None:
        return marked_rows(table[column], marks)
    if pd.api.types.is_bool_dtype(table[column]) or pd.api.types.is_numeric_dtype(table[column]):
        return np.asarray(table[column].fillna(0).to_numpy(dtype=np.float64) > 0)
    text = table[column].fillna("").astype(str).str.strip().str.lower()
    strange = ~text.isin({"", "0", "1", "0.0", "1.0", "false", "true", "no", "yes"})
    if strange.any():
        raise DataError(
            f"{path}: label column {column!r} holds {text[strange].iloc[0]!r}; wanted 0 or 1 (or false or true)"
        )
    return np.asarray(text.isin({"1", "1.0", "true", "yes"}).to_numpy())


def sensor_values(path: Path, table: "pd.DataFrame", sensors: tuple[str, ...]) -> NDArray[np.float64]:
    """(N, F) numbers of these columns, NaN = missing; DataError names the row of a text."""
    import pandas as pd

    values = np.empty((len(table), len(sensors)))
    for i, name in enumerate(sensors):
        column = pd.to_numeric(table[name], errors="coerce")
        if not pd.api.types.is_numeric_dtype(table[name]):
            wrong = (column.isna() & table[name].notna()).to_numpy()
            if wrong.any():
                row = int(np.argmax(wrong))
                raise DataError(
                    f"{path}: column {name!r} holds {table[name].iloc[row]!r} in data row {row + 1}, not a number; "
                    "mend the row, or leave the column out (replay: --ignore, recipe: drop_columns)"
                )
        values[:, i] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    values[~np.isfinite(values)] = np.nan
    return values


def _some(names: object) -> str:
    """The first few of many names."""
    listed = [str(name) for name in names]  # type: ignore[attr-defined]
    return ", ".join(listed[:8]) + (f", ... ({len(listed)} in all)" if len(listed) > 8 else "")
