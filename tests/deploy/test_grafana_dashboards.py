"""The dashboards: generated from their source, on metrics that exist, with queries that Prometheus can parse."""

import doctest
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import build
from deploy.grafana.build import FOLDER, SERIES, boards, text_of
from tests.support.metric_names import series_names
from tests.support.paths import DEPLOY
from tests.support.promql import metrics_of
from tests.support.stack.monitoring import Prometheus, why_no_monitoring

NAMES = sorted(boards())


def load(name: str) -> dict[str, Any]:
    board: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return board


def expressions(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, expression) of every panel and annotation, with Grafana's variables filled in as for "All"."""
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
    found += [(annotation["name"], annotation["expr"]) for annotation in board["annotations"]["list"]]
    for where, expression in found:
        yield where, expression.replace("$asset", ".*").replace("$site", ".*").replace("$__rate_interval", "20s")


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_dashboard_is_what_its_source_writes(name: str) -> None:
    assert (FOLDER / name).read_text() == text_of(boards()[name]), "run `make dashboards`"


def test_no_dashboard_lies_around_without_a_source() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_what_grafanas_own_model_reads(name: str) -> None:
    board = load(name)
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    for annotation in board["annotations"]["list"]:
        annotation.pop("titleFormat")
    assert again == board


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_a_title_a_meaning_and_a_place_of_its_own(name: str) -> None:
    board = load(name)
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["title"] and panel["description"] for panel in panels)
    identifiers = [panel["id"] for panel in board["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    taken = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken), "two panels overlap"
    assert max(x for x, _ in taken) < 24
    for panel in panels:
        references = [target["refId"] for target in panel["targets"]]
        assert all(references)
        assert len(set(references)) == len(references)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_in_a_dashboard_exists(name: str) -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "recording.yml").read_text())
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"]}
    for where, expression in expressions(load(name)):
        used = metrics_of(expression)
        assert used, f"{where}: no metric in {expression}"
        assert used - series_names() - recorded == set(), where


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_marks_alarms_and_events(name: str) -> None:
    assert [annotation["name"] for annotation in load(name)["annotations"]["list"]] == ["Alarms", "Events"]


def test_the_narrowing_to_a_site_does_what_its_example_says() -> None:
    found = doctest.testmod(build)
    assert (found.attempted > 0, found.failed) == (True, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_about_the_chosen_sites_and_leaves_a_challenger_out(name: str) -> None:
    board = load(name)
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    queries += [annotation["expr"] for annotation in board["annotations"]["list"]]
    for query in queries:
        assert query.count('site=~"$site"') == len(SERIES.findall(query)) > 0
        assert query.count('job!="stream-detector-challenger"') == len(SERIES.findall(query))


@pytest.mark.prometheus
def test_prometheus_parses_every_query() -> None:
    if why_no_monitoring():
        pytest.skip(str(why_no_monitoring()))
    with Prometheus(DEPLOY / "prometheus" / "prometheus.yml") as prometheus:
        for name in NAMES:
            for where, expression in expressions(load(name)):
                try:
                    prometheus.query(expression)
                except ValueError as error:
                    pytest.fail(f"{name}, {where}: {error}")
        with pytest.raises(ValueError, match="parse error"):
            prometheus.query("sum(")


def panels(name: str) -> list[dict[str, Any]]:
    return [panel for panel in load(name)["panels"] if panel["type"] != "row"]


def sources(part: Any) -> Iterator[str]:
    """The uid of every data source that a part of a dashboard names."""
    if isinstance(part, dict):
        if "datasource" in part:
            yield part["datasource"]["uid"]
        part = list(part.values())
    for each in part if isinstance(part, list) else []:
        yield from sources(each)


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_reads_the_source_that_is_chosen_in_it(name: str) -> None:
    board = load(name)
    first, *others = board["templating"]["list"]
    assert (first["type"], first["name"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert set(sources([board["panels"], others, board["annotations"]])) == {"${datasource}"}


def test_provisioning_brings_up_a_source_to_choose() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    provided = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert [source["type"] for source in provided] == ["prometheus"]


@pytest.mark.parametrize("name", ["operators.json", "model.json"])
def test_a_panel_is_about_the_chosen_assets_or_says_that_it_is_of_all(name: str) -> None:
    for panel in panels(name):
        kept = {'asset=~"$asset"' in target["expr"] for target in panel["targets"]}
        of_all = panel["description"].endswith("Of all assets.")
        assert kept == {not of_all}, panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_panel_says_that_there_is_no_data_and_never_draws_a_nought_for_it(name: str) -> None:
    for panel in panels(name):
        from_forwarder = any("forwarder" in target["expr"] or "ledger" in target["expr"] for target in panel["targets"])
        wanted = "no data: no forwarder tells it" if from_forwarder else "no data"
        assert panel["fieldConfig"]["defaults"]["noValue"] == wanted, panel["title"]
        assert all("vector(" not in target["expr"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_whoever_sees_an_asset_is_one_click_from_its_console(name: str) -> None:
    board = load(name)
    assert "console" in [variable["name"] for variable in board["templating"]["list"]]
    assert "$console" in [link["url"] for link in board["links"]]
    for panel in panels(name):
        if any("{{asset}}" in target["legendFormat"] for target in panel["targets"]):
            [link] = panel["fieldConfig"]["defaults"]["links"]
            assert link["url"] == "${console}/#/${__field.labels.asset:percentencode}", panel["title"]
        if panel["type"] == "table":
            [column] = panel["fieldConfig"]["overrides"]
            assert column["matcher"]["options"] == "Asset"
            assert column["properties"][0]["value"][0]["url"].startswith("${console}/#/")


@pytest.mark.parametrize("name", NAMES)
def test_buckets_are_drawn_as_a_histogram_and_not_as_sums_that_only_grow(name: str) -> None:
    for panel in panels(name):
        for target in panel["targets"]:
            if "_bucket" in target["expr"] and "histogram_quantile" not in target["expr"]:
                assert (target["format"], target["legendFormat"]) == ("heatmap", "{{le}}"), panel["title"]


def test_green_is_not_the_colour_of_what_is_normal() -> None:
    assert not any('"green"' in (FOLDER / name).read_text() for name in NAMES)
