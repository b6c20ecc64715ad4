"""Long form, one row a value, to one column a tag; memory grows with what comes out, not with the rows."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian.columns import LEAVE_OUT, Columns, TextCellError, cell_reader, note_cells
from stream_detector.historian.delimited import Row, Rows
from stream_detector.historian.encoding import Text
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
    entries: list[tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.float64]]] = []
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
        rows_of = np.array([times.setdefault(texts, len(times)) for texts in key], np.int32)
        tags_of = [tags.setdefault(text.strip(), len(tags)) for text in columns[place[tag]]]
        if len(tags) > MOST_TAGS:
            raise DataError(f"{path}: column {tag!r} holds more than {MOST_TAGS:,} names; is it the tag?")
        entries.append((rows_of, np.array(tags_of, np.int16), numbers))
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
    for rows_of, numbers_of_tags, numbers in entries:
        known = column[numbers_of_tags] >= 0
        at, of, numbers = rows_of[known], column[numbers_of_tags[known]], numbers[known]
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


def influx_rows(text: Text, asset: str | None) -> Iterator[Row]:
    """InfluxDB's annotated CSV as a header and rows (time, tag, value) under it.

    The name of a sensor is its field, behind its tags and, where the file holds several measurements, the measurement.

    asset: the tag that names the asset; it is a column of its own then.

    Raises:
        DataError: a table of it has no `_time`, `_value` or `_field`.
    """
    several = len({cell.get("_measurement", "") for cell in _influx_cells(text, asset)}) > 1
    yield ["_time", "tag", "value", *([asset] if asset else [])]
    for cell in _influx_cells(text, asset):
        parts = [name for key, name in cell.items() if key not in (*OF_INFLUX, asset)]
        measurement = cell.get("_measurement", "") if several else ""
        tag = ".".join(part for part in (measurement, *parts, cell["_field"]) if part)
        yield [cell["_time"], tag, cell["_value"], *([cell[asset]] if asset else [])]


def _influx_cells(text: Text, asset: str | None) -> Iterator[dict[str, str]]:
    """{column: cell} of each row, in all tables of the file."""
    header: Row | None = None
    for row in csv.reader(text.lines()):
        if not any(row) or row[0].startswith("#"):
            header = None
        elif header is not None:
            yield dict(zip(header, row, strict=False))
        else:
            header = row
            missing = [name for name in ("_time", "_value", "_field", asset) if name is not None and name not in row]
            if missing:
                raise DataError(f"{text.path} is no annotated CSV of InfluxDB: a table has no column {missing[0]!r}")
