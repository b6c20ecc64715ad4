"""Faults that strike at a moment of the worker's own life, which no clock would hit."""

import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.chaos.faults import PlainFault
from tests.chaos.stage import Stage, random_pause
from tests.support.stack.workers import wait_for

SLOW_PLAN_SECONDS = 3.0


@dataclass
class KillInFlush(PlainFault):
    """The kernel kills the worker (as it does when memory is short) at one point of its flush after another."""

    name: str = "killed while flushing, as for memory"
    seconds: ClassVar[float] = 10.0
    module: ClassVar[str] = "tests.chaos.moment_worker"

    def environment_in(self, folder: Path) -> Mapping[str, str]:
        strikes = folder / "strikes"
        strikes.mkdir()
        return {
            "CHAOS_STRIKES": str(strikes),
            "CHAOS_STRIKE_TIMES": str(self.times),
            "CHAOS_STRIKE_SEED": folder.name,
        }

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        strikes, recovery = stage.folder / "strikes", []
        for number in range(self.times):
            wait_for(lambda n=number: len(list(strikes.iterdir())) > n, 60, "the worker is killed in a flush")  # type: ignore[misc]
            recovery.append(stage.recovered(lambda: None))
        return recovery


@dataclass
class TerminateInPlan(PlainFault):
    """SIGTERM while a worker still plans where to begin; it must end in order."""

    name: str = "worker SIGTERM during a plan"
    seconds: ClassVar[float] = 15.0
    module: ClassVar[str] = "tests.chaos.moment_worker"
    environment: ClassVar[Mapping[str, str]] = {"CHAOS_SLOW_PLAN_SECONDS": str(SLOW_PLAN_SECONDS)}

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        (worker,) = stage.workers
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 0.0, 2.0)
            plans = worker.log_text().count("plan begins")
            worker.kill()
            wait_for(lambda n=plans: worker.log_text().count("plan begins") > n, 60, "the next plan begins")  # type: ignore[misc]
            random_pause(rng, 0.0, SLOW_PLAN_SECONDS)

            def end() -> None:
                worker.send(signal.SIGTERM)
                code = worker.wait(15)
                assert code == 0, f"exit code {code} after SIGTERM"

            recovery.append(stage.recovered(end))
        return recovery
