"""Reads a file, a folder or a glob of files into a `History`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.extras import need
from stream_detector.historian import labels as label_column
from stream_detector.historian import times as time_columns
from stream_detector.historian.columns import LEAVE_OUT, Columns, TextCellError, cell_reader, collect
from stream_detector.historian.delimited import UNNAMED, Rows, read_delimited
from stream_detector.historian.encoding import read_text
from stream_detector.historian.history import History
from stream_detector.historian.layout import LABEL_NAMES, TIME_NAMES, Layout
from stream_detector.historian.long_form import influx_rows, pivot
from stream_detector.historian.numbers import NotANumber
from stream_detector.historian.report import ReadReport

PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx", ".xlsm")
SUFFIXES = (".csv", ".csv.gz", ".txt", ".tsv", *PARQUET, *EXCEL)

ANYTHING = Layout()
"""Everything is found out."""

Floats = NDArray[np.float64]

RUN_GAP_SECONDS = 100 * 86_400.0
"""Runs whose times start again are moved by multiples of this: a step length divides it, so rows keep their grid."""


def read_history(path: Path, layout: Layout = ANYTHING) -> History:
    """Read a file; of a folder, or a path with * in its name, all files one after another in the order of time.

    Raises:
        DataError: there is no file, or it cannot be read; a column is missing; a time or a value cannot be understood.
        UsageError: it is a Parquet or an Excel file, and what reads those is not installed.
    """
    return read_histories([path], layout)


def read_histories(paths: Sequence[Path], layout: Layout = ANYTHING) -> History:
    """The same of several paths, as if they were one folder."""
    histories = [_read(file, layout) for path in paths for file in files_of(path)]
    return histories[0] if len(histories) == 1 else _joined(paths[0], histories, layout)


def files_of(path: Path) -> list[Path]:
    """The data files that a path stands for."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES))
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


def _read(path: Path, layout: Layout) -> History:
    report = ReadReport()
    suffix = path.suffix.lower()
    if suffix in PARQUET:
        columns, time_names, label = _from_parquet(path, layout, report)
    else:
        rows = _rows(path, layout, report)
        if layout.form in ("long", "influx"):
            time_names = _time_columns(path, rows.names, layout, report)
            columns, label = pivot(rows, time_names[0], layout), None
        else:
            if layout.form == "grafana" and len(layout.time_columns) == 1:
                rows.names[0] = layout.time_columns[0]  # the first column, whatever its name in the reader's language
            sensors, time_names, label = _roles(path, rows.names, layout, report)
            columns = collect(
                rows, sensors, [*time_names, *([label] if label else []), *_present(layout, rows)], layout
            )
    if not len(columns.values):
        raise DataError(f"{path} has a header but no rows")
    if not columns.sensors:
        raise DataError(f"{path} has no sensor column beside {', '.join(map(repr, time_names))}")
    if not layout.find_label and label is None and layout.sensors is None:
        _leave_labels_out(columns, report)
    seconds = _seconds(path, columns, time_names, layout, report)
    values = columns.values
    values[~np.isfinite(values)] = np.nan
    if layout.missing_codes:
        values[np.isin(values, layout.missing_codes)] = np.nan
    labels = None if label is None else _labels(path, columns, label, layout, report)
    runs = _runs(columns, layout)
    if runs is not None:
        seconds = _end_to_end(seconds, runs)
    report.rows = len(seconds)
    if not layout.without_time:
        _note_times(seconds, runs, report)
    return History(path, seconds, columns.sensors, values, labels, runs, report)


def _rows(path: Path, layout: Layout, report: ReadReport) -> Rows:
    if path.suffix.lower() in EXCEL:
        return _from_excel(path, layout, report)
    text = read_text(path, layout.encoding)
    report.encoding = text.encoding
    if text.guessed:
        report.found_out.append(f"the encoding was taken for {text.encoding}; say encoding if names look wrong")
    if layout.form == "influx":
        found = influx_rows(path, text.content)
        return Rows(path, found[0], iter(found[1:]), report, 1)
    return read_delimited(path, text.content, layout, report)


def _from_excel(path: Path, layout: Layout, report: ReadReport) -> Rows:
    """The first sheet's cells as text; times as ISO 8601."""
    need(f"reading {path}", "openpyxl")
    from openpyxl import load_workbook

    try:
        sheet = load_workbook(path, read_only=True, data_only=True).worksheets[0]
    except Exception as error:
        raise DataError(f"{path} cannot be read as Excel: {error}") from error
    rows = ([_as_text(cell) for cell in row] for row in sheet.iter_rows(values_only=True))
    for _ in range(layout.skip_rows):
        next(rows, None)
    names = [name or f"column {number}" for number, name in enumerate(next(rows, []), start=1)]
    for _ in range(layout.unit_rows):
        next(rows, None)
    return Rows(path, names, rows, report, layout.skip_rows + 2 + layout.unit_rows)


def _as_text(cell: Any) -> str:
    if cell is None:
        return ""
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell).strip()


def _from_parquet(path: Path, layout: Layout, report: ReadReport) -> tuple[Columns, tuple[str, ...], str | None]:
    """Columns of a Parquet file; an index that pandas wrote is a column like any other."""
    need(f"reading {path}", "pyarrow")
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).strip().splitlines()[0]}") from error
    names = ["index" if name.startswith("__index_level_") else name for name in table.column_names]
    table = table.rename_columns(names)
    times = [name for name, field in zip(names, table.schema, strict=True) if str(field.type).startswith("timestamp")]
    if not layout.time_column and not _named(names, TIME_NAMES) and len(times) == 1:
        layout = replace(layout, time_column=times[0])
    elif layout.time_columns == ("time",) and "time" not in names and len(times) == 1:
        layout = replace(layout, time_column=times[0])
        report.found_out.append(f"the time is in {times[0]!r}")
    sensors, time_names, label = _roles(path, names, layout, report)
    columns = Columns({}, sensors, np.empty((table.num_rows, len(sensors))))
    for name in {*time_names, *([label] if label else []), *(set(layout.run_columns) & set(names))}:
        column = table.column(name)
        if str(column.type).startswith(("timestamp", "date")):
            columns.moments[name] = column.to_numpy().astype("datetime64[us]")
        elif str(column.type) in ("string", "large_string", "bool") or str(column.type).startswith("dictionary"):
            columns.texts[name] = ["" if cell is None else str(cell) for cell in column.to_pylist()]
        else:
            columns.numbers[name] = column.to_numpy().astype(np.float64)
    for index, name in enumerate(sensors):
        columns.values[:, index] = _arrow_numbers(path, name, table.column(name), layout, report)
    return columns, time_names, label


def _arrow_numbers(path: Path, name: str, column: Any, layout: Layout, report: ReadReport) -> Floats:
    try:
        found: Floats = column.to_numpy().astype(np.float64)
    except (TypeError, ValueError):
        texts = ["" if cell is None else str(cell) for cell in column.to_pylist()]
        cells = cell_reader(layout, texts[:1000], report)
        try:
            found = cells.floats(name, texts)
        except NotANumber as wrong:
            raise TextCellError(
                f"{path}: column {name!r} holds {wrong.text!r} in data row {wrong.index + 1}, not a number; "
                f"add the word to missing_words, or {LEAVE_OUT}",
                name,
                wrong.index,
                wrong.text,
            ) from None
        report.missing_words |= {sensor: dict(words) for sensor, words in cells.found_words.items()}
    return found


def _roles(
    path: Path, names: list[str], layout: Layout, report: ReadReport
) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    """Sensors, time columns and label column among a file's columns."""
    time_names = _time_columns(path, names, layout, report)
    label = layout.label_column or None
    if layout.label_optional and label not in names:
        label = None
    if label is not None and label not in names:
        raise DataError(f"{path} has no label column {label!r}; it has {_some(names)}: name one with --label-column")
    if label is None and layout.find_label:
        label = _named(names, LABEL_NAMES)
    others = {*time_names, label, *layout.ignore, *layout.run_columns}
    sensors = layout.sensors or tuple(name for name in names if name not in others)
    missing = [name for name in sensors if name not in names]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of {len(sensors)} sensors: {_some(missing)}; it has {_some(names)}"
        )
    if not sensors:
        raise DataError(f"{path} has no sensor column beside time and label; it has {_some(names)}")
    return sensors, time_names, None if label in sensors else label


def _time_columns(path: Path, names: list[str], layout: Layout, report: ReadReport) -> tuple[str, ...]:
    if layout.without_time:
        return ()
    if not layout.time_columns or (layout.time_columns == ("time",) and "time" not in names):
        found = _named(names, ("_time", *TIME_NAMES))
        if found is not None:
            if layout.time_columns:
                report.found_out.append(f"the time is in {found!r}")
            return (found,)
        if names[0] == UNNAMED:
            report.found_out.append("the first column has no name; it was taken for the time")
            return (UNNAMED,)
    if layout.time_columns and all(name in names for name in layout.time_columns):
        return layout.time_columns
    wanted = " and ".join(map(repr, layout.time_columns)) or "of the name " + " or ".join(map(repr, TIME_NAMES))
    raise DataError(f"{path} has no time column {wanted}; it has {_some(names)}: name one with --time-column")


def _leave_labels_out(columns: Columns, report: ReadReport) -> None:
    """A column of zeros and ones with a label's name is no sensor; whether it is the label, a person must say."""
    name = _named(list(columns.sensors), LABEL_NAMES)
    if name is None or len(columns.sensors) == 1:
        return
    place = columns.sensors.index(name)
    values = columns.values[:, place]
    if np.isin(values[np.isfinite(values)], (0.0, 1.0)).all():
        columns.sensors = tuple(each for each in columns.sensors if each != name)
        columns.values = np.delete(columns.values, place, axis=1)
        report.notes.append(
            f"column {name!r} looks like a label and was left out; name it as label_column, or list it in sensors"
        )


def _present(layout: Layout, rows: Rows) -> list[str]:
    return [name for name in layout.run_columns if name in rows.names]


def _named(names: list[str], usual: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(names)}
    return next((by_lower[name] for name in usual if name in by_lower), None)


def _seconds(path: Path, columns: Columns, names: tuple[str, ...], layout: Layout, report: ReadReport) -> Floats:
    if not names:
        return np.arange(len(columns.values), dtype=np.float64)
    name = names[0]
    if len(names) > 1:
        texts = [
            " ".join(part.strip() for part in parts) for parts in zip(*(columns.texts[n] for n in names), strict=True)
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
        nothing = [value for value, count in report.labels.items() if not count]
        if nothing:
            there = _some([repr(text) for text in sorted({text.strip() for text in texts})])
            report.notes.append(f"no row of column {name!r} holds {', '.join(map(repr, nothing))}; it holds {there}")
    return ~found if layout.labels_are_normal else found


def _runs(columns: Columns, layout: Layout) -> NDArray[np.int64] | None:
    """(N,) number of the run that a row is in; a file that was cut into its runs needs no column that tells them."""
    names = [name for name in layout.run_columns if name in columns.texts or name in columns.numbers]
    if not names or len(names) < len(layout.run_columns):
        return None
    keys = [columns.texts.get(name) or columns.numbers[name].tolist() for name in names]
    changed = np.array(
        [index == 0 or any(key[index] != key[index - 1] for key in keys) for index in range(len(keys[0]))]
    )
    return np.asarray(np.cumsum(changed) - 1, np.int64)


def _end_to_end(times: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Move runs whose times start again behind the run before, far enough that no window spans two of them."""
    moved = times.copy()
    starts = np.flatnonzero(np.diff(parts, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(times)], strict=True):
        if start and moved[start] <= moved[start - 1]:
            behind = moved[start - 1] + RUN_GAP_SECONDS - times[start]
            moved[start:stop] = times[start:stop] + np.ceil(behind / RUN_GAP_SECONDS) * RUN_GAP_SECONDS
    return moved


def _note_times(seconds: Floats, runs: NDArray[np.int64] | None, report: ReadReport) -> None:
    report.equal_times = len(seconds) - len(np.unique(seconds)) if runs is None else 0
    steps = np.diff(seconds)
    report.steps_back = int((steps < 0).sum()) if runs is None else 0
    forward = steps[steps > 0]
    if len(forward):
        report.median_step_seconds = float(np.median(forward))
        report.gaps = int((forward > 3 * report.median_step_seconds).sum())


def _joined(path: Path, histories: list[History], layout: Layout) -> History:
    histories = sorted(histories, key=lambda history: float(history.times[0]))
    first = histories[0]
    for other in histories[1:]:
        if set(other.sensors) != set(first.sensors):
            differ = sorted(set(other.sensors) ^ set(first.sensors))
            raise DataError(
                f"{other.path} has other sensors than {first.path}: {_some(differ)}; name those of both as sensors"
            )
    order = [[other.sensors.index(name) for name in first.sensors] for other in histories]
    labels = None if any(each.labels is None for each in histories) else [each.labels for each in histories]
    times = np.concatenate([each.times for each in histories])
    runs = None
    if layout.file_runs:
        runs = np.repeat(np.arange(len(histories)), [len(each.times) for each in histories])
        times = _end_to_end(times, runs)
    report = first.report
    for other in histories[1:]:
        report.notes += [note for note in other.report.notes if note not in report.notes]
        report.missing_words |= other.report.missing_words
    report.rows = len(times)
    if not layout.without_time:
        _note_times(times, runs, report)
    return History(
        path,
        times,
        first.sensors,
        np.concatenate([each.values[:, place] for each, place in zip(histories, order, strict=True)]),
        None if labels is None else np.concatenate(labels),  # type: ignore[arg-type]
        runs,
        report,
    )


def _some(names: list[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
