"""Units of sensors, where a file tells them: in rows under the header, behind its values, or in brackets in a name."""

import csv
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from stream_detector.historian import Layout
from stream_detector.historian.delimited import HEAD_LINES, names_separator, separator_of
from stream_detector.historian.encoding import text_of
from stream_detector.historian.excel_files import sheet_rows
from stream_detector.historian.reader import EXCEL, PARQUET
from stream_detector.historian.report import ReadReport

IN_BRACKETS = re.compile(r"[\[({]([^\[\](){}]{1,20})[\])}]\s*$")
BEHIND = re.compile(r"^[-+]?\d[\d.,\s]*([^\d.,\s].{0,20})$")
LONGEST = 40

Rows = list[list[str]]


def units_of(path: Path, layout: Layout, sensors: Sequence[str]) -> dict[str, str]:
    """{sensor: unit}; a sensor of which the file tells none is left out."""
    found = {name: match[1].strip() for name in sensors if (match := IN_BRACKETS.search(name))}
    if layout.form in ("wide", "grafana") and layout.header and path.suffix.lower() not in PARQUET:
        found |= _of_rows(_head(path, layout), layout)
    return {name: found[name] for name in sensors if found.get(name)}


def _head(path: Path, layout: Layout) -> Rows:
    """The header and what follows it at once."""
    if path.suffix.lower() in EXCEL:
        _, rows = sheet_rows(path, layout.sheet, ReadReport())
        return list(islice(rows, layout.skip_rows, HEAD_LINES))
    lines = list(islice(text_of(path, layout.encoding).lines(), layout.skip_rows, HEAD_LINES))
    if lines and names_separator(lines[0]):
        lines = lines[1:]
    separator = layout.separator or separator_of(lines)
    return list(csv.reader(lines, delimiter=separator, skipinitialspace=True))


def _of_rows(rows: Rows, layout: Layout) -> dict[str, str]:
    if not rows:
        return {}
    found: dict[str, str] = {}
    above, below = rows[1 : 1 + layout.unit_rows], rows[1 + layout.unit_rows :]
    for place, name in enumerate(each.strip() for each in rows[0]):
        told = [row[place].strip() for row in above if len(row) > place and row[place].strip()]
        if layout.form == "grafana":
            told += [match[1] for row in below if len(row) > place and (match := BEHIND.match(row[place].strip()))][:1]
        if told:
            found[name] = ", ".join(told)[:LONGEST]
    return found
