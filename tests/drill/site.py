"""One plant of the drill: its detectors, its forwarder and its sensors, under a supervisor as a machine has one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.drill.feed import Feed
from tests.drill.slow_worker import PACE
from tests.support.paths import ROOT
from tests.support.stack.kafka import free_port
from tests.support.stack.monitoring import status_of
from tests.support.stack.workers import fetch, topic, topic_environment

RESTART_SECONDS = 2.0
USAGE = 2


@dataclass
class Service:
    """A process of ours that is started again when it ends, as by systemd. Its port stays the same."""

    name: str
    arguments: list[str]
    log: Path
    environment: dict[str, str]
    port: int
    wanted: bool = False
    process: subprocess.Popen[bytes] | None = None
    ended_at: float = 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def ready(self) -> bool:
        return status_of(f"http://127.0.0.1:{self.port}/readyz") == 200

    def start(self) -> None:
        self.wanted = True
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **self.environment}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env=environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL; the supervisor starts it again if it is wanted."""
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and it stays away."""
        self.wanted = False
        if self.process is None or not self.alive:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def supervise(self, now: float) -> None:
        """Start it again where it ended by itself, but for a wrong setting."""
        if not self.wanted or self.process is None:
            return
        code = self.process.poll()
        if code is None:
            self.ended_at = 0.0
        elif not self.ended_at:
            self.ended_at = now
        elif now - self.ended_at >= RESTART_SECONDS and code != USAGE:
            self.ended_at = 0.0
            self.start()


@dataclass
class Site:
    """A plant. `folder` holds its files: logs, the pace of slow detectors, a certificate."""

    name: str
    bootstrap: str
    folder: Path
    bundle: Path
    detectors: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    forwarder_environment: Mapping[str, str] | None = None
    """None: this plant has no forwarder."""
    workers: list[Service] = field(default_factory=list)
    forwarder: Service | None = None
    bridge: Service | None = None
    """Set before the start."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.pace = self.folder / "pace.json"
        self.certificate = self.folder / "certificates.pem"
        self.log_level = self.folder / "log-level"
        common = {
            **topic_environment(self.name),
            "STREAM_DETECTOR_BOOTSTRAP": self.bootstrap,
            "STREAM_DETECTOR_SITE": self.name,
            "STREAM_DETECTOR_CONSOLE": "false",
            **self.environment,
        }
        for number in range(self.detectors):
            name, port = f"{self.name}-{number}", free_port()
            own = {
                "STREAM_DETECTOR_INSTANCE": name,
                "STREAM_DETECTOR_METRICS_PORT": str(port),
                PACE: str(self.pace),
            }
            arguments = ["-m", "tests.drill.slow_worker", "run", "--bundle", str(self.bundle)]
            log = self.folder / f"{name}.log"
            self.workers.append(Service(name, arguments, log, {**common, **own}, port))
        if self.forwarder_environment is not None:
            port = free_port()
            own = {"STREAM_DETECTOR_FORWARD_METRICS_PORT": str(port), **self.forwarder_environment}
            self.forwarder = Service(
                f"{self.name}-forwarder", ["-m", "stream_detector", "forward"], self.folder / "forwarder.log",
                {**common, **own}, port,
            )  # fmt: skip
        self.feed = Feed(self.bootstrap, topic(self.name, "readings"), seed=len(self.name))

    @property
    def services(self) -> list[Service]:
        return [*self.workers, *(service for service in (self.forwarder, self.bridge) if service is not None)]

    @property
    def ready(self) -> bool:
        return all(service.ready for service in self.services)

    @property
    def why_not_ready(self) -> str:
        """What each process answers."""
        return "; ".join(f"{one.name}: {fetch(one.port, '/readyz')}" for one in self.services)

    def start(self) -> None:
        for service in self.services:
            service.start()

    def stop(self) -> None:
        self.feed.stop()
        for service in self.services:
            service.wanted = False
        for service in self.services:
            service.kill()

    def set_bundle(self, bundle: Path) -> None:
        """From the next start of each detector on."""
        for worker in self.workers:
            worker.arguments[-1] = str(bundle)


class Supervisor:
    """Looks after the services of all plants in a thread, between `with` and its end."""

    def __init__(self, sites: list[Site]) -> None:
        self._sites = sites
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(0.5):
            for site in self._sites:
                for service in site.services:
                    service.supervise(time.monotonic())
