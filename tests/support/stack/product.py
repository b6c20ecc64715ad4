"""The whole product as real processes: broker, detector, forwarder, Alertmanager, Prometheus and a receiver."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer

from tests.support.paths import ROOT
from tests.support.stack.kafka import Kafka, free_port
from tests.support.stack.monitoring import Alertmanager, Prometheus, status_of
from tests.support.stack.workers import WorkerProcess, topic, topic_environment, wait_for

DEPLOY = ROOT / "deploy"
PREFIX = "product"


@dataclass
class Child:
    """A process of ours; what it prints is kept with the time at which each line came."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    lines: list[tuple[float, str]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def start(self) -> "Child":
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **self.environment}
        self.process = subprocess.Popen(
            [sys.executable, *self.command],
            env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip("\n")))

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM; returns the exit code, -9 where it had to be killed."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Product:
    """Runs everything from `with` to its end; `stop` ends it in order and returns the exit codes by name."""

    def __init__(self, folder: Path, bundle: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = {**topic_environment(PREFIX), **(environment or {})}
        self.kafka = Kafka()
        self.worker = WorkerProcess("", PREFIX, bundle, folder / "detector.log", "detector-0", self.environment)
        self.receiver_port, self.forwarder_port = free_port(), free_port()
        self.receiver = Child("receiver", [str(DEPLOY / "receiver" / "receiver.py"), str(self.receiver_port)])
        address = f"http://127.0.0.1:{self.receiver_port}"
        self.alertmanager = Alertmanager(
            DEPLOY / "alertmanager" / "alertmanager.yml",
            {"operators": f"{address}/operators", "platform": f"{address}/platform"},
        )
        self.forwarder = Child("forwarder", ["-m", "stream_detector", "forward"])
        self.prometheus: Prometheus | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        self._stack.enter_context(self.kafka)
        self.worker.bootstrap = self.kafka.bootstrap
        self.worker.start()
        self._stack.callback(self.worker.kill)
        self.receiver.start()
        self._stack.callback(self.receiver.stop)
        self._stack.enter_context(self.alertmanager)
        self.forwarder.environment = {
            **self.environment,
            "STREAM_DETECTOR_BOOTSTRAP": self.kafka.bootstrap,
            "STREAM_DETECTOR_FORWARD_ALERTMANAGER_URLS": self.alertmanager.url,
            "STREAM_DETECTOR_FORWARD_METRICS_PORT": str(self.forwarder_port),
        }
        self.forwarder.start()
        self._stack.callback(self.forwarder.stop)
        self.prometheus = Prometheus(
            DEPLOY / "prometheus" / "prometheus.yml",
            {
                "stream-detector": f"127.0.0.1:{self.worker.port}",
                "stream-detector-forwarder": f"127.0.0.1:{self.forwarder_port}",
            },
            alertmanager=f"127.0.0.1:{self.alertmanager.port}",
        )
        self._stack.enter_context(self.prometheus)
        wait_for(lambda: self.worker.get("/readyz")[0] == 200, 180, "the detector is ready")
        ready = f"http://127.0.0.1:{self.forwarder_port}/readyz"
        wait_for(lambda: status_of(ready) == 200, 180, "the forwarder is ready")

    def topic(self, name: str) -> str:
        """The real name of a topic of the run."""
        return topic(PREFIX, name)

    def stop(self) -> dict[str, int]:
        """Ends our processes with SIGTERM, then the others; returns the exit codes of ours."""
        codes = {"detector": self.worker.stop(), "forwarder": self.forwarder.stop()}
        self._stack.close()
        return codes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class TopicWatcher:
    """Notes when each record of a topic could be read."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.records: list[tuple[float, Any]] = []
        self._ending = False
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": f"watcher-{name}", "auto.offset.reset": "earliest",
             "fetch.wait.max.ms": 10, "log_level": 0}
        )  # fmt: skip
        self._consumer.subscribe([name])
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ending:
            record = self._consumer.poll(0.05)
            if record is not None and record.error() is None:
                self.records.append((time.time(), record))
        self._consumer.close()

    def stop(self) -> None:
        """Ends reading."""
        self._ending = True
        self._thread.join(10)
