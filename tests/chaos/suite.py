"""Runs faults against their oracle and writes the table."""

import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.chaos import cluster_faults, faults, fleets, lines, machine_faults, moments, operators, switches
from tests.chaos.faults import Fault
from tests.chaos.stage import Load, Result, Stage, Truth, audit, compare, undisturbed
from tests.support.marked_page import enter
from tests.support.models import ALL_KINDS
from tests.support.paths import ROOT
from tests.support.plant import CALIBRATED, FLEET, small_bundle
from tests.support.stack.kafka import Kafka

PAGE = ROOT / "docs" / "reliability.md"
KINDS = [*ALL_KINDS, CALIBRATED, FLEET]
"""Of the trials' models, in turn."""

BEGIN, END = "<!-- table of `make chaos` -->", "<!-- end of the table -->"


def whole() -> list[Fault]:
    """Every fault, as often as `make chaos` tries it."""
    return [
        faults.KillWorker(20),
        faults.KillNamelessWorker(3),
        faults.TerminateWorker(5),
        faults.SuspendWorker(2),
        faults.JoinAndLeave(3),
        faults.KillTwoOfFour(),
        faults.KillBroker(1, away_seconds=5),
        faults.KillBroker(1, away_seconds=20),
        faults.KillBroker(1, away_seconds=60),
        faults.LoseLeader(3),
        faults.ResetOffsets(2),
        faults.StartOver(),
        faults.DeleteRebuildRange(),
        faults.RecreateTopic(),
        faults.DeleteState(),
        faults.AddPartitions(),
        faults.SlowBatch(),
        machine_faults.FullDisk(),
        machine_faults.ClockJump(3),
        machine_faults.BrokerClockJump(3),
        cluster_faults.TooFewReplicas(2),
        cluster_faults.UncleanElection(),
        faults.DeleteAlarms(),
        faults.SameInstance(),
        moments.TerminateInPlan(3),
        moments.KillInFlush(6),
        operators.LedgerAgainstRebuilt(),
        faults.Mixture(4),
        switches.SwitchInLog(20),
        fleets.FleetLearns(20),
        lines.LinesInLog(20),
    ]


def short() -> list[Fault]:
    """Two to three minutes, for every push."""
    return [faults.KillWorker(3), faults.KillBroker(1, away_seconds=5), faults.ResetOffsets(1)]


class Suite:
    """Use it with `with`: keeps a broker, a cluster where one is needed, and the seed's oracle for each kind of model.

    The kinds take turns from trial to trial, and another one begins with every seed. `kind`: that of every trial.
    """

    def __init__(self, seed: int, say: Callable[[str], None] = print, kind: str | None = None) -> None:
        self.seed = seed
        self._say = say
        self._kind = kind
        self._folder = tempfile.TemporaryDirectory(prefix="stream-detector-chaos-")
        self._clusters: dict[int, Kafka] = {}
        self._bundles: dict[str, Path] = {}
        self._truths: dict[str, Truth] = {}

    def __enter__(self) -> Self:
        self.folder = Path(self._folder.name)
        return self

    def __exit__(self, *_: object) -> None:
        for kafka in self._clusters.values():
            kafka.stop()
        self._folder.cleanup()

    def cluster(self, brokers: int) -> Kafka:
        if brokers not in self._clusters:
            config = {"min.insync.replicas": "2", "broker.session.timeout.ms": "3000"} if brokers > 1 else {}
            self._clusters[brokers] = Kafka(brokers, config).start()
        return self._clusters[brokers]

    def kind_of(self, fault: Fault, number: int) -> str:
        """Of the model that the trial of this number runs."""
        kinds = list(ALL_KINDS) if fault.headless else KINDS
        return fault.kind or self._kind or kinds[(self.seed + number) % len(kinds)]

    def bundle(self, kind: str) -> Path:
        if kind not in self._bundles:
            self._bundles[kind] = small_bundle(self.folder / f"bundle-{kind}", kind=kind)
        return self._bundles[kind]

    def truth(self, kind: str) -> Truth:
        if kind not in self._truths:
            prefix = f"truth-{self.seed}-{kind}"
            truth = undisturbed(self.cluster(1), prefix, self.bundle(kind), self.folder, Load(self.seed))
            self._say(f"undisturbed, {kind}: {len(truth.alarms)} alarms, {len(truth.dead_letters)} dead letters")
            assert len(truth.alarms) > 20, "a log with few alarms proves little"
            self._truths[kind] = truth
        return self._truths[kind]

    def try_fault(self, fault: Fault, number: int) -> Result:
        """One trial. The random moments come from the seed and the fault's number."""
        kind = self.kind_of(fault, number)
        truth = self.truth(kind)
        rng = random.Random(f"{self.seed}-{number}")
        load = Load(self.seed, seconds=fault.seconds * fault.times)
        prefix = f"chaos-{self.seed}-{number}"
        folder = self.folder / prefix
        folder.mkdir()
        own = fault.cluster_in(folder)
        try:
            kafka = self.cluster(fault.brokers) if own is None else own.start()
            environment = fault.environment_in(folder)
            bundle = fault.bundle_in(folder, self.bundle(kind))
            return self._run(fault, number, truth, rng, Stage(
                kafka, prefix, bundle, folder, load, fault.workers, fault.stable,
                min(3, fault.brokers), environment, fault.module, fault.create_readings,
            ))  # fmt: skip
        finally:
            if own is not None:
                own.stop()
            fault.tidy(folder)

    def _run(self, fault: Fault, number: int, truth: Truth, rng: random.Random, prepared: Stage) -> Result:
        started = time.monotonic()
        with prepared as stage:
            try:
                recovery = fault.strike(stage, rng)
                stage.settle()
                fault.check(stage)
            except BaseException:
                for worker in stage.workers:
                    self._say(f"--- {worker.log.name}\n{worker.log_text()[-6000:]}")
                raise
            truth = fault.truth(stage, truth)
            result = compare(self.seed, fault.name, fault.times, truth, stage.truth(), recovery, stage.forgiven)
            result.kind = self.kind_of(fault, number)
            if fault.audited:
                report = audit(stage)
                result.unaccounted += 0 if report["good"] else 1
            if not result.good:
                for worker in stage.workers:
                    self._say(f"--- {worker.log.name}\n{worker.log_text()[-6000:]}")
        drawn = f" ({', '.join(fault.drawn)})" if isinstance(fault, faults.Mixture) else ""
        self._say(
            f"{'ok ' if result.good else 'BAD'} {fault.name}{drawn}, {result.kind}: "
            f"{result.lost} lost, {result.different} different, "
            f"{result.invented} invented, {result.unaccounted} unaccounted, "
            f"recovery {', '.join(f'{seconds:.1f}' for seconds in recovery)} s; {time.monotonic() - started:.0f} s"
        )
        return result


def table(results: Sequence[Result]) -> str:
    """Markdown, one row a fault; results of several seeds are added up."""
    lines = [
        "| fault | times | lost | different | invented | not accounted for | recovery, median and longest (s) |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(result.fault for result in results):
        group = [result for result in results if result.fault == name]
        seconds = sorted(second for result in group for second in result.recovery_seconds)
        spread = f"{seconds[len(seconds) // 2]:.1f}, {seconds[-1]:.1f}" if seconds else ""
        sums = [sum(getattr(result, key) for result in group) for key in ("times", "lost", "different", "invented")]
        unaccounted = sum(result.unaccounted for result in group)
        lines.append(f"| {name} | {' | '.join(map(str, sums))} | {unaccounted} | {spread} |")
    return "\n".join(lines)


def write_page(results: Sequence[Result]) -> None:
    """Put the table into docs/reliability.md, between its marks."""
    seeds = sorted({result.seed for result in results})
    said = f"Seeds {', '.join(map(str, seeds))}; Python {platform.python_version()}, Apache Kafka 4.1."
    enter(PAGE, BEGIN, END, f"{said}\n\n{table(results)}")
