"""Rows of text to columns: sensors as numbers, the columns with another role as text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from stream_detector.historian.delimited import Rows, as_text
from stream_detector.historian.layout import MISSING_WORDS, Layout
from stream_detector.historian.numbers import CellReader, NotANumber, decimal_mark
from stream_detector.historian.report import ReadReport

LEAVE_OUT = "leave the column out (replay: --ignore, recipe: drop_columns)"

EMPTY: Mapping[str, str] = {}
SAMPLE = 20_000
"""Cells that the decimal mark is found from."""

Floats = NDArray[np.float64]


@dataclass
class Columns:
    """N rows. `texts`: of the columns with a role. `values`: (N, F) of the sensors, NaN = missing."""

    texts: dict[str, list[str]]
    sensors: tuple[str, ...]
    values: Floats
    numbers: dict[str, Floats] = field(default_factory=dict)
    """Columns with a role that the file keeps as numbers."""
    moments: dict[str, NDArray[np.datetime64]] = field(default_factory=dict)
    """Columns with a role that the file keeps as times, in UTC where it says so."""


def cell_reader(layout: Layout, sample: Sequence[str], report: ReadReport) -> CellReader:
    """The reader for one file's cells; the decimal mark is found out where it is not given."""
    panel = layout.form == "grafana"
    decimal = layout.decimal or decimal_mark(sample) or "."
    if layout.decimal is None and decimal == ",":
        report.found_out.append("the decimal mark is a comma")
    thousands = layout.thousands
    if thousands is None and panel:
        thousands = "." if decimal == "," else ","
    report.decimal = decimal
    words = MISSING_WORDS | {word.lower() for word in layout.missing_words}
    return CellReader(decimal, thousands, with_units=panel, words=words)


def note_cells(cells: CellReader, layout: Layout, report: ReadReport) -> None:
    """Tell what a reader found in the cells of a file."""
    report.missing_words |= {name: dict(words) for name, words in cells.found_words.items()}
    if layout.thousands is None and cells.thousands and layout.form != "grafana":
        report.found_out.append(f"the mark between thousands is {cells.thousands!r}")


class TextCellError(DataError):
    """A cell of a sensor is no number. `row`: of the data, from 0."""

    def __init__(self, message: str, column: str, row: int, text: str) -> None:
        super().__init__(message)
        self.column, self.row, self.text = column, row, text


def quality_columns(names: Sequence[str], layout: Layout) -> dict[str, str]:
    """{column of qualities: the sensor whose values they are of}."""
    suffix = layout.quality_suffix
    if not suffix:
        return {}
    known = set(names)
    return {name: base for name in names if name.endswith(suffix) and (base := name[: -len(suffix)].rstrip()) in known}


def doubtful_cells(cells: Iterable[Any], layout: Layout) -> list[bool]:
    """Whether each cell of a column of qualities says that its value is not good."""
    good = {word.lower() for word in layout.good_quality}
    return [as_text(cell).lower() not in good for cell in cells]


def note_doubtful(counts: Mapping[str, int], layout: Layout, report: ReadReport) -> None:
    """Tell how many values of each sensor are not good."""
    if any(counts.values()):
        report.found_out.append(
            f"{sum(counts.values()):,} values of {sum(map(bool, counts.values()))} sensors are not of good quality "
            f"(columns ...{layout.quality_suffix}), taken as missing"
        )


def collect(
    rows: Rows, sensors: tuple[str, ...], roles: Sequence[str], layout: Layout, qualities: Mapping[str, str] = EMPTY
) -> Columns:
    """Read all rows. `roles`: columns that stay text. `qualities`: columns that say which values of a sensor are good.

    Raises:
        DataError: a cell of a sensor is no number; units are mixed.
    """
    path, report = rows.path, rows.report
    place = {name: index for index, name in enumerate(rows.names)}
    texts: dict[str, list[str]] = {name: [] for name in roles}
    parts: dict[str, list[Floats]] = {name: [] for name in sensors}
    dropped: set[str] = set()
    chunks = rows.chunks()
    head = list(islice(chunks, 1))
    sample = [
        cell for _, columns in head for name in sensors for cell in columns[place[name]][: 1 + SAMPLE // len(sensors)]
    ]
    cells = cell_reader(layout, sample, report)
    quality_of = {sensor: place[name] for name, sensor in qualities.items()}
    doubtful = dict.fromkeys(quality_of, 0)
    for start, columns in chain(head, chunks):
        for name in roles:
            texts[name] += columns[place[name]]
        for name in sensors:
            if name in dropped:
                continue
            try:
                numbers = cells.floats(name, columns[place[name]])
                if name in quality_of:
                    bad = doubtful_cells(columns[quality_of[name]], layout)
                    numbers[bad] = np.nan
                    doubtful[name] += sum(bad)
                parts[name].append(numbers)
            except NotANumber as found:
                if layout.form == "grafana" and not any(np.isfinite(part).any() for part in parts[name]):
                    dropped.add(name)  # a legend, a status
                    continue
                row = start + found.index
                raise TextCellError(_not_a_number(path, name, row, found.text, cells), name, row, found.text) from None
    kept = tuple(name for name in sensors if name not in dropped)
    if layout.form == "grafana":
        kept = tuple(name for name in kept if any(np.isfinite(part).any() for part in parts[name]))
        for name in kept:
            if len(units := sorted(cells.units.get(name, ()))) > 1:
                raise DataError(
                    f"{path}: column {name!r} mixes the units {', '.join(map(repr, units[:4]))}; download it again "
                    "with 'Formatted data' switched off"
                )
    note_cells(cells, layout, report)
    note_doubtful(doubtful, layout, report)
    count = sum(len(part) for part in parts[kept[0]]) if kept else 0
    values = np.empty((count, len(kept)))
    for index, name in enumerate(kept):
        values[:, index] = np.concatenate(parts.pop(name)) if count else []
    return Columns(texts, kept, values)


def _not_a_number(path: Path, name: str, row: int, text: str, cells: CellReader) -> str:
    advice = "mend the row, add the word to missing_words, or " + LEAVE_OUT
    if row == 0 and not any(letter.isdigit() for letter in text):
        advice = "a row of units under the header? say unit_rows = 1; or " + advice
    elif "," in text and cells.decimal == ".":
        advice = 'a decimal comma? say decimal = ","; or ' + advice
    return f"{path}: column {name!r} holds {text!r} in data row {row + 1}, not a number; {advice}"
