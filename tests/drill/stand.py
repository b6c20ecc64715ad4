"""What the drill stands on: brokers, five plants, one Prometheus, one Alertmanager, and the receivers behind it."""

import json
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tests.drill.bridge import Bridge
from tests.drill.judge import Result, Told
from tests.drill.proxy import Proxy
from tests.drill.rules import write_rules
from tests.drill.site import Site, Supervisor
from tests.support.paths import DEPLOY
from tests.support.plant import SENSORS, small_bundle
from tests.support.stack.certificates import Authority
from tests.support.stack.http_receiver import HttpReceiver
from tests.support.stack.kafka import Kafka
from tests.support.stack.monitoring import Alertmanager, Prometheus, get_json
from tests.support.stack.mqtt import program as mosquitto
from tests.support.stack.workers import topic, wait_for

SCRAPE_SECONDS = 5.0
"""As shipped."""
START_SECONDS = 300.0
THRESHOLD = 30.0
"""Noise has scores of a few: an alarm comes where a fault raises it."""
REBUILD_SECONDS = 0.034
"""Of records that take 0.0001 s each: a plant of eight machines needs less."""

WITH_LISTS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
JOBS = {
    "stream-detector": "detectors.json",
    "stream-detector-forwarder": "forwarders.json",
    "stream-detector-bridge": "bridges.json",
}


class Stand:
    """Everything runs from `with` to its end.

    Args:
        folder: for all that is kept meanwhile.
        only: plants and alerts (without `StreamDetector`) that are broken; none = all.

    Attributes:
        told: what the platform team's receiver got.
        alive: the moments at which the sign of life came.
        results: what ought to happen; the times are entered as it does.
    """

    def __init__(self, folder: Path, only: Iterable[str] = ()) -> None:
        self.folder = folder
        self._only = frozenset(only)
        self.told: list[Told] = []
        self.alive: list[float] = []
        self.began = time.monotonic()
        self.results: list[Result] = []
        self.proxy = Proxy()
        self.platform, self.operators, self.life = HttpReceiver(), HttpReceiver(), HttpReceiver()
        self.webhook = HttpReceiver()
        self.kafka_of_ulsan = Kafka()
        self.kafka = Kafka(config=WITH_LISTS, listeners={"FAR": "PLAINTEXT"}, advertised={"FAR": self.proxy.port})
        self.bundles = bundles(folder)
        self.alertmanager = Alertmanager(
            DEPLOY / "alertmanager" / "alertmanager.yml",
            {"platform": self.platform.url, "operators": self.operators.url, "alive": self.life.url},
        )
        self.sites = {site.name: site for site in self._sites()}
        yeosu = self.sites["yeosu"]
        self.bridge = Bridge(
            mosquitto() or "mosquitto", yeosu.folder, yeosu.name, f"127.0.0.1:{self.proxy.port}",
            topic(yeosu.name, "bridged"),
        )  # fmt: skip
        yeosu.bridge = self.bridge.service
        self.prometheus = Prometheus(
            write_rules(folder, REBUILD_SECONDS),
            {job: folder / file for job, file in JOBS.items()},
            f"127.0.0.1:{self.alertmanager.port}",
            SCRAPE_SECONDS,
        )
        self._ending = threading.Event()
        self._stack = ExitStack()

    def wants(self, site: str, alerts: str) -> bool:
        """Whether a fault of this plant that ought to raise these alerts (separated by spaces) is to be made."""
        return not self._only or site in self._only or not self._only.isdisjoint(alerts.split())

    def _sites(self) -> list[Site]:
        to_people = {"STREAM_DETECTOR_FORWARD_ALERTMANAGER_URLS": self.alertmanager.url}
        far = {"STREAM_DETECTOR_BOOTSTRAP": f"127.0.0.1:{self.proxy.port}"}
        many = {
            "STREAM_DETECTOR_FORWARD_WEBHOOK_URLS": self.webhook.url,
            "STREAM_DETECTOR_FORWARD_CHATTERING_SECONDS": "60",
        }
        calm = {"STREAM_DETECTOR_FORWARD_CHATTERING_RAISES": "100"}
        forgetful = {
            "STREAM_DETECTOR_MAX_ASSETS": "6",
            "STREAM_DETECTOR_EVICT_AFTER_SECONDS": "300",
            "STREAM_DETECTOR_EVICT_AFTER_RECORDS": "20",
            "STREAM_DETECTOR_DEAD_LETTERS_PER_SECOND": "2",
        }
        fresh, old, judged = (self.bundles[name] for name in ("fresh", "old", "judged"))

        def site(name: str, bundle: Path, **more: object) -> Site:
            kafka = self.kafka_of_ulsan if name == "ulsan" else self.kafka
            return Site(name, kafka.bootstrap, self.folder / name, bundle, **more)

        pohang = self.folder / "pohang"
        renewed = {
            "STREAM_DETECTOR_SSL_CA_FILE": str(pohang / "certificates.pem"),
            "STREAM_DETECTOR_LOG_LEVEL_FILE": str(pohang / "log-level"),
        }
        # Small batches: the slow detector of the drill sleeps in its event loop, which must answer in between.
        slow = {"STREAM_DETECTOR_MAX_POLL_RECORDS": "1"}
        return [
            site(
                "ulsan",
                old if self.wants("ulsan", "BundleStale") else fresh,
                detectors=2,
                forwarder_environment=to_people,
            ),
            site("pohang", fresh, environment=renewed),
            site("gumi", judged, environment=forgetful, forwarder_environment={**to_people, **many}),
            site("jeju", fresh, environment=slow),
            site("yeosu", fresh, forwarder_environment={**to_people, **far, **calm}),
        ]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        stack = self._stack
        for receiver in (self.platform, self.operators, self.life, self.webhook):
            stack.callback(receiver.stop)
        stack.callback(self.proxy.stop)
        stack.enter_context(self.kafka_of_ulsan)
        stack.enter_context(self.kafka)
        self.proxy.target = self.kafka.brokers[0].listeners["FAR"]
        stack.enter_context(self.bridge)
        self.give_certificate(days=400)
        self.set_log_level("INFO")
        stack.enter_context(self.alertmanager)
        for site in self.sites.values():
            site.start()
            stack.callback(site.stop)
        stack.enter_context(Supervisor(list(self.sites.values())))
        for site in self.sites.values():
            try:
                wait_for(lambda s=site: s.ready, START_SECONDS, f"{site.name} is ready", each=0.5)  # type: ignore[misc]
            except AssertionError as error:
                raise RuntimeError(f"{error}; it says: {site.why_not_ready}") from None
            site.feed.start()
        self.show_targets()
        stack.enter_context(self.prometheus)
        stack.callback(self._ending.set)
        threading.Thread(target=self._look, daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def show_targets(self, without: str | None = None) -> None:
        """Tell Prometheus of all processes, or of all but those detectors of one plant."""
        sites = self.sites.values()
        services = {
            "stream-detector": [worker for site in sites if site.name != without for worker in site.workers],
            "stream-detector-forwarder": [site.forwarder for site in sites if site.forwarder is not None],
            "stream-detector-bridge": [site.bridge for site in sites if site.bridge is not None],
        }
        for job, file in JOBS.items():
            content = [{"targets": [f"127.0.0.1:{service.port}" for service in services[job]]}]
            partial = self.folder / f"{file}.new"
            partial.write_text(json.dumps(content))
            partial.rename(self.folder / file)

    def give_certificate(self, days: float) -> None:
        """The detectors of Pohang trust one that expires after so many days."""
        made = Authority(self.folder / "authority", days=days).file.read_bytes()
        self.sites["pohang"].certificate.write_bytes(made)

    def set_log_level(self, level: str) -> None:
        """The detectors of Pohang are told to log from this level on."""
        self.sites["pohang"].log_level.write_text(level)

    def _look(self) -> None:
        """Each second: what fires, and what was told."""
        taken = {"platform": 0, "life": 0}
        while not self._ending.wait(1.0):
            try:
                found = get_json(f"{self.prometheus.url}/api/v1/alerts")["data"]["alerts"]
            except (OSError, ValueError, KeyError):
                continue
            firing = {
                (alert["labels"]["alertname"], alert["labels"].get("site", ""))
                for alert in found
                if alert["state"] == "firing"
            }
            now = time.monotonic()
            bodies = self.platform.bodies
            for body in bodies[taken["platform"] :]:
                for alert in body["alerts"]:
                    if alert["status"] == "firing":
                        labels = alert["labels"]
                        self.told.append(Told(now, labels["alertname"], labels.get("site", "")))
            taken["platform"] = len(bodies)
            lives = len(self.life.accepted)
            self.alive += [now] * (lives - taken["life"])
            taken["life"] = lives
            for result in list(self.results):
                said = result.look(now, firing, self.told)
                if said:
                    print(f"  {now - self.began:5.0f} s  {result.site}: {result.alert} {said}", flush=True)


def bundles(folder: Path) -> dict[str, Path]:
    """`fresh`; `old`, whose data ended two months ago; `judged`, which knows its scores on data held out."""
    from stream_detector.bundle.bundle import load_bundle
    from stream_detector.bundle.manifest import TrainingRecord
    from stream_detector.detection.drift import ScoreReference

    def training(days_ago: float) -> TrainingRecord:
        ended = time.time() - days_ago * 86_400
        return TrainingRecord(
            data_name="d.csv", data_sha256="0" * 64, rows=9, windows=6, epochs=0, seed=1, from_time=ended - 86_400,
            until_time=ended,
        )  # fmt: skip

    made = {
        name: small_bundle(folder / "bundles" / name, THRESHOLD, training=training(days))
        for name, days in (("fresh", 1.0), ("old", 60.0))
    }
    windows = np.random.default_rng(3).normal(size=(5_000, 4, len(SENSORS)))
    reference = ScoreReference.of(load_bundle(made["fresh"]).scorer.score(windows).score)
    assert reference is not None
    made["judged"] = small_bundle(
        folder / "bundles" / "judged", THRESHOLD, training=training(1.0), metrics={"scores": reference.to_json()}
    )
    return made
