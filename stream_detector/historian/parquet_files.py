"""Parquet: whole columns as numbers and times, or cell by cell for the long form."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.extras import need
from stream_detector.historian.columns import (
    LEAVE_OUT,
    Columns,
    TextCellError,
    cell_reader,
    doubtful_cells,
    note_cells,
    note_doubtful,
    quality_columns,
)
from stream_detector.historian.delimited import Rows, as_text, told_apart
from stream_detector.historian.layout import TIME_NAMES, Layout
from stream_detector.historian.numbers import NotANumber
from stream_detector.historian.report import ReadReport
from stream_detector.historian.roles import named, roles

Floats = NDArray[np.float64]


def read_parquet(path: Path, layout: Layout, report: ReadReport) -> tuple[Columns, tuple[str, ...], str | None]:
    """Columns of a Parquet file; an index that pandas wrote is a column like any other."""
    need(f"reading {path}", "pyarrow")
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).strip().splitlines()[0]}") from error
    names = _parquet_names(table.column_names, report)
    table = table.rename_columns(names)
    times = [name for name, field in zip(names, table.schema, strict=True) if str(field.type).startswith("timestamp")]
    if not layout.time_column and not named(names, TIME_NAMES) and len(times) == 1:
        layout = replace(layout, time_column=times[0])
    elif layout.time_columns == ("time",) and "time" not in names and len(times) == 1:
        layout = replace(layout, time_column=times[0])
        report.found_out.append(f"the time is in {times[0]!r}")
    sensors, time_names, label = roles(path, names, layout, report)
    qualities = quality_columns(names, layout)
    sensors = tuple(name for name in sensors if name not in qualities)
    columns = Columns({}, sensors, np.empty((table.num_rows, len(sensors))))
    for name in {*time_names, *filter(None, (label, layout.asset_column)), *(set(layout.run_columns) & set(names))}:
        column = table.column(name)
        if getattr(column.type, "tz", None) and layout.zone is not None:
            columns.texts[name] = [as_text(cell) for cell in column.to_pylist()]  # each names its own zone
        elif str(column.type).startswith(("timestamp", "date")):
            columns.moments[name] = column.to_numpy().astype("datetime64[us]")
        elif str(column.type) in ("string", "large_string", "bool") or str(column.type).startswith("dictionary"):
            columns.texts[name] = ["" if cell is None else str(cell) for cell in column.to_pylist()]
        else:
            columns.numbers[name] = column.to_numpy().astype(np.float64)
    for index, name in enumerate(sensors):
        columns.values[:, index] = _arrow_numbers(path, name, table.column(name), layout, report)
    doubtful = dict.fromkeys(qualities.values(), 0)
    for name, sensor in qualities.items():
        if sensor in sensors:
            bad = doubtful_cells(map(_whole, table.column(name).to_pylist()), layout)
            columns.values[bad, sensors.index(sensor)] = np.nan
            doubtful[sensor] = sum(bad)
    note_doubtful(doubtful, layout, report)
    return columns, time_names, label


def parquet_as_text(path: Path, report: ReadReport) -> Rows:
    """A Parquet file of the long form, cell by cell as text; times as ISO 8601."""
    need(f"reading {path}", "pyarrow")
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).strip().splitlines()[0]}") from error
    rows = (
        [as_text(cell) for cell in row]
        for batch in file.iter_batches()
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    return Rows(path, _parquet_names(file.schema_arrow.names, report), rows, report, 1)


def _parquet_names(names: list[str], report: ReadReport) -> list[str]:
    return told_apart(["index" if name.startswith("__index_level_") else name for name in names], report)


def _whole(cell: Any) -> Any:
    """A number as a person writes it: a column of whole numbers with a gap in it holds floats."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


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
        note_cells(cells, layout, report)
    return found
