"""Excel: the cells of a sheet as text."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from stream_detector.errors import DataError
from stream_detector.extras import need
from stream_detector.historian.delimited import Row, Rows, as_text, told_apart
from stream_detector.historian.layout import Layout
from stream_detector.historian.report import ReadReport


def read_excel(path: Path, layout: Layout, report: ReadReport) -> Rows:
    """The rows of a sheet; times as ISO 8601.

    Raises:
        DataError: it is no Excel file, or has no sheet of that name.
        UsageError: what reads it is not installed.
    """
    sheet, rows = sheet_rows(path, layout.sheet, report)
    for _ in range(layout.skip_rows):
        next(rows, None)
    first = next(rows, [])
    while len(first) > 1 and not first[-1]:
        first.pop()
    if layout.header:
        names = told_apart(first, report)
    else:
        names = [f"c{number}" for number in range(1, len(first) + 1)]
        rows = chain([first], rows)
    for _ in range(layout.unit_rows):
        next(rows, None)
    if not any(names):
        raise DataError(f"{path}: row {layout.skip_rows + 1} of sheet {sheet!r} is empty; say skip_rows, or sheet")
    narrowed = (_narrowed(row, len(names)) for row in rows)
    return Rows(path, names, narrowed, report, layout.skip_rows + 1 + layout.unit_rows + int(layout.header))


def sheet_rows(path: Path, sheet: str | None, report: ReadReport) -> tuple[str, Iterator[Row]]:
    """Name and rows of a sheet; of the one with the most rows where none is named."""
    need(f"reading {path}", "openpyxl")
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:
        raise DataError(f"{path} cannot be read as Excel: {error}") from error
    sheets = {each.title: each for each in book.worksheets}
    if sheet is not None and sheet not in sheets:
        raise DataError(f"{path} has no sheet {sheet!r}; it has {', '.join(map(repr, sheets))}")
    chosen = sheet or max(sheets, key=lambda title: sheets[title].max_row or 0)
    if sheet is None and len(sheets) > 1:
        report.found_out.append(f"sheet {chosen!r} was read, the one with the most rows; say sheet for another one")
    return chosen, ([as_text(cell) for cell in row] for row in sheets[chosen].iter_rows(values_only=True))


def _narrowed(row: Row, width: int) -> Row:
    """Sheets are as wide as their widest row; cells behind the header that are empty are no cells."""
    while len(row) > width and not row[-1]:
        row.pop()
    return row + [""] * (width - len(row))
