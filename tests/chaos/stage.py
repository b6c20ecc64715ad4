"""One trial: a broker, workers under a supervisor, a log that is being sent while faults strike, and the verdict."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stream_detector.messages import from_iso
from tests.support.paths import ROOT
from tests.support.plant import BASE, POISON, STEP_SECONDS, make_log
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import (
    WorkerProcess,
    alarms_of,
    caught_up,
    committed_of,
    dead_letters_of,
    produce,
    topic,
    topic_environment,
    wait_for,
)

PARTITIONS = 4
CATCH_UP_SECONDS = 150.0
SUPERVISOR_SECONDS = 0.2
REGISTRY = "STREAM_DETECTOR_REGISTRY"


@dataclass(frozen=True)
class Load:
    """A log, and over how long it is sent. Equal logs give equal alarms."""

    seed: int
    steps: int = 250
    assets: int = 6
    seconds: float = 1.0


@dataclass(frozen=True)
class Truth:
    """What a log gives when nothing happens to the workers."""

    alarms: Mapping[tuple[str, str], bytes]
    dead_letters: Mapping[tuple[int, int], str]


@dataclass
class Result:
    """How one trial ended."""

    seed: int
    fault: str
    times: int
    lost: int
    different: int
    invented: int
    unaccounted: int
    recovery_seconds: list[float] = field(default_factory=list)
    kind: str = "mahalanobis"
    """Of the model."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.different or self.invented or self.unaccounted)


class Stage:
    """Use it with `with`: topics and workers are there, and the log is being sent."""

    def __init__(
        self,
        kafka: Kafka | ExistingKafka,
        prefix: str,
        bundle: Path,
        folder: Path,
        load: Load,
        workers: int = 1,
        stable: bool = True,
        replication: int = 1,
        environment: Mapping[str, str] | None = None,
        module: str = "stream_detector",
        create_readings: Callable[["Stage"], None] | None = None,
    ) -> None:
        self.module = module
        self._create_readings = create_readings or create_readings_of
        self.seen: dict[tuple[str, str], bytes] = {}
        """Alarms that were published and are in the topic no longer, where a fault deletes it."""
        self.letters_seen: dict[tuple[int, int], str] = {}
        self.hurry = threading.Event()
        self.forgiven: tuple[float, float] | None = None
        """Event times between which alarms may differ, where a fault makes that right."""
        self.kafka, self.prefix, self.load, self.folder = kafka, prefix, load, folder
        self.environment = {
            "STREAM_DETECTOR_SESSION_TIMEOUT_SECONDS": "6",
            "STREAM_DETECTOR_TOPIC_REPLICATION": str(replication),
            **(environment or {}),
        }
        self.bundle, self.stable, self.replication = bundle, stable, replication
        self.workers: list[WorkerProcess] = []
        self._wanted: set[int] = set()
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._sending_failed: list[BaseException] = []
        for _ in range(workers):
            self.add_worker(start=False)
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    @property
    def readings(self) -> str:
        return topic(self.prefix, "readings")

    def __enter__(self) -> Self:
        self._create_readings(self)
        for number, worker in enumerate(self.workers):
            worker.start()
            self._wanted.add(number)
        self._supervisor.start()
        try:
            wait_for(lambda: any(worker.get("/readyz")[0] == 200 for worker in self.workers), 150, "a worker is ready")
        except AssertionError:
            print(self.workers[0].log_text()[-3000:], file=sys.stderr)
            raise
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        with self._lock:
            self._wanted.clear()
            for worker in self.workers:
                worker.kill()

    def add_worker(self, start: bool = True, instance: str | None = None) -> WorkerProcess:
        """One more worker; `instance`: its name, where it is to be another one than usual."""
        with self._lock:
            number = len(self.workers)
            own = f"worker-{number}" if self.stable else None
            worker = WorkerProcess(
                self.kafka.bootstrap, self.prefix, self.bundle, self.folder / f"{self.prefix}-{number}.log",
                instance or own, self.environment, self.module,
            )  # fmt: skip
            self.workers.append(worker)
            if start:
                worker.start()
                self._wanted.add(number)
            return worker

    def retire(self, worker: WorkerProcess) -> None:
        """The supervisor shall not start it again."""
        with self._lock:
            self._wanted.discard(self.workers.index(worker))

    def keep(self, worker: WorkerProcess) -> None:
        """The supervisor shall start it again."""
        with self._lock:
            self._wanted.add(self.workers.index(worker))

    def revive(self, worker: WorkerProcess) -> None:
        with self._lock:
            worker.start()
            self._wanted.add(self.workers.index(worker))

    @property
    def sending(self) -> bool:
        return self._sender.is_alive()

    def committed(self) -> int:
        return sum(committed_of(self.kafka.bootstrap, self.prefix).values())

    def recovered(self, action: Callable[[], object], seconds: float = 120.0) -> float:
        """Do something to the workers; the seconds until they commit progress again (or have nothing left to do)."""
        started = time.monotonic()
        action()
        before = self.committed()
        wait_for(
            lambda: self.committed() > before or (not self.sending and caught_up(self.kafka.bootstrap, self.prefix)),
            seconds, "progress after the fault", each=0.2,
        )  # fmt: skip
        return time.monotonic() - started

    def settle(self) -> None:
        """Wait until everything is sent and committed; then end the workers in order.

        Raises:
            AssertionError: they do not catch up, or do not end with 0.
        """
        self.wait_until_sent()
        with self._lock:
            self._wanted.clear()
            alive = [worker for worker in self.workers if worker.alive]
        for worker in alive:
            wait_for(lambda w=worker: w.get("/healthz")[0] == 200 or not w.alive, 90, "a worker has started")  # type: ignore[misc]
        codes = [worker.stop() for worker in alive]
        assert not any(codes), f"exit codes {codes} after SIGTERM"

    def wait_until_sent(self) -> None:
        """Send what is left at full speed and wait until it is committed."""
        self.hurry.set()
        self._sender.join(300)
        assert not self._sending_failed, self._sending_failed
        wait_for(
            lambda: caught_up(self.kafka.bootstrap, self.prefix), CATCH_UP_SECONDS, f"all of {self.prefix} is committed"
        )

    def around(self, offsets: Mapping[int, int]) -> tuple[float, float]:
        """Event times from the newest record below the offsets on until a fresh window is full and an episode over."""
        newest = BASE
        count: Counter[int] = Counter()
        for record in make_log(self.load.seed, self.load.steps, self.load.assets, PARTITIONS):
            if count[record.partition] < offsets.get(record.partition, 0) and record.value not in POISON:
                newest = max(newest, float(json.loads(record.value or b"")["time"]))
            count[record.partition] += 1
        return newest - 10 * STEP_SECONDS, newest + 30 * STEP_SECONDS

    def truth(self) -> Truth:
        """What is on the topics now."""
        bootstrap, forgiven = self.kafka.bootstrap, self.forgiven
        alarms = alarms_of(bootstrap, self.prefix, lambda content: forgives(forgiven, content))
        for key, content in self.seen.items():
            same = alarms.get(key, content) == content or forgives(forgiven, content)
            assert same, f"alarm {key} came with two contents"
        return Truth({**self.seen, **alarms}, {**self.letters_seen, **dead_letters_of(bootstrap, self.prefix)})

    def _send(self) -> None:
        log = make_log(self.load.seed, self.load.steps, self.load.assets, PARTITIONS)
        try:
            produce(self.kafka.bootstrap, self.readings, log, len(log) / self.load.seconds, self.hurry)
        except BaseException as error:
            self._sending_failed.append(error)

    def _supervise(self) -> None:
        while not self._ending.wait(SUPERVISOR_SECONDS):
            with self._lock:
                for number in self._wanted:
                    if not self.workers[number].alive:
                        self.workers[number].start()


def create_readings_of(stage: Stage, **config: str) -> None:
    """The topic of readings as a plant has it."""
    safe = {"min_insync_replicas": "2"} if stage.replication > 2 else {}
    create_topic(stage.kafka.bootstrap, stage.readings, PARTITIONS, stage.replication, **{**safe, **config})


def forgives(forgiven: tuple[float, float] | None, content: bytes) -> bool:
    """Whether an alarm was up at a time of which the trial demands nothing: it may begin or end otherwise."""
    if forgiven is None:
        return False
    alarm = json.loads(content)
    return (
        from_iso(alarm["raised_at"]) <= forgiven[1]
        and from_iso(alarm["cleared_at"] or alarm["raised_at"]) >= forgiven[0]
    )


def compare(
    seed: int,
    fault: str,
    times: int,
    truth: Truth,
    found: Truth,
    recovery: list[float],
    forgiven: tuple[float, float] | None = None,
) -> Result:
    """The verdict on a trial."""
    wanted = {key: content for key, content in truth.alarms.items() if not forgives(forgiven, content)}
    got = {key: content for key, content in found.alarms.items() if not forgives(forgiven, content)}
    return Result(
        seed,
        fault,
        times,
        lost=sum(key not in got for key in wanted),
        different=sum(got[key] != wanted[key] for key in wanted if key in got),
        invented=sum(key not in wanted for key in got),
        unaccounted=len(set(truth.dead_letters) ^ set(found.dead_letters)),
        recovery_seconds=recovery,
    )


def undisturbed(kafka: Kafka | ExistingKafka, prefix: str, bundle: Path, folder: Path, load: Load) -> Truth:
    """The oracle: one worker, nothing happens to it."""
    with Stage(kafka, prefix, bundle, folder, load) as stage:
        stage.settle()
        return stage.truth()


def random_pause(rng: random.Random, shortest: float, longest: float) -> None:
    time.sleep(rng.uniform(shortest, longest))


def audit(stage: Stage) -> dict[str, Any]:
    """The product's own audit of the group: the log read again by a plain engine."""
    result = stage.folder / "audit.json"
    named = [] if REGISTRY not in stage.environment else ["--registry", stage.environment[REGISTRY]]
    command = [sys.executable, "-m", "stream_detector", "audit", "--bundle", str(stage.bundle), *named]
    subprocess.run(
        [*command, "--bootstrap", stage.kafka.bootstrap, "--json", str(result)],
        env={**os.environ, **topic_environment(stage.prefix)}, cwd=ROOT, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    report: dict[str, Any] = json.loads(result.read_text())
    return report
