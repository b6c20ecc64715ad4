"""The shipped Prometheus and Alertmanager files: valid, tested rule by rule, and on metrics that exist."""

import doctest
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.drill.rules import seconds_of
from tests.support import promql
from tests.support.metric_names import series_names
from tests.support.paths import DEPLOY
from tests.support.promql import metrics_of

PROMETHEUS = DEPLOY / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
UNIT_TESTS = PROMETHEUS / "tests" / "alerts_test.yml"


def test_the_reading_of_promql_does_what_its_examples_say() -> None:
    found = doctest.testmod(promql)
    assert found.attempted >= 3
    assert found.failed == 0


def rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
ALWAYS = "StreamDetectorAlive"
"""Never silent: the sign of life."""
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def run(*command: str | Path) -> str:
    """Output of a program that must succeed."""
    name = str(command[0])
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: prometheus, prometheus-alertmanager)")
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.prometheus
def test_promtool_accepts_the_configuration() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.prometheus
def test_every_alert_does_what_its_unit_test_says() -> None:
    run("promtool", "test", "rules", UNIT_TESTS)


@pytest.mark.prometheus
def test_a_plant_that_says_where_its_pages_lie_gets_links(tmp_path: Path) -> None:
    content = yaml.safe_load(UNIT_TESTS.read_text())
    [alive] = [test for test in content["tests"] if any(c["alertname"] == ALWAYS for c in test["alert_rule_test"])]
    pages = "https://wiki.example/detector/"
    alive["alert_rule_test"] = [case for case in alive["alert_rule_test"] if case["alertname"] == ALWAYS]
    for case in alive["alert_rule_test"]:
        for alert in case["exp_alerts"]:
            alert["exp_annotations"]["runbook_url"] = pages + alert["exp_annotations"]["runbook_url"]
    alive["external_labels"] = {"runbooks": pages}
    content["rule_files"] = [str(path) for path in RULE_FILES]
    content["tests"] = [alive]
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(content))
    run("promtool", "test", "rules", file)


@pytest.mark.prometheus
@pytest.mark.parametrize("alert", [alert["alert"] for alert in ALERTS])
def test_every_alert_is_tested_firing_and_silent(alert: str) -> None:
    tests = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"] if case["alertname"] == alert]
    assert any(case["exp_alerts"] for case in cases), "no test in which it fires"
    if alert != ALWAYS:
        assert any(not case["exp_alerts"] for case in cases), "no test in which it stays silent"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_reads_metrics_that_exist(rule: dict[str, Any]) -> None:
    used = metrics_of(rule["expr"])
    assert used or rule.get("alert") == ALWAYS, "the expression reads no metric"
    assert used - series_names() - RECORDED - {"up"} == set()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ({"none"} if rule["alert"] == ALWAYS else {"critical", "warning", "info"})
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    before, _, link = rule["annotations"]["runbook_url"].rpartition("{{ end }}")
    assert before == "{{ with $externalLabels.runbooks }}{{ . }}", "a plant says where its pages lie"
    page, anchor = link.split("#")
    assert anchor == rule["alert"].lower()
    assert re.search(rf"^## {rule['alert']}$", (DEPLOY.parent / page).read_text(), re.MULTILINE), "no such section"


def test_the_runbook_has_no_section_for_an_alert_that_is_gone() -> None:
    sections = re.findall(
        r"^## (StreamDetector\w+)$", (DEPLOY.parent / "docs" / "runbook.md").read_text(), re.MULTILINE
    )
    assert sorted(sections) == sorted(rule["alert"] for rule in ALERTS)


ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"


@pytest.mark.prometheus
def test_amtool_accepts_the_configuration() -> None:
    run("amtool", "check-config", ALERTMANAGER)


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["asset=pm-1", "severity=critical", "bundle=0123456789abcdef"], "operators"),
        (["asset=pm-1", "severity=info", "bundle=0123456789abcdef"], "operators"),
        (["alertname=StreamDetectorDown", "severity=critical"], "platform"),
        (["alertname=StreamDetectorAlive", "severity=none"], "alive"),
        (["alertname=StreamDetectorBundleStale", "severity=info"], "platform"),
    ],
)
def test_alerts_reach_the_right_people(labels: list[str], receiver: str) -> None:
    assert run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels).strip() == receiver


def routes(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [tree, *(inner for child in tree.get("routes", []) for inner in routes(child))]


def test_the_sign_of_life_comes_at_every_look_at_its_group() -> None:
    [alive] = [
        route for route in routes(yaml.safe_load(ALERTMANAGER.read_text())["route"]) if route["receiver"] == "alive"
    ]
    # Equal intervals would let every other look come a moment too early: two minutes between two signs.
    assert seconds_of(alive["repeat_interval"]) < seconds_of(alive["group_interval"]) == 60


def test_quiet_hours_mute_only_what_can_wait() -> None:
    configuration = yaml.safe_load(ALERTMANAGER.read_text())
    muted = [route for route in routes(configuration["route"]) if route.get("mute_time_intervals")]
    # Nobody waits for a challenger's alarms.
    assert [route["matchers"] for route in muted] == [['job="stream-detector-challenger"'], ['severity="info"']]
    # Plant alarms carry a severity too; their route comes before the muted one and does not go on to it.
    operators = next(route for route in configuration["route"]["routes"] if route["receiver"] == "operators")
    assert configuration["route"]["routes"].index(operators) < configuration["route"]["routes"].index(
        next(route for route in configuration["route"]["routes"] if route.get("mute_time_intervals"))
    )
    assert not operators.get("continue")


def test_inhibition_names_alerts_that_exist() -> None:
    configuration = yaml.safe_load(ALERTMANAGER.read_text())
    known = {rule["alert"] for rule in ALERTS}
    for rule in configuration["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            name, operator, pattern = re.fullmatch(r"(\w+)(=~|=)\"?([^\"]*)\"?", matcher).groups()
            if name != "alertname":
                continue
            if operator == "=":
                assert pattern in known
            else:
                stem, endings = re.fullmatch(r"(\w+)\((.*)\)", pattern).groups()
                assert {f"{stem}{ending}" for ending in endings.split("|")} <= known


def test_no_plant_hides_what_happens_in_another() -> None:
    configuration = yaml.safe_load(ALERTMANAGER.read_text())
    assert all("site" in rule["equal"] for rule in configuration["inhibit_rules"])
    assert "site" in configuration["route"]["group_by"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_names_its_site_in_its_summary(rule: dict[str, Any]) -> None:
    assert ("$labels.site" in rule["annotations"]["summary"]) is (rule["alert"] != ALWAYS)
