"""Reads a file, a folder or a glob of files into a `History`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian import labels as label_column
from stream_detector.historian import times as time_columns
from stream_detector.historian.assets import assets_of_files, codes_of, rows_of_assets
from stream_detector.historian.columns import Columns, collect, quality_columns
from stream_detector.historian.delimited import Rows, read_delimited
from stream_detector.historian.encoding import text_of
from stream_detector.historian.excel_files import read_excel
from stream_detector.historian.history import History
from stream_detector.historian.joining import joined, note_rows
from stream_detector.historian.layout import Layout
from stream_detector.historian.long_form import influx_rows, pivot
from stream_detector.historian.parquet_files import parquet_as_text, read_parquet
from stream_detector.historian.report import ReadReport, some
from stream_detector.historian.roles import leave_labels_out, roles, time_columns_of
from stream_detector.historian.runs import end_to_end_of_assets, runs_of

PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx", ".xlsm")
SUFFIXES = (".csv", ".csv.gz", ".txt", ".tsv", ".dat", *PARQUET, *EXCEL)

MOST_FOOTERS, FOOTER_SHARE = 10, 0.05
"""More rows without a time at the end, in number or as a share of the file, are a fault of the file."""

FEWEST_TURNED = 3
"""Two rows in the wrong order may be anything."""

ANYTHING = Layout()
"""Everything is found out."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def read_history(path: Path, layout: Layout = ANYTHING) -> History:
    """Read a file; of a folder, or a path with * in its name, all files one after another in the order of time.

    Raises:
        DataError: there is no file, or it cannot be read; a column is missing; a time or a value cannot be understood.
        UsageError: it is a Parquet or an Excel file, and what reads those is not installed.
    """
    return read_histories([path], layout)


def read_histories(paths: Sequence[Path], layout: Layout = ANYTHING) -> History:
    """The same of several paths, as if they were one folder."""
    files = [(file, asset) for path in paths for file, asset in _files_and_assets(path, layout)]
    histories = [_read(file, layout, asset) for file, asset in files]
    return histories[0] if len(histories) == 1 else joined(paths[0], histories, layout)


def _files_and_assets(path: Path, layout: Layout) -> list[tuple[Path, str | None]]:
    files = files_of(path)
    if layout.asset_column:
        return [(file, None) for file in files]
    return list(zip(files, assets_of_files(path, files, layout.asset_pattern), strict=True))


def files_of(path: Path) -> list[Path]:
    """The data files that a path stands for; of a folder without any those in the folders within it."""
    if path.is_dir():
        files = _data_files(path.iterdir()) or _data_files(path.rglob("*"))
        if not files:
            raise DataError(f"{path} is a folder without a data file; wanted {', '.join(SUFFIXES)}")
        return files
    if "*" in path.name or "?" in path.name:
        files = sorted(path.parent.glob(path.name))
        if not files:
            raise DataError(f"no file fits {path}")
        return files
    if not path.is_file():
        raise DataError(
            f"{path} is not there; give a .csv, .csv.gz, .parquet or .xlsx file, a folder, or a name with *"
        )
    return [path]


def _data_files(places: Iterable[Path]) -> list[Path]:
    return sorted(
        place
        for place in places
        # What begins with a dot or an underscore is a note that some program made for itself.
        if place.name.lower().endswith(SUFFIXES) and not place.name.startswith((".", "_", "~$")) and place.is_file()
    )


def _read(path: Path, layout: Layout, asset: str | None = None) -> History:
    report = ReadReport()
    suffix = path.suffix.lower()
    if suffix in PARQUET and layout.form != "long":
        columns, time_names, label = read_parquet(path, layout, report)
    else:
        rows = _rows(path, layout, report)
        if layout.form in ("long", "influx"):
            time_names = time_columns_of(path, rows.names, layout, report)
            columns, label = pivot(rows, time_names[0], layout), None
        else:
            if layout.form == "grafana" and len(layout.time_columns) == 1:
                rows.names[0] = layout.time_columns[0]  # the first column, whatever its name in the reader's language
            sensors, time_names, label = roles(path, rows.names, layout, report)
            qualities = quality_columns(rows.names, layout)
            sensors = tuple(name for name in sensors if name not in qualities)
            others = filter(None, (label, layout.asset_column, *_present(layout, rows)))
            columns = collect(rows, sensors, list(dict.fromkeys((*time_names, *others))), layout, qualities)
    if not len(columns.values):
        raise DataError(f"{path} has a header but no rows")
    if not columns.sensors:
        raise DataError(f"{path} has no sensor column beside {', '.join(map(repr, time_names))}")
    if not layout.find_label and label is None and layout.sensors is None:
        leave_labels_out(columns, report)
    columns = _without_footer(columns, time_names, report)
    seconds = _seconds(path, columns, time_names, layout, report)
    values = columns.values
    endless = np.isinf(values)
    if endless.any():
        names = [columns.sensors[place] for place in np.flatnonzero(endless.any(axis=0))]
        report.notes.append(f"{int(endless.sum()):,} cells are infinite, taken as missing: {some(names)}")
        values[endless] = np.nan
    if layout.missing_codes:
        values[np.isin(values, layout.missing_codes)] = np.nan
    labels = None if label is None else _labels(path, columns, label, layout, report)
    assets, codes = _assets(path, columns, layout.asset_column, asset)
    runs = runs_of(columns, layout, codes)
    if runs is not None:
        seconds = end_to_end_of_assets(seconds, runs, codes)
    found = History(path, seconds, columns.sensors, values, labels, runs, report, assets, codes)
    found = _oldest_first(found)
    note_rows(found, layout)
    return found


def _without_footer(columns: Columns, time_names: tuple[str, ...], report: ReadReport) -> Columns:
    """The rows without those at the end whose time has no digit: sums, averages, a word of goodbye."""
    texts = columns.texts.get(time_names[0]) if time_names else None
    if texts is None:
        return columns
    count = len(texts)
    while count and len(texts) - count < MOST_FOOTERS and not any(letter.isdigit() for letter in texts[count - 1]):
        count -= 1
    left_out = len(texts) - count
    if not left_out or left_out > FOOTER_SHARE * len(texts):
        return columns
    report.found_out.append(f"{left_out} rows at the end have no time and were left out, the first: {texts[count]!r}")
    return Columns(
        {name: column[:count] for name, column in columns.texts.items()},
        columns.sensors,
        columns.values[:count],
        {name: column[:count] for name, column in columns.numbers.items()},
        {name: column[:count] for name, column in columns.moments.items()},
    )


def _oldest_first(history: History) -> History:
    """A file that begins with its newest row, turned round."""
    steps = [np.diff(history.times[rows]) for rows in rows_of_assets(history.asset_rows, len(history))]
    between = np.concatenate(steps)
    if history.runs is not None or len(history) < FEWEST_TURNED:
        return history
    if (between > 0).any() or not (between < 0).any():
        return history
    history.report.found_out.append("the newest row stood first; the rows were turned round")
    return history.take(np.arange(len(history))[::-1])


def _rows(path: Path, layout: Layout, report: ReadReport) -> Rows:
    if path.suffix.lower() in EXCEL:
        return read_excel(path, layout, report)
    if path.suffix.lower() in PARQUET:
        return parquet_as_text(path, report)
    text = text_of(path, layout.encoding)
    report.encoding = text.encoding
    if text.guessed:
        report.found_out.append(f"the encoding was taken for {text.encoding}; say encoding if names look wrong")
    if layout.form == "influx":
        rows = influx_rows(text, layout.asset_column)
        return Rows(path, next(rows), rows, report, 1)
    return read_delimited(path, text.lines(), layout, report)


def _present(layout: Layout, rows: Rows) -> list[str]:
    return [name for name in layout.run_columns if name in rows.names]


def _seconds(path: Path, columns: Columns, names: tuple[str, ...], layout: Layout, report: ReadReport) -> Floats:
    if not names:
        return np.arange(len(columns.values), dtype=np.float64)
    name = names[0]
    if len(names) > 1:
        texts = [
            " ".join(part.strip().removesuffix("T00:00:00") for part in parts)
            for parts in zip(*(columns.texts[n] for n in names), strict=True)
        ]
        return time_columns.seconds_of_texts(path, " ".join(names), texts, layout, report)
    if name in columns.moments:
        return time_columns.seconds_of_datetimes(path, name, columns.moments[name], layout, report)
    if name in columns.numbers:
        return time_columns.seconds_of_numbers(path, name, columns.numbers[name], layout, report)
    return time_columns.seconds_of_texts(path, name, columns.texts[name], layout, report)


def _labels(path: Path, columns: Columns, name: str, layout: Layout, report: ReadReport) -> NDArray[np.bool_]:
    texts = columns.texts.get(name)
    if texts is None:
        texts = [f"{value:g}" for value in columns.numbers[name].tolist()]
    if layout.label_values is None:
        found = label_column.happened(path, name, texts)
        report.labels = {name: int(found.sum())}
    else:
        found, report.labels = label_column.marked(texts, layout.label_values)
        report.label_column, report.label_texts = name, {text.strip() for text in texts}
    return ~found if layout.labels_are_normal else found


def _assets(
    path: Path, columns: Columns, column: str | None, of_file: str | None
) -> tuple[tuple[str, ...], Ints | None]:
    """Names of the assets and (N,) the place of each row's asset among them."""
    if column:
        texts = columns.texts.get(column)
        if texts is None:
            numbers = columns.numbers[column].tolist()
            texts = ["" if n != n else str(int(n)) if n.is_integer() else str(n) for n in numbers]
        return codes_of(path, column, texts)
    if of_file is not None:
        return (of_file,), np.zeros(len(columns.values), np.int64)
    return (), None
