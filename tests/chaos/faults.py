"""What can go wrong, one small class a fault. `strike` does it some times and returns how long each recovery took."""

import asyncio
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tests.chaos.stage import PARTITIONS, Stage, Truth, create_readings_of, random_pause
from tests.support.plant import make_log
from tests.support.stack.kafka import Kafka, create_topic, delete_topic, with_admin
from tests.support.stack.workers import (
    alarms_of,
    committed_of,
    dead_letters_of,
    ends_of,
    produce,
    read_topic,
    topic,
    wait_for,
    with_reader,
)

SESSION_SECONDS = 6.0
"""Of the suite's workers."""
NOTICE_SECONDS = 8.0
"""Joining the group and the next look of a watchdog, on a machine that does much else."""


class Fault(Protocol):
    """A fault and what it needs. `slowly` = the whole log takes at least so long to send."""

    name: str
    brokers: int
    workers: int
    stable: bool
    seconds: float
    environment: Mapping[str, str]
    module: str
    times: int
    audited: bool
    """The product's audit must find everything, too."""
    headless: bool
    """Only models without a head or a fleet: what one has seen is lost for long."""
    kind: str | None
    """Of model, where it is to be this one alone."""

    def why_not(self) -> str | None:
        """The reason why it cannot be tried on this machine, or None."""

    def environment_in(self, folder: Path) -> Mapping[str, str]:
        """Settings of the workers; `folder` is the trial's own."""

    def bundle_in(self, folder: Path, bundle: Path) -> Path:
        """What the workers are started with; `bundle` is the suite's."""

    def cluster_in(self, folder: Path) -> Kafka | None:
        """A broker for this trial alone, not started; None: the suite's."""

    def tidy(self, folder: Path) -> None:
        """Take away what `cluster_in` made."""

    def create_readings(self, stage: Stage) -> None:
        """Make the topic of readings."""

    def strike(self, stage: Stage, rng: random.Random) -> list[float]: ...

    def check(self, stage: Stage) -> None:
        """What must hold beside the alarms, once everything is committed."""

    def truth(self, stage: Stage, undisturbed: Truth) -> Truth:
        """What must have been said."""


@dataclass
class PlainFault:
    """What most faults need."""

    times: int = 1
    brokers: ClassVar[int] = 1
    workers: ClassVar[int] = 1
    stable: ClassVar[bool] = True
    seconds: ClassVar[float] = 15.0
    environment: ClassVar[Mapping[str, str]] = {}
    module: ClassVar[str] = "stream_detector"
    audited: ClassVar[bool] = True
    headless: ClassVar[bool] = False
    kind: ClassVar[str | None] = None

    def why_not(self) -> str | None:
        return None

    def environment_in(self, folder: Path) -> Mapping[str, str]:
        return self.environment

    def bundle_in(self, folder: Path, bundle: Path) -> Path:
        return bundle

    def cluster_in(self, folder: Path) -> Kafka | None:
        return None

    def tidy(self, folder: Path) -> None: ...

    def create_readings(self, stage: Stage) -> None:
        create_readings_of(stage)

    def check(self, stage: Stage) -> None: ...

    def truth(self, stage: Stage, undisturbed: Truth) -> Truth:
        return undisturbed


@dataclass
class KillWorker(PlainFault):
    """SIGKILL at random moments; the supervisor starts it again."""

    name: str = "worker SIGKILL, stable instance"
    seconds: ClassVar[float] = 20.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 0.0, 2.0)
            recovery.append(stage.recovered(rng.choice(stage.workers).kill))
        return recovery


@dataclass
class KillNamelessWorker(KillWorker):
    """The same without a stable name: the group waits out the session."""

    name: str = "worker SIGKILL, no instance name"
    stable: ClassVar[bool] = False


@dataclass
class TerminateWorker(PlainFault):
    """SIGTERM, as every deployment does."""

    name: str = "worker SIGTERM"

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 0.0, 2.0)
            worker = rng.choice(stage.workers)
            wait_for(lambda w=worker: w.get("/healthz")[0] == 200, 90, "the worker has started")  # type: ignore[misc]

            def end(worker: Any = worker) -> None:
                worker.send(signal.SIGTERM)
                code = worker.wait(15)
                assert code == 0, f"exit code {code} after SIGTERM"

            recovery.append(stage.recovered(end))
        return recovery


@dataclass
class SuspendWorker(PlainFault):
    """SIGSTOP for longer than the session timeout, then SIGCONT: it wakes as a member that the group has given up."""

    name: str = "worker SIGSTOP past its session"
    workers: ClassVar[int] = 2
    stable: ClassVar[bool] = False
    seconds: ClassVar[float] = 30.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 1.0, 3.0)
            worker = rng.choice(stage.workers)
            worker.send(signal.SIGSTOP)
            time.sleep(rng.uniform(8, 10))
            recovery.append(stage.recovered(lambda w=worker: w.send(signal.SIGCONT)))  # type: ignore[misc]
        return recovery


@dataclass
class JoinAndLeave(PlainFault):
    """Workers come and go during a backlog."""

    name: str = "workers joining and leaving"
    stable: ClassVar[bool] = False
    seconds: ClassVar[float] = 30.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        recovery = []
        for _ in range(self.times):
            worker = stage.add_worker()
            wait_for(lambda w=worker: w.get("/readyz")[0] == 200, 90, "the newcomer is ready")  # type: ignore[misc]
            random_pause(rng, 0.5, 2.0)
            stage.retire(worker)
            recovery.append(stage.recovered(worker.stop))
        return recovery


@dataclass
class KillTwoOfFour(PlainFault):
    """Half of the workers die and stay dead."""

    name: str = "4 workers, 2 killed for good"
    workers: ClassVar[int] = 4
    stable: ClassVar[bool] = False
    seconds: ClassVar[float] = 30.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        wait_for(lambda: all(worker.get("/readyz")[0] == 200 for worker in stage.workers), 120, "all four are ready")
        random_pause(rng, 0.0, 2.0)
        victims = rng.sample(stage.workers, 2)

        def kill() -> None:
            for worker in victims:
                stage.retire(worker)
                worker.kill()

        return [stage.recovered(kill)]


@dataclass
class KillBroker(PlainFault):
    """The broker is killed and comes back."""

    name: str = ""
    away_seconds: float = 5.0
    seconds: ClassVar[float] = 15.0

    def __post_init__(self) -> None:
        self.name = f"broker SIGKILL, back after {self.away_seconds:g} s"

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        assert isinstance(stage.kafka, Kafka)
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 1.0, 3.0)
            broker = stage.kafka.brokers[0]
            broker.kill()
            time.sleep(self.away_seconds)
            broker.start()
            recovery.append(stage.recovered(lambda: None))
        return recovery


@dataclass
class LoseLeader(PlainFault):
    """A broker of three dies under load and comes back (replication 3, min.insync 2)."""

    name: str = "leader of three brokers killed"
    brokers: ClassVar[int] = 3
    seconds: ClassVar[float] = 25.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        assert isinstance(stage.kafka, Kafka)
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 1.0, 3.0)
            broker = rng.choice(stage.kafka.brokers)
            recovery.append(stage.recovered(broker.kill))
            time.sleep(2.0)
            broker.start()
            time.sleep(3.0)
        return recovery


@dataclass
class ResetOffsets(PlainFault):
    """An operator sets the committed offsets back by hand, which drops their metadata."""

    name: str = "offsets reset by an operator"
    seconds: ClassVar[float] = 20.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 2.0, 4.0)
            worker = stage.workers[0]
            stage.retire(worker)
            worker.stop()
            offsets = committed_of(stage.kafka.bootstrap, stage.prefix)
            back = {number: rng.randint(offset // 2, offset) for number, offset in offsets.items()}
            commit_by_hand(stage, back)
            recovery.append(stage.recovered(lambda w=worker: stage.revive(w)))  # type: ignore[misc]
        return recovery


@dataclass
class StartOver(PlainFault):
    """An operator sets the offsets to zero and deletes the snapshots: every alarm comes again, equal to the letter."""

    name: str = "offsets and state removed by an operator"
    seconds: ClassVar[float] = 20.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        random_pause(rng, 4.0, 6.0)
        worker = stage.workers[0]
        stage.retire(worker)
        worker.stop()
        raised_before = len(read_topic(stage.kafka.bootstrap, topic(stage.prefix, "alarms")))
        assert raised_before, "nothing was raised that could be raised again"
        delete_topic(stage.kafka.bootstrap, topic(stage.prefix, "state"))
        commit_by_hand(stage, dict.fromkeys(committed_of(stage.kafka.bootstrap, stage.prefix), 0))
        recovery = stage.recovered(lambda: stage.revive(worker))
        stage.wait_until_sent()
        everything = read_topic(stage.kafka.bootstrap, topic(stage.prefix, "alarms"))
        different = len({(record.key, record.value) for record in everything})
        assert len(everything) == different + raised_before, (
            f"{raised_before} alarms had been raised, {len(everything) - different} were raised again"
        )
        return [recovery]


def commit_by_hand(stage: Stage, offsets: Mapping[int, int]) -> None:
    """As an operator does: without metadata, once the group is empty."""
    from aiokafka.errors import KafkaError
    from aiokafka.structs import OffsetAndMetadata, TopicPartition

    async def commit(consumer: Any) -> None:
        wanted = {TopicPartition(stage.readings, n): OffsetAndMetadata(offset, "") for n, offset in offsets.items()}
        consumer.assign(list(wanted))
        deadline = time.monotonic() + 30
        while True:
            try:
                return await consumer.commit(wanted)
            except KafkaError:
                # A member with a stable name counts until its session ends.
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)

    with_reader(stage.kafka.bootstrap, commit, stage.prefix)


@dataclass
class DeleteRebuildRange(PlainFault):
    """Retention removes everything below the committed offset, just before a restart needs it.

    The windows that were live cannot be rebuilt, so the steps up to the first full window go unscored, and an alarm of
    that time may rightly differ; all others must not. A head that carries a slow scale of every sensor has missed what
    was removed, and tells it for days.
    """

    name: str = "retention removes the rebuild range"
    seconds: ClassVar[float] = 20.0
    audited: ClassVar[bool] = False
    headless: ClassVar[bool] = True

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        from aiokafka.admin import RecordsToDelete
        from aiokafka.structs import TopicPartition

        random_pause(rng, 4.0, 6.0)
        worker = stage.workers[0]
        stage.retire(worker)
        worker.kill()
        offsets = committed_of(stage.kafka.bootstrap, stage.prefix)
        stage.forgiven = stage.around(offsets)
        cut = {TopicPartition(stage.readings, number): RecordsToDelete(offset) for number, offset in offsets.items()}
        with_admin(stage.kafka.bootstrap, lambda admin: admin.delete_records(cut))
        return [stage.recovered(lambda: stage.revive(worker))]


@dataclass
class RecreateTopic(PlainFault):
    """The topic of readings is deleted and made again, and the plant starts sending anew."""

    name: str = "topic deleted and made again"
    seconds: ClassVar[float] = 8.0
    audited: ClassVar[bool] = False
    environment: ClassVar[Mapping[str, str]] = {"STREAM_DETECTOR_STALL_SECONDS": "8"}

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        stage.wait_until_sent()
        delete_topic(stage.kafka.bootstrap, stage.readings)
        random_pause(rng, 0.5, 1.5)
        create_topic(stage.kafka.bootstrap, stage.readings, PARTITIONS)
        log = make_log(stage.load.seed, stage.load.steps, stage.load.assets, PARTITIONS)
        produce(stage.kafka.bootstrap, stage.readings, log)
        assert sum(ends_of(stage.kafka.bootstrap, stage.readings).values()) == len(log)
        return [stage.recovered(lambda: None, 150)]


@dataclass
class DeleteState(PlainFault):
    """The topic of state is deleted while readings come, and the worker is killed once it commits again."""

    name: str = "topic of state deleted, then worker SIGKILL"
    seconds: ClassVar[float] = 12.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        random_pause(rng, 2.0, 5.0)
        name = topic(stage.prefix, "state")
        recovery = [stage.recovered(lambda: delete_topic(stage.kafka.bootstrap, name))]
        recovery.append(stage.recovered(stage.workers[0].kill))
        return recovery


@dataclass
class DeleteAlarms(PlainFault):
    """The topics of alarms and dead letters are deleted while readings come, and the worker is killed soon after.

    What was in them is gone; all that comes afterwards must be there, also of an alarm that was raised before.
    """

    name: str = "topic of alarms deleted, then worker SIGKILL"
    seconds: ClassVar[float] = 15.0
    audited: ClassVar[bool] = False

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        random_pause(rng, 3.0, 6.0)
        (worker,) = stage.workers
        bootstrap = stage.kafka.bootstrap
        # Nothing may be published between the last look at the topics and their end.
        worker.send(signal.SIGSTOP)
        time.sleep(0.5)
        stage.seen = alarms_of(bootstrap, stage.prefix)
        stage.letters_seen = dead_letters_of(bootstrap, stage.prefix)
        assert stage.seen, "nothing was raised that could be lost"
        for name in ("alarms", "dead_letters"):
            delete_topic(bootstrap, topic(stage.prefix, name))
        recovery = [stage.recovered(lambda: worker.send(signal.SIGCONT))]
        random_pause(rng, 0.0, 5.0)
        recovery.append(stage.recovered(worker.kill))
        return recovery


@dataclass
class SameInstance(PlainFault):
    """Somebody starts a second worker under the name of the first: one of them ends within its session timeout."""

    name: str = "two workers under one instance name"
    seconds: ClassVar[float] = 25.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        random_pause(rng, 2.0, 5.0)
        (first,) = stage.workers
        stage.retire(first)
        second = stage.add_worker(start=False, instance=first.instance)
        second.start()
        wait_for(lambda: second.get("/healthz")[0] == 200 or not second.alive, 60, "the second has started")
        wait_for(
            lambda: not (first.alive and second.alive), SESSION_SECONDS + NOTICE_SECONDS,
            "one of two workers of one name has ended",
        )  # fmt: skip
        ended, left = (first, second) if not first.alive else (second, first)
        assert ended.wait() == 75, f"exit code {ended.wait()}"
        assert "give each worker a name of its own" in ended.log_text()
        return [stage.recovered(lambda: stage.keep(left))]


@dataclass
class AddPartitions(PlainFault):
    """Partitions are added to the readings and the alarms while readings come, and the worker is killed soon after."""

    name: str = "partitions added, then worker SIGKILL"
    seconds: ClassVar[float] = 20.0

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        from aiokafka.admin import NewPartitions

        random_pause(rng, 2.0, 5.0)
        grown = {name: NewPartitions(2 * PARTITIONS) for name in (stage.readings, topic(stage.prefix, "alarms"))}
        recovery = [
            stage.recovered(lambda: with_admin(stage.kafka.bootstrap, lambda admin: admin.create_partitions(grown)))
        ]
        random_pause(rng, 0.0, 12.0)
        recovery.append(stage.recovered(stage.workers[0].kill))
        return recovery


@dataclass
class SlowBatch(PlainFault):
    """One batch takes longer than the rebalance timeout while another worker joins: both then own the same records."""

    name: str = "batch longer than the rebalance timeout"
    stable: ClassVar[bool] = False
    seconds: ClassVar[float] = 25.0
    environment: ClassVar[Mapping[str, str]] = {
        "STREAM_DETECTOR_REBALANCE_TIMEOUT_SECONDS": "3",
        "CHAOS_SLOW_BATCH_SECONDS": "10",
        "CHAOS_SLOW_BATCH_AFTER_RECORDS": "500",
    }
    module: ClassVar[str] = "tests.chaos.slow_worker"

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        wait_for(lambda: "slow batch begins" in stage.workers[0].log_text(), 60, "the slow batch begins")
        return [stage.recovered(stage.add_worker)]


@dataclass
class Mixture(PlainFault):
    """Faults drawn at random, one after another."""

    name: str = "combination drawn at random"
    workers: ClassVar[int] = 2
    stable: ClassVar[bool] = False
    seconds: ClassVar[float] = 45.0
    drawn: list[str] = field(default_factory=list)

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        choices: list[Fault] = [KillWorker(), TerminateWorker(), SuspendWorker(), JoinAndLeave(), KillBroker()]
        recovery = []
        for _ in range(self.times):
            fault = rng.choice(choices)
            self.drawn.append(fault.name)
            recovery += fault.strike(stage, rng)
        return recovery
