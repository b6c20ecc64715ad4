"""Machines that training never saw learn their scale while workers are killed and offsets are set back."""

import json
import random
from dataclasses import dataclass
from typing import ClassVar

from tests.chaos.blows import random_blow
from tests.chaos.faults import PlainFault
from tests.chaos.stage import Stage, random_pause
from tests.support.plant import FLEET


@dataclass
class FleetLearns(PlainFault):
    """Blows from the first step of its machines on, until after their scales are fixed."""

    name: str = "machines of a fleet learn their scale"
    workers: ClassVar[int] = 2
    seconds: ClassVar[float] = 5.0
    kind: ClassVar[str | None] = FLEET

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 0.0, 2.0)
            recovery.append(random_blow(stage, rng, self.workers))
        return recovery

    def check(self, stage: Stage) -> None:
        alarms = [json.loads(content) for content in stage.truth().alarms.values()]
        assert {alarm.get("provisional", False) for alarm in alarms} == {True, False}, "a log that proves little"
