"""Workers as processes, and what can be seen of them from outside."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.support.paths import ROOT
from tests.support.plant import Record
from tests.support.stack.kafka import free_port, with_admin
from tests.support.stack.processes import summed

Answer = TypeVar("Answer")

MOST_PENDING = 20_000

TOPICS = (
    "readings", "events", "alarms", "scores", "dead_letters", "state", "alarm_states", "feedback", "assets", "unkeyed",
    "renewal", "operating", "challenger_alarms", "challenger_scores", "challenger_dead_letters",
)  # fmt: skip


def topic(prefix: str, name: str) -> str:
    return f"{prefix}.{name}"


def topic_environment(prefix: str) -> dict[str, str]:
    """Topics and a group of their own, so that many runs share one broker."""
    names = {f"STREAM_DETECTOR_TOPIC_{name.upper()}": topic(prefix, name) for name in TOPICS}
    return {**names, "STREAM_DETECTOR_GROUP": prefix}


@dataclass
class WorkerProcess:
    """`stream-detector run` as a process; its log is `log`."""

    bootstrap: str
    prefix: str
    bundle: Path
    log: Path
    instance: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    module: str = "stream_detector"
    python: Path = Path(sys.executable)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def start(self) -> "WorkerProcess":
        assert self.process is None or self.process.poll() is not None
        self.port = free_port()
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1", **topic_environment(self.prefix),
            "STREAM_DETECTOR_BOOTSTRAP": self.bootstrap, "STREAM_DETECTOR_METRICS_PORT": str(self.port),
            **({"STREAM_DETECTOR_INSTANCE": self.instance} if self.instance else {}),
            # As where it is installed: modules are compiled once, not at every start.
            "PYTHONDONTWRITEBYTECODE": "", **self.environment,
        }  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", self.module, "run", "--bundle", str(self.bundle)],
                env=environment, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        return self

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.send(signal.SIGKILL)
            self.wait()

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM; returns the exit code."""
        if self.alive:
            self.send(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 20.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def get(self, path: str) -> tuple[int, str]:
        """(status, body) of its HTTP server; 0 where nothing answers."""
        return fetch(self.port, path)

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels; 0 where it is not there."""
        return summed(self.get("/metrics")[1]).get(name, 0.0)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")


def fetch(port: int, path: str) -> tuple[int, str]:
    """(status, body) of an HTTP server on the loopback interface; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_for(condition: Callable[[], bool], seconds: float, what: str, each: float = 0.1) -> float:
    """Wait until the condition holds; returns the seconds it took.

    On a busy machine the asking takes from those asked: the pauses are as long as it took, up to a second.
    """
    started = asked = time.monotonic()
    while not condition():
        now = time.monotonic()
        if now - started > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(max(each, min(now - asked, 1.0)))
        asked = time.monotonic()
    return time.monotonic() - started


def produce(
    bootstrap: str,
    name: str,
    log: Iterable[Record],
    per_second: float | None = None,
    hurry: threading.Event | None = None,
) -> None:
    """Send a log in order, every record acknowledged by all replicas; at a rate, if one is given, until `hurry`."""
    asyncio.run(_produce(bootstrap, name, log, per_second, hurry))


async def _produce(
    bootstrap: str, name: str, log: Iterable[Record], per_second: float | None, hurry: threading.Event | None
) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True, request_timeout_ms=300_000
    )
    await producer.start()
    try:
        started = time.monotonic()
        pending = []
        for sent, record in enumerate(log, 1):
            pending.append(await producer.send(name, record.value, record.key, record.partition))
            if per_second is not None and sent % 10 == 0 and not (hurry is not None and hurry.is_set()):
                await asyncio.sleep(max(0.0, started + sent / per_second - time.monotonic()))
            if len(pending) > MOST_PENDING:
                await asyncio.gather(*pending)
                pending.clear()
        await asyncio.gather(*pending)
    finally:
        await producer.stop()


def with_reader(bootstrap: str, work: Callable[[Any], Awaitable[Answer]], group: str | None = None) -> Answer:
    """Run `work` with an aiokafka consumer that is a member of no group; `group` is for offsets only."""

    async def run() -> Answer:
        from aiokafka import AIOKafkaConsumer

        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap.split(","), group_id=group, enable_auto_commit=False,
            auto_offset_reset="earliest", isolation_level="read_committed",
        )  # fmt: skip
        await consumer.start()
        try:
            return await work(consumer)
        finally:
            await consumer.stop()

    return asyncio.run(run())


def patiently(ask: Callable[[], Answer], seconds: float = 90.0) -> Answer:
    """Ask again while the brokers are away or not ready."""
    from aiokafka.errors import KafkaError

    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except KafkaError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def partitions_of(bootstrap: str, name: str) -> list[Any]:
    """The partitions of a topic, as aiokafka names them; none where it does not exist."""
    from aiokafka.protocol.metadata import MetadataRequest
    from aiokafka.structs import TopicPartition

    async def ask(admin: Any) -> list[Any]:
        # Of this topic alone: a broker that many tests share has hundreds. The public call would create it.
        answer = await admin._send_request(MetadataRequest([name], allow_auto_topic_creation=False))
        (found,) = answer.to_object()["topics"]
        return sorted(TopicPartition(name, part["partition"]) for part in found["partitions"])

    return patiently(lambda: with_admin(bootstrap, ask))


def read_topic(bootstrap: str, name: str) -> list[Any]:
    """Every record of a topic, partition after partition; none where the topic does not exist."""
    parts = partitions_of(bootstrap, name)

    async def read(consumer: Any) -> list[Any]:
        ends = await consumer.end_offsets(parts)
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        records: list[Any] = []
        while left := [tp for tp in parts if await consumer.position(tp) < ends[tp]]:
            for found in (await consumer.getmany(*left, timeout_ms=500)).values():
                records += found
        return sorted(records, key=lambda record: (record.partition, record.offset))

    return patiently(lambda: with_reader(bootstrap, read)) if parts else []


def alarms_of(
    bootstrap: str, prefix: str, may_differ: Callable[[bytes], bool] = lambda _: False
) -> dict[tuple[str, str], bytes]:
    """{(id, state): content}; asserts that repeats say the same, but for those that may differ."""
    found: dict[tuple[str, str], bytes] = {}
    for record in read_topic(bootstrap, topic(prefix, "alarms")):
        body = json.loads(record.value)
        key = body["id"], body["state"]
        same = found.get(key, record.value) == record.value or may_differ(record.value)
        assert same, f"alarm {key} came with two contents: {found[key]!r} and {record.value!r}"
        found[key] = record.value
    return found


def dead_letters_of(bootstrap: str, prefix: str) -> dict[tuple[int, int], str]:
    """{(partition, offset): reason}."""
    letters = [json.loads(record.value) for record in read_topic(bootstrap, topic(prefix, "dead_letters"))]
    return {(letter["partition"], letter["offset"]): letter["reason"] for letter in letters}


def committed_of(bootstrap: str, prefix: str) -> dict[int, int]:
    """Committed offsets of the readings topic."""
    wanted = topic(prefix, "readings")
    found = committed_offsets_of(bootstrap, prefix)
    return {number: offset for (name, number), offset in found.items() if name == wanted}


def committed_offsets_of(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """{(topic, partition): offset} that a group has committed."""

    async def ask(admin: Any) -> dict[tuple[str, int], int]:
        found = await admin.list_consumer_group_offsets(group)
        return {(tp.topic, tp.partition): entry.offset for tp, entry in found.items() if entry.offset >= 0}

    return patiently(lambda: with_admin(bootstrap, ask))


def ends_of(bootstrap: str, name: str) -> dict[int, int]:
    """Next offsets of a topic."""
    parts = partitions_of(bootstrap, name)

    async def ask(consumer: Any) -> dict[int, int]:
        return {tp.partition: end for tp, end in (await consumer.end_offsets(parts)).items()}

    return patiently(lambda: with_reader(bootstrap, ask))


def caught_up(bootstrap: str, prefix: str) -> bool:
    """Whether everything on the readings topic is committed."""
    ends = {number: end for number, end in ends_of(bootstrap, topic(prefix, "readings")).items() if end}
    return {number: committed_of(bootstrap, prefix).get(number) for number in ends} == ends
