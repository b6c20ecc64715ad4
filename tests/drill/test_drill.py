"""The drill's own parts: rules that wait less, and the judgement of what was told. The drill itself is `make drill`."""

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from tests.drill import faults, rules
from tests.drill.judge import NONE, Judgement, Result, Told


def test_durations_do_what_their_examples_say() -> None:
    found = doctest.testmod(rules)
    assert found.attempted >= 2
    assert found.failed == 0


@pytest.mark.parametrize("rule", rules.shipped(), ids=lambda rule: rule["alert"])
def test_a_rule_of_the_drill_waits_less_and_is_the_same_otherwise(rule: dict[str, Any]) -> None:
    drilled = rules.shorten(rule, 0.5)
    assert {key for key in rule if drilled[key] != rule[key]} <= {"expr", "for", "keep_firing_for"}
    for key in ("for", "keep_firing_for"):
        if key in rule:
            assert rules.seconds_of(drilled[key]) <= rules.seconds_of(rule[key])
    if "expr" in rule and rule["alert"] != "StreamDetectorRestartSlow":
        assert rules.RANGE.sub("", drilled["expr"]) == rules.RANGE.sub("", rule["expr"])


def test_every_alert_that_a_drill_can_raise_has_a_fault_that_ought_to_raise_it() -> None:
    texts = re.findall(r'"([^"\n]+)"', Path(faults.__file__).read_text(encoding="utf-8"))
    broken = {f"StreamDetector{word}" for text in texts for word in text.split()}
    assert [alert for alert in rules.alerts() if alert not in broken | rules.NOT_DRILLED] == []
    assert set(rules.alerts()) >= rules.NOT_DRILLED


def test_the_threshold_that_a_drill_cannot_reach_is_there_to_be_replaced() -> None:
    [rule] = [rule for rule in rules.shipped() if rule["alert"] == "StreamDetectorRestartSlow"]
    assert rules.shorten(rule, 0.5)["expr"].endswith("estimate > 0.5")


def seen_through(alert: str = "A", site: str = "ulsan") -> Result:
    return Result(alert, site, "it is broken", broken=10, fired=70, told=75, mended=80, resolved=90)


def test_a_drill_is_good_when_all_was_told_and_nothing_else() -> None:
    judgement = Judgement([seen_through()], [Told(75, "A", "ulsan")], ["A"])
    assert judgement.good
    assert "| A | ulsan: it is broken | 60 s | 65 s | 10 s | none | 60s / 5m |" in judgement.table({"A": "60s / 5m"})


@pytest.mark.parametrize(
    "told", [Told(50, "B", "ulsan"), Told(50, "A", "pohang"), Told(5, "A", "ulsan"), Told(99, "A", "ulsan")]
)
def test_what_no_fault_of_that_site_and_time_ought_to_raise_is_false(told: Told) -> None:
    judgement = Judgement([seen_through()], [Told(75, "A", "ulsan"), told], ["A"])
    assert judgement.false_ones() == [told]
    assert not judgement.good


def test_a_false_alert_stands_beside_the_fault_that_raised_it() -> None:
    others = [Told(50, "B", "ulsan"), Told(50, "C", "pohang")]
    judgement = Judgement([seen_through(), seen_through("D", "pohang")], others, [])
    assert [judgement.beside(result) for result in judgement.results] == [["B"], ["C"]]


def test_an_alert_that_is_never_told_or_never_tried_is_no_good_drill() -> None:
    silent = Result("A", "ulsan", "it is broken", broken=10)
    assert "**never**" in Judgement([silent]).table({})
    assert not Judgement([silent]).good
    assert Judgement([seen_through()], [], ["A", "B"]).missing() == ["B"]


def test_what_ought_to_raise_nothing_is_good_as_long_as_nothing_comes() -> None:
    restart = Result(NONE, "ulsan", "a rolling restart", broken=10, mended=60)
    assert Judgement([restart]).good
    assert Judgement([restart], [Told(50, "B", "ulsan")]).beside(restart) == ["B"]


def test_times_are_entered_as_they_come() -> None:
    result = Result("A", "ulsan", "it is broken", broken=10)
    assert result.look(20, {("A", "pohang")}, []) == ""
    assert result.look(30, {("A", "ulsan")}, [Told(5, "A", "ulsan")]) == "fires"
    result.look(40, {("A", "ulsan")}, [Told(35, "A", "ulsan")])
    result.mended = 50
    assert result.look(60, set(), []) == "is over"
    assert (result.fired, result.told, result.resolved) == (30, 35, 60)
