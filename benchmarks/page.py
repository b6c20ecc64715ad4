"""What a benchmark leaves behind: its JSON beside the code, and its table in docs/performance.md between two marks.

Commands fill the page themselves (`--write`), so that no figure there is copied by hand.
"""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent
PAGE = BENCHMARKS.parent / "docs" / "performance.md"

Document = Mapping[str, Any]
"""Figures by name; a value is plain JSON."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """`--json` and `--write`, the same for every benchmark; `deliver` heeds them."""
    parser.add_argument("--json", type=Path, default=BENCHMARKS / f"{name}.json", help="where the figures go")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")


def deliver(arguments: argparse.Namespace, name: str, document: Document, table: str) -> None:
    """Print the table, write the JSON, and with `--write` fill the page."""
    print(table)
    arguments.json.write_text(as_json(document), encoding="utf-8")
    if arguments.write:
        fill_page(name, table)


def fill_page(name: str, table: str, page: Path = PAGE) -> None:
    """Put the table into the page, docs/performance.md unless said otherwise, between the marks of `name`."""
    page.write_text(filled(page.read_text(encoding="utf-8"), name, table), encoding="utf-8")


def filled(page: str, name: str, table: str) -> str:
    """The page with `table` between the marks of `name`.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- figures: {name} -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{PAGE.name} has no place for the table: wanted the lines {begin} and {end}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(header)} |", "|---|" + "--:|" * (len(header) - 1)]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def as_json(document: Document) -> str:
    """One line a figure, and one line an entry of a list: a curve of hundreds of samples stays readable."""
    parts = []
    for name, value in document.items():
        text = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in value) + "\n ]"
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def machine() -> dict[str, Any]:
    """What the figures were taken on, and how busy it was before: call it first."""
    model = platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def said(taken_on: Document) -> str:
    """`machine()` as a line for the page."""
    return (
        f"{taken_on['cores']} cores ({taken_on['cpu']}), Python {taken_on['python']}; "
        f"load average before: {taken_on['load_before']}."
    )
