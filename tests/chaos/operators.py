"""What operators and the forwarder do beside a worker that is killed: events late and corrected, feedback repeated."""

import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from stream_detector.messages import Alarm, Feedback, FeedbackAction, LoggedEvent, Message, from_iso, to_bytes, to_iso
from tests.chaos.faults import PlainFault
from tests.chaos.stage import Stage, random_pause
from tests.support.paths import ROOT
from tests.support.plant import BASE, Record
from tests.support.stack.http_receiver import HttpReceiver
from tests.support.stack.kafka import free_port
from tests.support.stack.workers import (
    committed_offsets_of,
    ends_of,
    fetch,
    produce,
    read_topic,
    topic,
    topic_environment,
    wait_for,
)

ROUNDS = 6
QUIET_SECONDS = 60.0
ACTIONS: tuple[FeedbackAction, ...] = ("real", "false-alarm", "acknowledge")


@dataclass
class Forwarder:
    """`stream-detector forward` as a process."""

    stage: Stage
    receiver: HttpReceiver
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Forwarder":
        environment = {
            **os.environ,
            **topic_environment(self.stage.prefix),
            "STREAM_DETECTOR_BOOTSTRAP": self.stage.kafka.bootstrap,
            "STREAM_DETECTOR_FORWARD_METRICS_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "stream_detector", "forward", "--webhook", self.receiver.url]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
        wait_for(lambda: fetch(self.port, "/readyz")[0] == 200, 90, "the forwarder is ready")
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ledger(self) -> dict[str, float]:
        """The gauges; the histograms of leads and delays only grow, by what they have seen first."""
        lines = re.findall(
            r"^(stream_detector_ledger_(?!lead_|delay_)\S+) (\S+)$", fetch(self.port, "/metrics")[1], re.MULTILINE
        )
        return {name: float(value) for name, value in lines if value != "NaN"}  # which equals nothing, itself neither

    def wait_until_quiet(self) -> None:
        """Until the keeper of states has taken every alarm and every feedback."""
        stage = self.stage
        names = [topic(stage.prefix, name) for name in ("alarms", "feedback")]

        def quiet() -> bool:
            committed = committed_offsets_of(stage.kafka.bootstrap, f"{stage.prefix}-forward-states")
            ends = {(name, n): end for name in names for n, end in ends_of(stage.kafka.bootstrap, name).items() if end}
            return all(committed.get(place, 0) >= end for place, end in ends.items())

        wait_for(quiet, QUIET_SECONDS, "the forwarder has taken everything", each=0.5)


@dataclass
class LedgerAgainstRebuilt(PlainFault):
    """People log events late and twice, correct and retract them, and answer alarms, while worker and forwarder die.

    The ledger that was kept live must be the one that is rebuilt from the topics, and feedback that is sent once more
    must change nothing.
    """

    name: str = "events late and corrected, feedback repeated"
    seconds: ClassVar[float] = 30.0
    forwarder: Forwarder | None = None
    receiver: HttpReceiver | None = None
    said: list[Record] = field(default_factory=list)

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        self.receiver = HttpReceiver()
        self.forwarder = Forwarder(stage, self.receiver, stage.folder / "forwarder.log").start()
        (worker,) = stage.workers
        held_back: list[Record] = []
        answered: set[str] = set()
        recovery = []
        for number in range(ROUNDS):
            random_pause(rng, 2.0, 4.0)
            alarms = [
                Alarm.model_validate_json(r.value)
                for r in read_topic(stage.kafka.bootstrap, topic(stage.prefix, "alarms"))
            ]
            fresh = [alarm for alarm in alarms if alarm.id not in answered]
            answered |= {alarm.id for alarm in fresh}
            events = [record for alarm in fresh for record in _events(rng, alarm)]
            rng.shuffle(events)
            late = len(events) // 3
            now, held_back = held_back + events[late:], events[:late]
            produce(stage.kafka.bootstrap, topic(stage.prefix, "events"), now)
            answers = [record for alarm in fresh for record in _answers(rng, alarm)]
            produce(stage.kafka.bootstrap, topic(stage.prefix, "feedback"), answers)
            self.said += answers
            if number == ROUNDS // 2:
                recovery.append(stage.recovered(worker.kill))
            if number == ROUNDS // 2 + 1:
                self.forwarder.kill()
                self.forwarder.start()
        produce(stage.kafka.bootstrap, topic(stage.prefix, "events"), held_back)
        return recovery

    def check(self, stage: Stage) -> None:
        forwarder, bootstrap = self.forwarder, stage.kafka.bootstrap
        assert forwarder is not None
        forwarder.wait_until_quiet()
        states = read_topic(bootstrap, topic(stage.prefix, "alarm_states"))
        assert states, "no alarm has a state"
        assert self.said, "nobody said anything"
        produce(bootstrap, topic(stage.prefix, "feedback"), self.said)
        forwarder.wait_until_quiet()
        again = read_topic(bootstrap, topic(stage.prefix, "alarm_states"))
        before = {(record.partition, record.offset) for record in states}
        changed = [record.value for record in again if (record.partition, record.offset) not in before]
        assert not changed, f"repeated feedback changed states: {changed[:5]}"
        live = forwarder.ledger()
        forwarder.kill()
        forwarder.start()
        wait_for(lambda: len(forwarder.ledger()) >= len(live), QUIET_SECONDS, "the ledger is rebuilt")
        rebuilt = forwarder.ledger()
        differing = {name: (live.get(name), rebuilt[name]) for name in rebuilt if live.get(name) != rebuilt[name]}
        assert live, "the ledger is empty"
        assert not differing, f"the ledger (live, rebuilt): {differing}"

    def tidy(self, folder: Path) -> None:
        if self.forwarder is not None:
            self.forwarder.kill()
        if self.receiver is not None:
            self.receiver.stop()


def _record(message: Message, asset: str) -> Record:
    return Record(0, asset.encode(), to_bytes(message))


def _events(rng: random.Random, alarm: Alarm) -> list[Record]:
    """Versions of up to one event near the alarm: in its lead window or not, moved, retracted, repeated."""
    if rng.random() < 0.4:
        return []
    raised, number = from_iso(alarm.raised_at), rng.randrange(10**9)
    versions = []
    for version in range(rng.randint(1, 3)):
        body = {
            "event": "break",
            "time": round(raised + rng.uniform(-100, 400), 1),
            "id": f"e{number}" if rng.random() < 0.9 else None,
            "logged_at": to_iso(BASE + 60.0 * version) if rng.random() < 0.9 else None,
            "retracted": rng.random() < 0.15,
        }
        versions.append(_record(LoggedEvent.model_validate(body), alarm.asset))
    return versions + [record for record in versions if rng.random() < 0.2]


def _answers(rng: random.Random, alarm: Alarm) -> list[Record]:
    """Up to three answers, in the order in which they were given; at times one shelves the asset or lets go of it."""
    answers = []
    for place in range(rng.randint(0, 3)):
        at = to_iso(from_iso(alarm.raised_at) + 30.0 * place + rng.uniform(0, 20))
        if rng.random() < 0.1:
            action: FeedbackAction = rng.choice(("out-of-service", "in-service"))
            said = Feedback(asset=alarm.asset, action=action, who="operator", at=at, reason="maintenance")
        else:
            said = Feedback(asset=alarm.asset, action=rng.choice(ACTIONS), alarm=alarm.id, who="operator", at=at)
        answers.append(_record(said, alarm.asset))
    return answers
