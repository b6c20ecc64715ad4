"""Delimited text: header, rows, and what stands around them."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from stream_detector.errors import DataError
from stream_detector.historian.layout import Layout
from stream_detector.historian.report import ReadReport

SEPARATORS = ",;\t|"
HEAD_LINES = 200
"""Lines at the beginning that the separator is found out from."""

CELLS_AT_ONCE = 200_000
"""Cells a chunk: enough for whole columns to be converted in one call, little enough to hold as text."""

UNNAMED = "column 1"
"""Name of a first column that has none, such as the index that pandas writes."""

SHOWN = 60
"""Characters of a line that a message quotes."""

Row = list[str]


@dataclass
class Rows:
    """The rows under a header.

    `names`: of the columns. `first_line`: number of the first data row in the file. `header`: as it stands; a logger
    that starts anew writes it again.
    """

    path: Path
    names: list[str]
    rows: Iterator[Row]
    report: ReadReport
    first_line: int
    header: Row | None = None
    _trailing: int = 0
    _headers: int = 0
    _left_out: list[Row] = field(default_factory=list)

    def chunks(self) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
        """(number of the chunk's first row, its columns as text), for all rows.

        Raises DataError where a row in the middle has too few cells, or one has too many. Rows at the end with too few
        cells are no data (a footer); they are left out and told.
        """
        width, start = len(self.names), 0
        height = max(1, CELLS_AT_ONCE // width)
        while True:
            rows = list(islice(self._whole(), height))
            if not rows:
                break
            yield start, list(zip(*rows, strict=True))
            start += len(rows)
        if self._trailing:
            self.report.found_out.append(f"{self._trailing:,} rows end in a separator; nothing is behind it")
        if self._headers:
            self.report.found_out.append(f"{self._headers:,} lines repeat the header, and were left out")
        if self._left_out:
            first = "".join(self._left_out[0])[:SHOWN]
            self.report.found_out.append(f"{len(self._left_out)} lines at the end hold no data: {first!r}")

    def _whole(self) -> Iterator[Row]:
        width = len(self.names)
        for row in self.rows:
            if row == self.header:
                self._headers += 1
                continue
            if len(row) == width and not self._left_out:
                yield row
                continue
            if not any(cell.strip() for cell in row):
                continue
            if len(row) == width + 1 and not row[-1].strip() and not self._left_out:
                self._trailing += 1
                yield row[:width]
                continue
            if len(row) > width or (self._left_out and len(row) == width):
                culprit = self._left_out[0] if self._left_out else row
                raise DataError(
                    f"{self.path}: a row has {len(culprit)} cells where the header has {width}: "
                    f"{','.join(culprit)[:SHOWN]!r}; mend it, or name the separator, the lines above the header "
                    "(skip_rows) or the decimal mark in the recipe"
                )
            self._left_out.append(row)


def names_separator(line: str) -> bool:
    """Whether the line says `sep=;`, as Excel writes it above the header."""
    return line.strip().strip('"').lower().startswith("sep=")


def read_delimited(path: Path, lines: Iterator[str], layout: Layout, report: ReadReport) -> Rows:
    """Find separator and header; the rows come as they are asked for.

    Raises:
        DataError: there is no header.
    """
    above = layout.skip_rows
    separator = layout.separator
    head = list(islice(lines, above + 1 + HEAD_LINES))
    if not separator and above < len(head) and names_separator(head[above]):
        separator = head[above].strip().strip('"')[4:5] or "\t"
        above += 1
    if above >= len(head):
        raise DataError(f"{path} has {len(head)} lines; skip_rows = {layout.skip_rows} leaves no header")
    if not head[above].strip():
        raise DataError(f"{path}: line {above + 1}, where the header should be, is empty; say skip_rows")
    separator = separator or separator_of(head[above : above + HEAD_LINES])
    rows = csv.reader(chain(head[above:], lines), delimiter=separator, skipinitialspace=True)
    first = next(rows)
    if layout.header:
        names = _names(first, report)
    else:
        names = [f"c{number}" for number in range(1, len(first) + 1)]
        rows = chain([first], rows)  # type: ignore[assignment]
    for _ in range(layout.unit_rows):
        next(rows, None)
    header = first if layout.header else None
    return Rows(path, names, rows, report, above + 1 + layout.unit_rows + int(layout.header), header)


def separator_of(lines: Sequence[str]) -> str:
    """The separator with which most lines have as many cells as their neighbours, and at least two."""

    def agreement(separator: str) -> tuple[int, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
        usual = max(set(counts), key=counts.count)
        return (counts.count(usual) if usual > 1 else 0, usual)

    return max(SEPARATORS, key=agreement)


def _names(first: Row, report: ReadReport) -> list[str]:
    names = [name.strip() for name in first]
    while len(names) > 1 and not names[-1]:
        names.pop()  # a separator at the end of the header
    return told_apart(names, report)


def told_apart(names: Sequence[str], report: ReadReport) -> list[str]:
    """The names of columns, each once: one without a name is numbered, and so is one that is there already."""
    found: dict[str, None] = {}
    numbered: list[str] = []
    for number, name in enumerate(names, start=1):
        name = name or f"column {number}"
        another, count = name, 1
        while another in found:
            count += 1
            another = f"{name} ({count})"
        if count > 1:
            numbered.append(another)
        found[another] = None
    if numbered:
        report.found_out.append(
            f"{len(numbered)} columns have the name of another one; a number tells them apart: {numbered[0]!r}"
        )
    return list(found)


def as_text(cell: Any) -> str:
    """A cell as a CSV file would hold it; times as ISO 8601."""
    if cell is None:
        return ""
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell).strip()
