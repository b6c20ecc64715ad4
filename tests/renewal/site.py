"""What stands beside the plant: a real broker, a registry, champion, challenger, and renewal as cron would start it."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from stream_detector.bundle.registry import Registry
from stream_detector.messages import RenewalDecision
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import LedgerReport, Tally, report
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.ledger_feed import LedgerFeed, read_ledger
from stream_detector.streaming.feeds.worked_off import behind
from tests.renewal.plant import Plant, send
from tests.support.paths import ROOT
from tests.support.stack.kafka import Kafka, create_topic
from tests.support.stack.workers import WorkerProcess, topic, topic_environment, wait_for
from trainer.commands import renew

PREFIX = "renewal"
START_SECONDS, WORK_SECONDS = 240.0, 240.0
PAUSE = re.compile(r"decisions paused for ([\d.]+) s")
IN_USE = re.compile(r'^stream_detector_bundle_info\{bundle="(\w+)"', re.MULTILINE)
RULES: dict[str, Any] = {
    # So long that nothing is fitted on schedule: what is fitted, drift has called for.
    "every": "52w",
    "window": "3w",
    "judge": "2w",
    "policy": "managed",
    "trial_days": 8,
    "trial_events": 10,
    "switch": "log",
}


@dataclass
class Site:
    """Made by `kafka_site`."""

    kafka: Kafka
    folder: Path
    recipe: Path
    workers: dict[str, WorkerProcess] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        return Registry.create(self.folder / "bundles")

    @property
    def settings(self) -> Settings:
        return Settings.load()

    def work_off(self) -> None:
        """All workers have worked off what is in the topics.

        Raises:
            RuntimeError: they have not.
        """
        groups = [PREFIX if role == "champion" else f"{PREFIX}-{role}" for role in self.workers]
        left = asyncio.run(behind(self.settings, groups, WORK_SECONDS))
        if left:
            raise RuntimeError(f"not worked off within {WORK_SECONDS:g} s: {left}")

    def look(self, recipe: Path | None = None, **rules: Any) -> RenewalDecision | None:
        """`trainer renew --once` in this process: without starting Python anew, it is the whole command."""
        out = self.folder / "decision.json"
        try:
            renew.command(
                registry=self.registry.folder,
                recipe=str(recipe or self.recipe),
                once=True,
                json=out,
                **RULES | rules,
            )
        except SystemExit as end:
            if end.code != 1:  # the end of this program; that a round has failed is in the decision
                raise
        found = json.loads(out.read_bytes())
        return None if found is None else RenewalDecision.model_validate(found)

    def start(self, role: str) -> WorkerProcess:
        """A worker of `bundles/ROLE`, ready."""
        worker = WorkerProcess(
            self.kafka.bootstrap,
            PREFIX,
            self.registry.folder / role,
            self.folder / f"{role}.log",
            role,
            {"STREAM_DETECTOR_ROLE": role},
        )
        self.workers[role] = worker.start()
        wait_for(lambda: worker.get("/readyz")[0] == 200, START_SECONDS, f"the {role} is ready")
        return worker

    def decides(self, role: str, bundle: str) -> float:
        """Wait until the worker decides by this bundle; returns the seconds it took."""

        def does() -> bool:
            found = IN_USE.search(self.workers[role].get("/metrics")[1])
            return found is not None and found[1] == bundle

        return wait_for(does, START_SECONDS, f"the {role} decides by {bundle}")

    def pauses(self, role: str) -> list[float]:
        """Seconds for which each switch in the log held decisions up."""
        return [float(found) for found in PAUSE.findall(self.workers[role].log_text())]

    def booked(self, since: float, until: float) -> LedgerReport:
        """What the champion's alarms were worth between two event times (epoch seconds), as the ledger has it."""
        feed = LedgerFeed(Ledger(), self.settings)
        asyncio.run(read_ledger(feed))
        return report(feed.ledger, since, until)

    def command(self, *words: object) -> str:
        """`stream-detector ...`; returns what it printed. RuntimeError where it ends otherwise than with 0."""
        call = [sys.executable, "-m", "stream_detector", *map(str, words)]
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"stream-detector {' '.join(map(str, words))} ended with {done.returncode}:\n"
                               f"{done.stdout[-2000:]}{done.stderr[-2000:]}")  # fmt: skip
        return done.stdout


@dataclass
class PlantSite(Site):
    """Made by `open_site`. `sent`: so many days of the plant are in the topics."""

    plant: Plant = field(kw_only=True)
    sent: float = 0.0

    def live(self, until_day: float) -> None:
        """The plant goes on until this day, and all workers have worked off what it said."""
        readings, events = topic(PREFIX, "readings"), topic(PREFIX, "events")
        send(self.kafka.bootstrap, readings, events, self.plant, self.sent, until_day)
        self.sent = until_day
        self.work_off()

    def saved(self, first: float, last: float) -> Tally:
        """What the champion's alarms were worth from one day to another."""
        return self.booked(self.plant.at(first), self.plant.at(last)).total


@contextmanager
def open_site(folder: Path, plant: Plant, recipe: Path) -> Iterator[PlantSite]:
    """A site of this plant (`kafka_site`)."""
    with kafka_site(folder, recipe) as site:
        yield PlantSite(site.kafka, site.folder, site.recipe, site.workers, plant=plant)


@contextmanager
def kafka_site(folder: Path, recipe: Path) -> Iterator[Site]:
    """A broker with the topics, and nobody who works on them yet; ends all that was started in it."""
    with Kafka(config={"log.retention.ms": "-1"}) as kafka, patch.dict(os.environ):
        os.environ |= {
            **topic_environment(PREFIX),
            "STREAM_DETECTOR_BOOTSTRAP": kafka.bootstrap,
            "STREAM_DETECTOR_REGISTRY": str(folder / "bundles"),
            "STREAM_DETECTOR_LOG_LEVEL": "WARNING",
        }
        create_topic(kafka.bootstrap, topic(PREFIX, "readings"), message_timestamp_type="CreateTime")
        create_topic(kafka.bootstrap, topic(PREFIX, "events"))
        site = Site(kafka, folder, recipe)
        try:
            yield site
        finally:
            for worker in site.workers.values():
                worker.kill()
