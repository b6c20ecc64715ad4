"""Rules and dashboards on a real Prometheus that scrapes the running product; the console on the running detector."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.console.browser import chromium, why_no_browser
from tests.support.metric_names import exposed_metrics
from tests.support.paths import ROOT
from tests.support.plant import BASE, SENSORS, STEP_SECONDS, Record, make_log, small_bundle
from tests.support.promql import metrics_of, without_thresholds
from tests.support.stack.kafka import why_no_kafka
from tests.support.stack.monitoring import get_json, why_no_monitoring
from tests.support.stack.product import Product
from tests.support.stack.workers import caught_up, produce, wait_for

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.prometheus,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(why_no_kafka() is not None, reason=str(why_no_kafka())),
    pytest.mark.skipif(why_no_monitoring() is not None, reason=str(why_no_monitoring())),
]

WITHOUT_DATA_HERE = {
    # The small bundle has no probability head, knows no scores of held-out data, and not when it was trained.
    "stream_detector_probability",
    "stream_detector_drift_level",
    "stream_detector_bundle_trained_timestamp_seconds",
    "job:stream_detector_bundle_age_seconds:max",
    # Nothing here is encrypted.
    "stream_detector_certificate_expiry_timestamp_seconds",
    # No machine of this plant is shelved or out of service (deploy/prometheus/tests has such ones).
    "asset:stream_detector_set_aside:max",
    # No secret and no level of the log lies in a file.
    "stream_detector_reload_successful",
    "stream_detector_reload_timestamp_seconds",
    # Nothing renews the bundle of this plant (tests/trainer/renewal).
    *(name for name in exposed_metrics() if name.startswith("stream_detector_renewal_")),
    # No bridge from MQTT is part of this plant (tests/streaming/sources/test_mqtt_bridge.py).
    *(name for name in exposed_metrics() if name.startswith("stream_detector_bridge_")),
}

ONLY_AFTER_A_FAILURE = {
    "stream_detector_forwarder_notification_failures_total",
    "stream_detector_forwarder_notifications_refused_total",
    "stream_detector_forwarder_records_skipped_total",
    "stream_detector_console_records_skipped_total",
}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with a plant that has been through everything: alarms, events, dead letters, late readings."""
    folder = tmp_path_factory.mktemp("product")
    environment = {"STREAM_DETECTOR_PUBLISH_SCORES": "true"}
    with Product(folder, small_bundle(folder / "bundle"), environment) as running:
        log = make_log(seed=5, steps=240)
        for part in range(6):
            # Bit by bit, so that counters grow while Prometheus looks.
            produce(
                running.kafka.bootstrap,
                running.topic("readings"),
                log[part * len(log) // 6 : (part + 1) * len(log) // 6],
            )
            time.sleep(1.2)
        logged = [
            Record(0, b"machine-0", json.dumps({"time": BASE + step * STEP_SECONDS, "event": "break"}).encode())
            for step in (50, 120, 200)
        ]
        produce(running.kafka.bootstrap, running.topic("events"), logged)
        wait_for(lambda: caught_up(running.kafka.bootstrap, running.worker.prefix), 150, "everything is worked off")
        assert running.prometheus is not None
        prometheus = running.prometheus
        wait_for(lambda: bool(prometheus.query("stream_detector_ledger_saved")), 150, "the ledger shows something")
        time.sleep(3.0)
        yield running


def query(product: Product, expression: str) -> list[dict[str, Any]]:
    assert product.prometheus is not None
    return product.prometheus.query(expression)


def all_rules() -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_has_data_to_judge(product: Product, rule: dict[str, Any]) -> None:
    read = metrics_of(rule["expr"])
    assert read or rule["expr"] == "vector(1)"
    for name in sorted(read - WITHOUT_DATA_HERE - ONLY_AFTER_A_FAILURE):
        assert query(product, name), f"no data for {name}"


def test_prometheus_itself_evaluates_every_rule_without_an_error(product: Product) -> None:
    assert product.prometheus is not None
    groups = get_json(f"{product.prometheus.url}/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(all_rules())
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def panels() -> Iterator[tuple[str, str, list[str]]]:
    from deploy.grafana.build import FOLDER
    from tests.deploy.test_grafana_dashboards import NAMES

    for name in NAMES:
        board = json.loads((FOLDER / name).read_text())
        for panel in board["panels"]:
            if panel.get("targets"):
                yield name, panel["title"], [target["expr"] for target in panel["targets"]]
        for annotation in board["annotations"]["list"]:
            yield name, f"annotation {annotation['name']}", [annotation["expr"]]


@pytest.mark.parametrize(("board", "title", "expressions"), list(panels()), ids=lambda value: str(value)[:40])
def test_every_panel_shows_something(product: Product, board: str, title: str, expressions: list[str]) -> None:
    for expression in expressions:
        filled_in = expression.replace("$asset", ".*").replace("$site", ".*").replace("$__rate_interval", "20s")
        if any(name in filled_in for name in WITHOUT_DATA_HERE):
            continue
        # An annotation marks moments: what is compared must be there, not that it happens right now.
        found = query(product, without_thresholds(filled_in) if title.startswith("annotation") else filled_in)
        assert found, f"{board}, {title}: no data for {filled_in}"


def test_the_running_product_exposes_what_the_docs_list(product: Product) -> None:
    assert product.prometheus is not None
    names = get_json(f"{product.prometheus.url}/api/v1/label/__name__/values")["data"]
    ours = {name for name in names if name.startswith("stream_detector_")}
    listed = exposed_metrics()
    endings = ("_bucket", "_sum", "_count", "_created")

    def base(name: str) -> str:
        for ending in endings:
            if name.endswith(ending) and name not in listed:
                stem = name.removesuffix(ending)
                return stem if stem in listed else f"{stem}_total"
        return name

    assert {base(name) for name in ours} - set(listed) == set(), "exposed but not listed"
    never_seen = {name for name in listed if name.startswith("stream_detector_")} - {base(name) for name in ours}
    # What counts failures has no series until something fails.
    assert never_seen <= WITHOUT_DATA_HERE | ONLY_AFTER_A_FAILURE


def test_the_accounting_of_readings_closes(product: Product) -> None:
    parts = "late|duplicate|windowed|dead_lettered|ignored"
    received = query(product, "sum by (partition) (stream_detector_readings_received_total)")
    for one in received:
        partition = one["metric"]["partition"]
        settled = f'sum({{__name__=~"stream_detector_readings_({parts})_total", partition="{partition}"}})'
        assert query(product, settled)[0]["value"][1] == one["value"][1]


def test_alarms_have_reached_the_receiver_as_text(product: Product) -> None:
    lines = [line for _, line in product.receiver.lines if "operators firing" in line]
    assert lines
    assert all("machine-" in line for line in lines)


def test_the_console_of_the_running_detector_shows_its_plant(product: Product) -> None:
    if why_no_browser():
        pytest.skip(str(why_no_browser()))
    with chromium() as browser:
        page = browser.new_page()
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{product.worker.port}/")
        page.locator(".asset").first.wait_for(timeout=15_000)
        names = page.locator(".asset .name").all_inner_texts()
        assert sorted(names) == [f"machine-{number}" for number in range(6)]
        page.locator("#score-chart svg").wait_for()
        page.locator(".trace b").first.wait_for()
        assert set(page.locator(".trace b").all_inner_texts()) <= set(SENSORS)
        assert page.locator(".alarm-card").count() > 3
        assert page.locator("#ledger-table tbody tr").count() >= 1
        # The plant's clock stands in 2023, and the page says so.
        assert "data of" in page.locator(".asset .age").first.inner_text()
        page.locator("#asset-actions [data-action=shelve]").click()
        page.locator("#dialog [name=reason]").fill("a test")
        page.locator("#dialog [name=who]").fill("Kim")
        page.locator("#dialog-ok").click()
        page.locator(".asset .state", has_text="shelved").wait_for(timeout=15_000)
        assert errors == []


def test_history_is_there_again_after_a_restart_of_the_detector(product: Product) -> None:
    asset = "machine-0"

    def points() -> int:
        status, body = product.worker.get(f"/console/api/assets/{asset}?hours=24")
        return len(json.loads(body)["time"]) if status == 200 else 0

    before = points()
    assert before > 20
    assert product.worker.stop() == 0
    product.worker.start()
    wait_for(lambda: product.worker.get("/readyz")[0] == 200, 60, "the detector is ready again")
    wait_for(lambda: points() >= before, 40, f"{before} points of history are there again")
