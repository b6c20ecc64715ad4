"""Long form, one row a value, to one column a tag; memory grows with what comes out, not with the rows."""

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from stream_detector.errors import DataError
from stream_detector.historian.columns import LEAVE_OUT, Columns, TextCellError, cell_reader, note_cells
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
    unread, doubtful = set(layout.ignore), Counter[str]()
    for start, columns in rows.chunks():
        numbered: Sequence[int] = range(len(columns[0]))
        if unread:
            numbered = [row for row, text in enumerate(columns[place[tag]]) if text.strip() not in unread]
            columns = [tuple(column[row] for row in numbered) for column in columns]
        if cells is None:
            cells = cell_reader(layout, columns[place[value]][:20_000], rows.report)
        try:
            numbers = cells.floats(columns[place[tag]], columns[place[value]])
        except NotANumber as found:
            name, row = columns[place[tag]][found.index].strip(), start + numbered[found.index]
            raise TextCellError(
                f"{path}: {found.text!r} in data row {row + 1} is the value of {name!r} and not a number; add the word "
                "to missing_words, mend the row, or " + LEAVE_OUT,
                name,
                row,
                found.text,
            ) from None
        if quality is not None:
            words = [cell.strip() for cell in columns[place[quality]]]
            bad = [word.lower() not in good for word in words]
            doubtful.update(compress(words, bad))
            numbers[bad] = np.nan
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
    if doubtful:
        most = ", ".join(f"{word!r} {count:,}" for word, count in doubtful.most_common(3))
        rows.report.found_out.append(f"{doubtful.total():,} values are of no good quality, taken as missing: {most}")
    if cells is not None:
        note_cells(cells, layout, rows.report)
    columns_of_text = [list(texts) for texts in zip(*times, strict=True)] or [[], []]
    return Columns(dict(zip([time_column, *([asset] if asset else [])], columns_of_text, strict=False)), names, values)


def influx_rows(path: Path, content: str, asset: str | None) -> list[list[str]]:
    """InfluxDB's annotated CSV as rows (time, tag, value) under a header.

    The name of a sensor is its field, behind its tags and, where the file holds several measurements, the measurement.

    asset: the tag that names the asset; it is a column of its own then.

    Raises:
        DataError: a table of it has no `_time`, `_value` or `_field`.
    """
    found: list[list[str]] = [["_time", "tag", "value", *([asset] if asset else [])]]
    measurements: set[str] = set()
    of_rows: list[str] = []
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
        measurements.add(cell.get("_measurement", ""))
        of_rows.append(cell.get("_measurement", ""))
        tag = ".".join(part for part in (*(row[index] for index in names), cell["_field"]) if part)
        found.append([cell["_time"], tag, cell["_value"], *([cell[asset]] if asset else [])])
    if len(measurements) > 1:
        for row, measurement in zip(found[1:], of_rows, strict=True):
            row[1] = f"{measurement}.{row[1]}" if measurement else row[1]
    return found
