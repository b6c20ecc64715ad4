"""Every Python file that a page or a docstring names is there: a file that moves takes its mentions along."""

import re
from pathlib import Path

import pytest

from tests.support.paths import DOCS, ROOT

PACKAGES = ("stream_detector", "trainer", "tests", "benchmarks", "deploy")
PYTHON = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
NAMED = re.compile(r"(?<![\w./*%-])((?:[\w-]+/)*[\w-]+\.py)\b")


def missing(text: str) -> list[str]:
    """The named files that no file of the project ends in."""
    return [
        name
        for name in dict.fromkeys(NAMED.findall(text))
        if not any(path == name or path.endswith("/" + name) for path in PYTHON)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    assert missing(page.read_text(encoding="utf-8")) == []


def test_every_file_that_the_code_names_is_there() -> None:
    stale = {path: found for path in sorted(PYTHON) if (found := missing((ROOT / path).read_text(encoding="utf-8")))}
    stale.pop("tests/docs/test_named_files.py", None)
    assert stale == {}


def test_a_file_that_moved_is_seen() -> None:
    assert missing("as `streaming/lookout.py` says, beside `engine/partition.py` and `partition.py`") == [
        "streaming/lookout.py"
    ]
