"""Real Apache Kafka for tests: KRaft brokers on free ports in a temporary folder.

The jars are resolved once by Maven (`deploy/kafka/pom.xml`) into `.kafka/`.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.support.stack import maven
from tests.support.stack.processes import end_with_parent

Answer = TypeVar("Answer")

START_SECONDS = 180.0

DEFAULTS = {
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "500",
    "log.cleaner.backoff.ms": "1000",
    # SIGKILLed brokers come back at once: no recovery of indexes from many segments, no long controlled shutdown.
    "num.recovery.threads.per.data.dir": "2",
    "controlled.shutdown.enable": "true",
    "broker.session.timeout.ms": "6000",
}


def why_no_kafka() -> str | None:
    """The reason why no broker can be started here, or None."""
    if shutil.which("java") is None:
        return "no `java` on PATH: a real Kafka broker needs Java 17 or newer (Debian: openjdk-17-jre-headless)"
    return maven.why_no_jars(maven.BROKER)


def free_port() -> int:
    """A TCP port on the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Broker:
    """One broker process (broker and controller in one). Its data outlives a kill, its ports are fixed."""

    node: int
    folder: Path
    port: int
    controller_port: int
    listeners: dict[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    @property
    def config(self) -> Path:
        return self.folder / "server.properties"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def launch(self) -> None:
        """Start the process without waiting until it serves."""
        assert not self.alive
        with self.log.open("ab") as log:
            self._from = log.tell()
            self.process = subprocess.Popen(
                _java("kafka.Kafka", str(self.config)),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it calls nothing but the kernel
            )

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(self._from)
                if b"Kafka Server started" in log.read():
                    return
            if not self.alive:
                break
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-4000:]
        raise RuntimeError(
            f"broker {self.node} did not start within {START_SECONDS:.0f} s; its log {self.log} ends:\n{tail}"
        )

    def start(self) -> None:
        self.launch()
        self.wait_until_started()

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 15 s."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


class Kafka:
    """A cluster of `brokers` real brokers.

    Args:
        brokers: how many; internal topics are replicated over at most three of them.
        config: properties on top of `DEFAULTS`, for every broker.
        listeners: further listeners by name with their protocol, e.g. `{"CLIENT": "SASL_SSL"}`; see `address`.
        format_arguments: further arguments of the storage tool, e.g. `--add-scram SCRAM-SHA-512=[name=..,password=..]`.
        folder: where to keep data and logs; a temporary one by default, removed at the end.
        environment: further variables of every broker's process.
        advertised: ports that clients of a further listener are sent to instead of its own, e.g. a proxy's; one broker.
    """

    def __init__(
        self,
        brokers: int = 1,
        config: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        format_arguments: Sequence[str] = (),
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        advertised: Mapping[str, int] | None = None,
    ) -> None:
        self._advertised = dict(advertised or {})
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="stream-detector-kafka-")) if folder is None else folder
        self._config = dict(config or {})
        self._listeners = dict(listeners or {})
        self._format_arguments = list(format_arguments)
        self.brokers = [
            Broker(
                node,
                self.folder / f"broker-{node}",
                free_port(),
                free_port(),
                {n: free_port() for n in self._listeners},
                environment or {},
            )
            for node in range(1, brokers + 1)
        ]

    @property
    def bootstrap(self) -> str:
        """The plain-text address of every broker."""
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def address(self, listener: str) -> str:
        """The address of every broker at the further listener of that name."""
        return ",".join(f"127.0.0.1:{broker.listeners[listener]}" for broker in self.brokers)

    def start(self) -> Self:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        try:
            for broker in self.brokers:
                broker.folder.mkdir(parents=True)
                broker.config.write_text(self._properties(broker))
                command = _java(
                    "kafka.tools.StorageTool",
                    "format",
                    # One word: an id that begins with a dash is no option then.
                    f"--cluster-id={cluster_id}",
                    "-c",
                    str(broker.config),
                    *self._format_arguments,
                )
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise RuntimeError(f"could not format {broker.folder}:\n{done.stdout}{done.stderr}")
            for broker in self.brokers:
                broker.launch()
            for broker in self.brokers:
                broker.wait_until_started()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every broker at once (its data is thrown away) and remove a temporary folder."""
        for broker in self.brokers:
            broker.kill()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _properties(self, broker: Broker) -> str:
        replicas = str(min(3, len(self.brokers)))
        listeners = {"PLAINTEXT": broker.port, **broker.listeners}
        addresses = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
        told = ",".join(f"{name}://127.0.0.1:{self._advertised.get(name, port)}" for name, port in listeners.items())
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self._listeners}
        properties = {
            **DEFAULTS,
            "process.roles": "broker,controller",
            "node.id": str(broker.node),
            "controller.quorum.voters": ",".join(f"{b.node}@127.0.0.1:{b.controller_port}" for b in self.brokers),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": f"{addresses},CONTROLLER://127.0.0.1:{broker.controller_port}",
            "advertised.listeners": told,
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": str(broker.folder / "data"),
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": "1",
            "default.replication.factor": replicas,
            **self._config,
        }
        return "".join(f"{name}={value}\n" for name, value in properties.items())


class ExistingKafka:
    """A broker that somebody else runs (`KAFKA_BOOTSTRAP_SERVERS`)."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


def create_topic(bootstrap: str, name: str, partitions: int = 1, replication: int = 1, **config: str) -> None:
    """Create a topic and wait until it has its leaders; an underscore in a config name stands for a dot."""

    async def create(admin: Any) -> None:
        from aiokafka.admin import NewTopic

        topic = NewTopic(
            name, partitions, replication, topic_configs={k.replace("_", "."): v for k, v in config.items()}
        )
        response = await admin.create_topics([topic])
        failed = [error for error in response.topic_errors if error[1]]
        assert not failed, f"topic {name} could not be created: {failed}"
        await _until(lambda: _has_leaders(admin, name, partitions))

    with_admin(bootstrap, create)


def delete_topic(bootstrap: str, name: str) -> None:
    """Delete a topic and wait until it is gone from the metadata."""

    async def delete(admin: Any) -> None:
        await admin.delete_topics([name])

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await _until(gone)

    with_admin(bootstrap, delete)


def with_admin(bootstrap: str, work: Callable[[Any], Awaitable[Answer]]) -> Answer:
    """Run `work` with an aiokafka admin client. (librdkafka's clients, made and closed often, end in crashes.)"""

    async def run() -> Answer:
        from aiokafka.admin import AIOKafkaAdminClient

        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap.split(","))
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    return asyncio.run(run())


async def _has_leaders(admin: Any, name: str, partitions: int) -> bool:
    (found,) = await admin.describe_topics([name])
    return len(found["partitions"]) == partitions and all(part["leader"] >= 0 for part in found["partitions"])


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        await asyncio.sleep(0.05)


def _java(main_class: str, *arguments: str) -> list[str]:
    options = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return ["java", *options, "-cp", f"{maven.resolved(maven.BROKER)}/*", main_class, *arguments]


@contextmanager
def kafka_for_tests() -> Iterator[Kafka | ExistingKafka]:
    """The broker named by `KAFKA_BOOTSTRAP_SERVERS`, or one of our own."""
    existing = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if existing:
        yield ExistingKafka(existing)
        return
    with Kafka() as kafka:
        yield kafka
