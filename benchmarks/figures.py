"""Write the tables of docs/performance.md again from the figures that are there: `python -m benchmarks.figures`.

The commands do this themselves with `--write`; this is for when a table's form has changed.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import console_tab, fit_time, memory, scorer
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


def main() -> int:
    PAGE.write_text(refilled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
