"""Every timeline of docs/event-time.md is what the engine does."""

import pytest

from tests.support.paths import DOCS
from tests.support.timelines import Timeline, drawn, played, timelines

PAGE = (DOCS / "event-time.md").read_text(encoding="utf-8")
TIMELINES = timelines(PAGE)


def test_every_rule_has_a_timeline() -> None:
    titles = {timeline.title for timeline in TIMELINES}
    rules = [line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## Rule ")]
    assert len(rules) == 11
    assert [rule for rule in rules if rule not in titles] == []


@pytest.mark.parametrize("timeline", TIMELINES, ids=[f"{i}-{each.title}" for i, each in enumerate(TIMELINES)])
def test_a_timeline_is_what_the_engine_does(timeline: Timeline) -> None:
    assert drawn(played(timeline)) == drawn(timeline.records)
