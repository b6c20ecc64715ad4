"""Long form, one row a value, to one column a tag; memory grows with what comes out, not with the rows."""

import csv
from pathlib import Path

import numpy as np

from stream_detector.errors import DataError
from stream_detector.historian.columns import Columns, cell_reader
from stream_detector.historian.delimited import Rows
from stream_detector.historian.layout import Layout
from stream_detector.historian.numbers import NotANumber

MOST_TAGS = 10_000
OF_INFLUX = ("", "result", "table", "_start", "_stop", "_time", "_value", "_field", "_measurement")
"""Columns of InfluxDB's own; all others are tags."""


def pivot(rows: Rows, time_column: str, layout: Layout) -> Columns:
    """One row a distinct time text, and asset, in the order in which they first come.

    Raises:
        DataError: a column of the long form is missing, a value is no number, a tag has two values at one time that
            differ, there are very many tags.
    """
    path, tag, value, quality = rows.path, layout.tag_column, layout.value_column, layout.quality_column
    asset = layout.asset_column
    for name in filter(None, (tag, value, quality, asset)):
        if name not in rows.names:
            raise DataError(
                f"{path} has no column {name!r} of the long form; it has {', '.join(rows.names[:8])}: name tag_column, "
                "value_column, quality_column and asset_column in the recipe"
            )
    place = {name: index for index, name in enumerate(rows.names)}
    times: dict[tuple[str, ...], int] = {}
    keys = [place[time_column], *([place[asset]] if asset else [])]
    tags: dict[str, int] = {}
    entries = []
    good = {word.lower() for word in layout.good_quality}
    cells = None
    repeated = 0
    for start, columns in rows.chunks():
        if cells is None:
            cells = cell_reader(layout, columns[place[value]][:20_000], rows.report)
        try:
            numbers = cells.floats(value, columns[place[value]])
        except NotANumber as found:
            raise DataError(
                f"{path}: column {value!r} holds {found.text!r} in data row {start + found.index + 1}, not a number; "
                "add the word to missing_words, or mend the row"
            ) from None
        if quality is not None:
            numbers[[cell.strip().lower() not in good for cell in columns[place[quality]]]] = np.nan
        key = zip(*(columns[index] for index in keys), strict=True)
        at = np.array([times.setdefault(texts, len(times)) for texts in key], np.int64)
        of = np.array([tags.setdefault(text.strip(), len(tags)) for text in columns[place[tag]]], np.int64)
        if len(tags) > MOST_TAGS:
            raise DataError(f"{path}: column {tag!r} holds more than {MOST_TAGS:,} names; is it the tag?")
        entries.append((at, of, numbers))
    names = tuple(sorted(tags))
    if layout.sensors:
        absent = [name for name in layout.sensors if name not in tags]
        if absent:
            raise DataError(f"{path} lacks {len(absent)} of {len(layout.sensors)} sensors, the first is {absent[0]!r}")
        names = layout.sensors
    names = tuple(name for name in names if name not in layout.ignore)
    column = np.full(len(tags), -1, np.int64)
    column[[tags[name] for name in names]] = np.arange(len(names))
    values = np.full((len(times), len(names)), np.nan)
    for at, of, numbers in entries:
        known = column[of] >= 0
        at, of, numbers = at[known], column[of[known]], numbers[known]
        repeated += int((np.isfinite(values[at, of]) & (values[at, of] != numbers)).sum())
        values[at, of] = numbers
    if repeated:
        rows.report.notes.append(f"{repeated:,} values came again for the same tag and time; the last one counts")
    if cells is not None and cells.found_words:
        rows.report.missing_words = {name: dict(words) for name, words in cells.found_words.items()}
    columns_of_text = [list(texts) for texts in zip(*times, strict=True)] or [[], []]
    return Columns(dict(zip([time_column, *([asset] if asset else [])], columns_of_text, strict=False)), names, values)


def influx_rows(path: Path, content: str, asset: str | None) -> list[list[str]]:
    """InfluxDB's annotated CSV as rows (time, tag, value) under a header; the tag is field and other tags.

    asset: the tag that names the asset; it is a column of its own then.

    Raises:
        DataError: a table of it has no `_time`, `_value` or `_field`.
    """
    found: list[list[str]] = [["_time", "tag", "value", *([asset] if asset else [])]]
    header: list[str] | None = None
    for row in csv.reader(content.splitlines()):
        if not row or not any(row):
            header = None
            continue
        if row[0].startswith("#"):
            header = None
            continue
        if header is None:
            header = row
            missing = [
                name for name in ("_time", "_value", "_field", *([asset] if asset else [])) if name not in header
            ]
            if missing:
                raise DataError(f"{path} is no annotated CSV of InfluxDB: a table has no column {missing[0]!r}")
            names = [
                index for index, name in enumerate(header)
                if name not in (*OF_INFLUX, asset)
            ]  # fmt: skip
            continue
        cell = dict(zip(header, row, strict=False))
        tag = ".".join(part for part in (*(row[index] for index in names), cell["_field"]) if part)
        found.append([cell["_time"], tag, cell["_value"], *([cell[asset]] if asset else [])])
    return found
