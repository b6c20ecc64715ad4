"""`make properties`: every property test of the suite with many examples, and a table of what each of them ran.

    python -m tests.programs.properties [--examples 5000] [--seed 1] [--only EXPRESSION]

`make test` draws the same few examples every time, so that it never fails by luck; this is where luck is looked for.
One line a test as it ends: its examples (fewer where there are no more to draw), seconds and result. Exit 1 when any
failed; the falsifying examples follow the table.
"""

import argparse
import os
import re
import sys
from collections.abc import Generator
from dataclasses import dataclass, field

import pytest

from tests.support.properties import EXAMPLES_VARIABLE

WIDTH = 105


@dataclass(eq=False)  # pytest keeps its plugins in sets
class PropertyTable:
    """A pytest plugin: prints a line for each property test, and keeps what failed."""

    examples: int = 0
    failures: list[str] = field(default_factory=list)
    results: dict[str, int] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "call" or not report.passed:
            self._note(report, getattr(item, "hypothesis_statistics", ""))
        return report

    def _note(self, report: pytest.TestReport, statistics: str) -> None:
        self.results[report.outcome] = self.results.get(report.outcome, 0) + 1
        generated = re.search(r"during generate phase.*?(\d+) passing", statistics, re.DOTALL)
        ran = int(generated.group(1)) if generated else 0
        self.examples += ran
        name = report.nodeid.removeprefix("tests/")
        print(f"{name:{WIDTH}} {ran:>7,} {report.duration:>8.1f} s  {report.outcome}", flush=True)
        if report.failed:
            self.failures.append(f"\n{report.nodeid}\n{report.longreprtext}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=5000, help="for each test")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="EXPRESSION", help="which tests, as for pytest -k")
    arguments = parser.parse_args()
    os.environ[EXAMPLES_VARIABLE] = str(arguments.examples)
    table = PropertyTable()
    print(f"{'test':{WIDTH}} {'examples':>7} {'time':>9}   result")
    ended = pytest.main(
        [
            "-m", "hypothesis", "-k", arguments.only, "--timeout", "0", "--no-header", "--no-summary", "-q", "-q",
            "-p", "no:terminalreporter", "--capture", "fd", "-W", "ignore", "--hypothesis-profile", "seeded",
            "--hypothesis-seed", str(arguments.seed), "--hypothesis-show-statistics", "tests",
        ],
        plugins=[table],
    )  # fmt: skip
    results = ", ".join(f"{count} {found}" for found, count in sorted(table.results.items())) or "no test"
    print(f"{results}; {table.examples:,} examples, seed {arguments.seed}")
    print(*table.failures, sep="\n")
    return int(ended)


if __name__ == "__main__":
    sys.exit(main())
