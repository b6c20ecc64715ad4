"""The runbook: each alert has an entry that begins with what to look at. Its commands: `test_readme.py`."""

import re

import pytest

from tests.drill.rules import alerts
from tests.support.paths import DOCS

PAGE = DOCS / "runbook.md"
ALWAYS = "StreamDetectorAlive"
"""Nobody is called by it, but by its end."""
LOOK = re.compile(
    r"`[^`]+`|\b(console|log|alertmanager|dashboard|last lines|does the topic|same as)\b|\?", re.IGNORECASE
)
"""A command, a metric, a page, or a question that one of them answers."""
CHANGES = re.compile(
    r"^(start|restart|put|raise|give|grant|renew|mend|silence|train|shelve|lengthen|stop|go back|take)\b", re.IGNORECASE
)


def entries() -> dict[str, str]:
    """{alert: the text of its entry}."""
    _, *found = re.split(r"^## (StreamDetector\w+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("alert", [alert for alert in alerts() if alert != ALWAYS])
def test_an_entry_begins_with_what_to_look_at(alert: str) -> None:
    entry = entries()[alert]
    assert re.match(r"\s*\*(Critical|Warning|Info)\.\*", entry), "how urgent it is"
    first = re.search(r"^1\. (.*(?:\n   .*)*)", entry, re.MULTILINE)
    assert first is not None, f"{alert} has no first step"
    assert LOOK.search(first[1]), f"{alert}: nothing is looked at first: {first[1]}"
    assert not CHANGES.match(first[1]), f"{alert}: something is changed before anything is looked at: {first[1]}"
