"""Write the tables of docs/performance.md and docs/deploy.md again from the figures that are there:

    python -m benchmarks.figures

The commands fill their own tables with `--write`; this is for when a table's form has changed, and for the sizes in
docs/deploy.md, which follow from the figures of several commands.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import console_tab, fit_time, memory, scorer, sizing
from benchmarks.broker import endurance, latency, startup, throughput
from benchmarks.page import BENCHMARKS, PAGE, filled

TABLES: dict[str, Callable[[Any], str]] = {
    module.NAME: module.table
    for module in (throughput, latency, startup, memory, scorer, fit_time, endurance, console_tab)
}
"""By the name of the JSON: what makes a table of its content."""


def refilled(page: str) -> str:
    """The page with every table that has figures."""
    for name, table in TABLES.items():
        file = BENCHMARKS / f"{name}.json"
        if file.exists():
            page = filled(page, name, table(json.loads(file.read_text(encoding="utf-8"))))
    return page


def sized(page: str) -> str:
    """The page with the sizing table, which follows from other figures."""
    return filled(page, "sizing", sizing.table(*sizing.measured()))


def main() -> int:
    for page, refill in ((PAGE, refilled), (sizing.PAGE, sized)):
        page.write_text(refill(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
