"""The shipped Alertmanager configuration in a real Alertmanager: who is told, who is spared, and how soon."""

import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.stack.kafka import free_port
from tests.support.stack.monitoring import Alertmanager, status_of, why_no_monitoring
from tests.support.stack.product import Child
from tests.support.stack.workers import wait_for

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(why_no_monitoring() is not None, reason=str(why_no_monitoring())),
]

CONFIGURATION = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
PLANT = {"alertname": "PlantEventExpected", "bundle": "0123456789abcdef", "recipe": "r"}


class Desk:
    """An Alertmanager with the shipped receiver behind it."""

    def __init__(self, configuration: Path, *, quiet_hours: bool = False) -> None:
        port = free_port()
        self.receiver = Child("receiver", [str(ROOT / "deploy" / "receiver" / "receiver.py"), str(port)])
        address = f"http://127.0.0.1:{port}"
        receivers = {name: f"{address}/{name}" for name in ("operators", "platform", "alive")}
        self.alertmanager = Alertmanager(configuration, receivers, quiet_hours=quiet_hours)
        self._address = address

    def __enter__(self) -> Self:
        self.receiver.start()
        # It takes POSTs only, so a GET is refused as soon as it listens.
        wait_for(lambda: status_of(self._address) != 0, 10, "the receiver listens")
        self.alertmanager.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.alertmanager.stop()
        self.receiver.stop()

    def post(self, summary: str, ended: bool = False, **labels: str) -> None:
        """An alert with this text; `ended`: it is over."""
        now = datetime.now(UTC)
        alert: dict[str, Any] = {
            "labels": labels,
            "annotations": {"summary": summary},
            "startsAt": (now - timedelta(seconds=60)).isoformat(),
        }
        if ended:
            alert["endsAt"] = (now - timedelta(seconds=1)).isoformat()
        request = urllib.request.Request(
            f"{self.alertmanager.url}/api/v2/alerts",
            data=json.dumps([alert]).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=5).close()

    def told(self, what: str) -> list[str]:
        """Lines at the receiver with these words."""
        return [line for _, line in self.receiver.lines if what in line]

    def silenced_by(self, alertname: str) -> list[str]:
        """What inhibits the alerts of this name."""
        found = [alert for alert in self.alertmanager.alerts() if alert["labels"]["alertname"] == alertname]
        return [other for alert in found for other in alert["status"]["inhibitedBy"]]


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Desk(CONFIGURATION) as running:
        yield running


def test_a_plant_alarm_reaches_the_operators_at_once_and_its_end_too(desk: Desk) -> None:
    labels = {**PLANT, "asset": "pm-1", "severity": "critical"}
    desk.post("a break is expected", **labels)
    assert wait_for(lambda: bool(desk.told("operators firing: a break is expected")), 20, "it was told", 0.01) < 1.5
    desk.post("a break is expected", ended=True, **labels)
    wait_for(lambda: bool(desk.told("operators resolved: a break is expected")), 20, "its end was told")
    assert desk.told("platform") == []


def test_the_next_alarm_of_the_same_asset_is_told_at_once_too(desk: Desk) -> None:
    labels = {**PLANT, "asset": "pm-1", "severity": "critical"}
    for number in range(3):
        desk.post(f"alarm {number}", **labels)
        took = wait_for(lambda: bool(desk.told(f"operators firing: alarm {number}")), 20, "it was told", 0.01)  # noqa: B023
        assert took < 2.0
        desk.post(f"alarm {number}", ended=True, **labels)
        wait_for(lambda: bool(desk.told(f"operators resolved: alarm {number}")), 20, "its end was told")  # noqa: B023


def test_a_critical_alarm_of_an_asset_spares_the_operators_a_lesser_one_of_it_but_not_of_others(desk: Desk) -> None:
    desk.post("critical on 1", **PLANT, asset="pm-1", severity="critical")
    wait_for(lambda: bool(desk.told("critical on 1")), 20, "the critical one was told")
    desk.post("lesser on 1", **{**PLANT, "bundle": "fedcba9876543210"}, asset="pm-1", severity="warning")
    desk.post("lesser on 2", **PLANT, asset="pm-2", severity="warning")
    wait_for(lambda: bool(desk.told("lesser on 2")), 20, "that of the other asset was told")
    time.sleep(1.5)
    assert desk.told("lesser on 1") == []


def test_one_cause_is_one_message(desk: Desk) -> None:
    job = {"job": "stream-detector"}
    desk.post("nothing arrives", alertname="StreamDetectorNoReadings", severity="critical", **job)
    wait_for(lambda: bool(desk.told("platform firing: nothing arrives")), 20, "the cause was told")
    desk.post("silent", alertname="StreamDetectorSensorsSilent", severity="info", asset="pm-1", **job)
    desk.post("slow", alertname="StreamDetectorAlarmsSlow", severity="warning", **job)
    wait_for(lambda: bool(desk.silenced_by("StreamDetectorSensorsSilent")), 20, "what follows from it is inhibited")
    assert desk.silenced_by("StreamDetectorAlarmsSlow") == []


def test_two_plants_share_an_alertmanager_and_neither_hides_the_other(desk: Desk) -> None:
    job = {"job": "stream-detector"}
    desk.post("ulsan: critical on 1", **PLANT, site="ulsan", asset="pm-1", severity="critical")
    desk.post("ulsan: no detector", alertname="StreamDetectorMissing", site="ulsan", severity="critical", **job)
    desk.post("ulsan: brokers", alertname="StreamDetectorBrokerAway", site="ulsan", severity="critical", **job)
    for text in ("ulsan: critical on 1", "ulsan: no detector"):
        wait_for(lambda: bool(desk.told(text)), 20, f"{text} was told")  # noqa: B023
    for site in ("ulsan", "pohang"):
        desk.post(f"{site}: lesser on 1", **PLANT, site=site, asset="pm-1", severity="warning")
        down = {"alertname": "StreamDetectorDown", "instance": "a:9464", "severity": "critical"}
        desk.post(f"{site}: down", **down, site=site, **job)
        desk.post(f"{site}: not ready", **{**down, "alertname": "StreamDetectorNotReady"}, site=site, **job)
    for text in ("pohang: lesser on 1", "pohang: down"):
        wait_for(lambda: bool(desk.told(text)), 20, f"{text} was told")  # noqa: B023
    time.sleep(1.5)
    for text in ("ulsan: lesser on 1", "ulsan: down", "ulsan: not ready", "pohang: not ready"):
        assert desk.told(text) == [], "it follows from what its own plant was told"


def test_the_sign_of_life_leaves_by_a_door_of_its_own(desk: Desk) -> None:
    desk.post("alive", alertname="StreamDetectorAlive", severity="none")
    wait_for(lambda: bool(desk.told("alive firing: alive")), 20, "the sign of life was told")
    assert desk.told("platform") == []


def test_brokers_that_are_away_are_one_message(desk: Desk) -> None:
    job = {"job": "stream-detector"}
    desk.post("brokers", alertname="StreamDetectorBrokerAway", severity="critical", **job)
    wait_for(lambda: bool(desk.told("platform firing: brokers")), 20, "the cause was told")
    for name in ("NotReady", "NoReadings", "CommitStuck", "Behind", "AlarmsSlow", "AssetDegraded", "BridgeBlocked"):
        for instance in ("a:9464", "b:9464", "c:9464"):
            desk.post(name, alertname=f"StreamDetector{name}", severity="critical", instance=instance, **job)
    time.sleep(2.0)
    assert desk.told("NotReady") == desk.told("NoReadings") == desk.told("CommitStuck") == []
    assert len(desk.told("platform firing")) == 1


def test_a_challenger_without_brokers_hides_nothing_of_the_detector(desk: Desk) -> None:
    away = {"alertname": "StreamDetectorBrokerAway", "severity": "critical"}
    desk.post("only it", **away, job="stream-detector-challenger")
    wait_for(lambda: bool(desk.told("platform firing: only it")), 20, "the challenger's was told")
    desk.post("no readings", alertname="StreamDetectorNoReadings", severity="critical", job="stream-detector")
    wait_for(lambda: bool(desk.told("platform firing: no readings")), 20, "the detector's was told")


@pytest.mark.parametrize("cause", ["AssetsRefused", "DeadLettersDropped"])
def test_what_cannot_be_kept_is_told_without_the_dead_letters_that_follow_from_it(desk: Desk, cause: str) -> None:
    job = {"job": "stream-detector"}
    desk.post("the cause", alertname=f"StreamDetector{cause}", severity="critical", site="ulsan", **job)
    wait_for(lambda: bool(desk.told("platform firing: the cause")), 20, "the cause was told")
    for site in ("ulsan", "pohang"):
        desk.post(f"letters {site}", alertname="StreamDetectorDeadLetters", severity="critical", site=site, **job)
    wait_for(lambda: bool(desk.told("letters pohang")), 20, "another plant's are told")
    time.sleep(1.0)
    assert desk.told("letters ulsan") == []


@pytest.mark.parametrize("quiet", [True, False])
def test_in_quiet_hours_only_what_can_wait_waits(tmp_path: Path, quiet: bool) -> None:
    content = yaml.safe_load(CONFIGURATION.read_text())
    # The shipped hours with the clock turned to inside or outside them.
    now = datetime.now(UTC)
    other_month = f"{now.month % 12 + 1}"
    content["time_intervals"][0]["time_intervals"] = [{"months": [str(now.month) if quiet else other_month]}]
    for route in [content["route"], *content["route"]["routes"]]:
        route.setdefault("group_wait", "0s")
    content["route"]["group_wait"] = "0s"
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(content))
    with Desk(file, quiet_hours=True) as desk:
        desk.post("stale", alertname="StreamDetectorBundleStale", severity="info", job="stream-detector")
        desk.post("down", alertname="StreamDetectorForwarderDown", severity="critical", job="stream-detector")
        desk.post(
            "trial", alertname="StreamDetectorDown", severity="critical", instance="c", job="stream-detector-challenger"
        )
        desk.post("break", **PLANT, asset="pm-1", severity="info")
        wait_for(lambda: bool(desk.told("operators firing: break")), 20, "a plant alarm is never muted")
        wait_for(lambda: bool(desk.told("platform firing: down")), 20, "a critical alert is never muted")
        time.sleep(1.0)
        assert bool(desk.told("platform firing: stale")) is not quiet
        assert bool(desk.told("platform firing: trial")) is not quiet, "nobody waits for a challenger's alarms"
