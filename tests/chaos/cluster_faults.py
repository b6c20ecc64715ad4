"""Faults of a cluster: too few copies in step, and a leader that lacks what was acknowledged."""

import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.chaos.faults import PlainFault
from tests.chaos.stage import PARTITIONS, Stage, random_pause
from tests.support.plant import Record, make_log
from tests.support.stack.kafka import Kafka, with_admin
from tests.support.stack.workers import caught_up, ends_of, patiently, produce, topic, wait_for

OUT_OF_STEP_SECONDS = 60.0
"""A broker that died is out of step once its session is over; on a busy machine that takes as long as it takes."""
SEEN_SECONDS = 1.0
"""What was appended before counts as written then."""
REFUSED_SECONDS = 4.0


@dataclass
class TooFewReplicas(PlainFault):
    """A broker dies, and what workers write asks for more copies than are left; then it comes back."""

    name: str = "fewer copies than min.insync.replicas"
    brokers: ClassVar[int] = 3
    seconds: ClassVar[float] = 25.0

    def cluster_in(self, folder: Path) -> Kafka:
        return Kafka(3, {"min.insync.replicas": "3", "broker.session.timeout.ms": "3000"})

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        assert isinstance(stage.kafka, Kafka)
        recovery = []
        self._demand_all_copies(stage)
        for _ in range(self.times):
            random_pause(rng, 1.0, 3.0)
            broker = rng.choice(stage.kafka.brokers)
            broker.kill()
            wait_for(lambda: self._out_of_step(stage), OUT_OF_STEP_SECONDS, "the others know that it is gone")
            time.sleep(SEEN_SECONDS)
            before = self._written(stage)
            time.sleep(REFUSED_SECONDS)
            after = self._written(stage)
            assert after == before, f"something was taken that too few brokers have: {before}, then {after}"
            broker.start()
            recovery.append(stage.recovered(lambda: None))
        return recovery

    def _demand_all_copies(self, stage: Stage) -> None:
        """The worker's topics ask for two of three copies by themselves, and then one broker may be away."""
        from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

        all_copies = ConfigEntry("min.insync.replicas", str(self.brokers), incremental_operation=AlterConfigOpType.SET)
        changes = [
            ConfigResource(ResourceType.TOPIC, topic(stage.prefix, name), incremental_configs=[all_copies])
            for name in ("alarms", "state", "dead_letters")
        ]
        admin = AdminClient({"bootstrap.servers": stage.kafka.bootstrap, "log_level": 0})
        for done in admin.incremental_alter_configs(changes).values():
            done.result(30)

    def _out_of_step(self, stage: Stage) -> bool:
        """Whether no partition that is written counts on all brokers."""
        names = [topic(stage.prefix, "alarms"), topic(stage.prefix, "state"), "__consumer_offsets"]
        found = patiently(lambda: with_admin(stage.kafka.bootstrap, lambda admin: admin.describe_topics(names)))
        return all(len(part["isr"]) < self.brokers for described in found for part in described["partitions"])

    def _written(self, stage: Stage) -> tuple[dict[int, int], int]:
        return ends_of(stage.kafka.bootstrap, topic(stage.prefix, "alarms")), stage.committed()


@dataclass
class UncleanElection(PlainFault):
    """A broker that was away for a while leads the readings, and all that came meanwhile is cut off their end.

    The plant notices and sends that again. The readings alone have so few copies; the workers' topics have three.
    """

    name: str = "unclean leader election cuts the readings"
    brokers: ClassVar[int] = 3
    seconds: ClassVar[float] = 15.0

    def cluster_in(self, folder: Path) -> Kafka:
        return Kafka(3, {"min.insync.replicas": "2", "broker.session.timeout.ms": "3000"})

    def create_readings(self, stage: Stage) -> None:
        from aiokafka.admin import NewTopic

        new = NewTopic(
            stage.readings, -1, -1, replica_assignments={number: [1, 2] for number in range(PARTITIONS)},
            topic_configs={"unclean.leader.election.enable": "true", "min.insync.replicas": "1"},
        )  # fmt: skip

        async def create(admin: Any) -> None:
            await admin.create_topics([new])

        with_admin(stage.kafka.bootstrap, create)
        wait_for(lambda: len(ends_of(stage.kafka.bootstrap, stage.readings)) == PARTITIONS, 30, "the readings exist")

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        assert isinstance(stage.kafka, Kafka)
        leader, follower = stage.kafka.brokers[:2]
        bootstrap = stage.kafka.bootstrap
        random_pause(rng, 2.0, 5.0)
        follower.kill()
        stage.wait_until_sent()
        whole = ends_of(bootstrap, stage.readings)
        leader.kill()
        follower.start()
        wait_for(lambda: sum(_ends(stage).values()) not in (0, sum(whole.values())), 60, "another broker leads", 0.5)
        random_pause(rng, 0.0, 8.0)
        cut = ends_of(bootstrap, stage.readings)
        produce(bootstrap, stage.readings, _rest(stage, cut))
        assert ends_of(bootstrap, stage.readings) == whole
        leader.start()
        return [wait_for(lambda: caught_up(bootstrap, stage.prefix), 150, "everything is committed again")]


def _ends(stage: Stage) -> dict[int, int]:
    """Nothing while a partition has no leader."""
    from aiokafka.errors import KafkaError

    try:
        return ends_of(stage.kafka.bootstrap, stage.readings)
    except (KafkaError, TimeoutError):
        return {}


def _rest(stage: Stage, ends: dict[int, int]) -> list[Record]:
    """What the log lacks from these offsets on."""
    rest, count = [], defaultdict[int, int](int)
    for record in make_log(stage.load.seed, stage.load.steps, stage.load.assets, PARTITIONS):
        if count[record.partition] >= ends[record.partition]:
            rest.append(record)
        count[record.partition] += 1
    return rest
