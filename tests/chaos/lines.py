"""Lines of a table of bundles are promoted and rolled back in the log, and taken back, under load and blows."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.commands import log_options, promote, rollback
from stream_detector.settings import Settings
from tests.chaos.blows import kill_all, kill_one, random_blow
from tests.chaos.faults import PlainFault
from tests.chaos.stage import REGISTRY, Stage, Truth, random_pause
from tests.support.plant import FLEET, SENSORS, small_bundle
from tests.support.stack.workers import read_topic, topic_environment
from tests.support.switches import decided_by_table, engines_from

LINES = {"*": "plain", "machine-[0-2]": "threshold"}
GLOBS = ("*", "machine-*", "machine-[0-2]", "machine-4", "machine-5")
"""No two of them are equally specific and fit one asset, which no table may hold."""


@dataclass
class LinesInLog(PlainFault):
    """Each time a line names another bundle, is new, goes back, or is taken out, and a blow falls at a random moment.

    At times the bundle is one that the workers' registry has not, so that they stand before its record until it is
    taken back.
    """

    name: str = "lines of a table switched and rolled back in the log"
    workers: ClassVar[int] = 2
    seconds: ClassVar[float] = 8.0
    promoted: Counter[str] = field(default_factory=Counter)
    """How many promotions of a line have not been rolled back."""

    def environment_in(self, folder: Path) -> Mapping[str, str]:
        return {REGISTRY: str(Registry.create(folder / "registry").folder)}

    def bundle_in(self, folder: Path, bundle: Path) -> Path:
        """The table that the workers are started with. The operators' registry has one bundle more than theirs."""
        theirs, operators = Registry(folder / "registry"), Registry.create(folder / "operators")
        self._ids = {}
        for name, made in {
            "plain": bundle,
            "threshold": small_bundle(folder / "threshold", threshold=2.4),
            "sensors": small_bundle(folder / "sensors", threshold=1.9, sensors=SENSORS[:3]),
            "fleet": small_bundle(folder / "fleet", threshold=2.4, kind=FLEET),
            "missing": small_bundle(folder / "missing", threshold=2.2),
        }.items():
            self._ids[name] = add_bundle(operators, made, time.time(), "Kim").manifest.bundle_id
            if name != "missing":
                add_bundle(theirs, made, time.time(), "Kim")
        table = folder / "plant.toml"
        table.write_text(
            "".join(
                f'[[bundles]]\nassets = "{glob}"\nbundle = "registry/{self._ids[of]}"\n' for glob, of in LINES.items()
            )
        )
        return table

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        recovery = []
        for _ in range(self.times):
            random_pause(rng, 0.0, 1.0)
            what = rng.choice([self._promote, self._promote, self._roll_back, self._promote_in_vain])
            recovery.append(what(stage, rng))
        return recovery

    def truth(self, stage: Stage, undisturbed: Truth) -> Truth:
        lines = {glob: self._ids[of] for glob, of in LINES.items()}
        records = read_topic(stage.kafka.bootstrap, stage.readings)
        said = decided_by_table(
            records, stage.prefix, lines, engines_from(Registry(stage.folder / "registry"), Settings())
        )
        assert said.switches >= self.times, f"{said.switches} switches in the log"
        return Truth(said.alarms, said.dead_letters)

    def _promote(self, stage: Stage, rng: random.Random) -> float:
        glob = rng.choice(GLOBS)
        self._command(
            stage,
            promote.command,
            bundle=self._ids[rng.choice(["plain", "threshold", "sensors", "fleet"])],
            assets=glob,
        )
        self.promoted[glob] += 1
        random_pause(rng, 0.0, 0.6)
        return random_blow(stage, rng, self.workers)

    def _roll_back(self, stage: Stage, rng: random.Random) -> float:
        known = sorted(glob for glob, count in self.promoted.items() if count)
        if not known:
            return self._promote(stage, rng)
        glob = rng.choice(known)
        self._command(stage, rollback.command, assets=glob)
        self.promoted[glob] -= 1
        random_pause(rng, 0.0, 0.6)
        return random_blow(stage, rng, self.workers)

    def _promote_in_vain(self, stage: Stage, rng: random.Random) -> float:
        glob = rng.choice(GLOBS)
        self._command(stage, promote.command, bundle=self._ids["missing"], assets=glob)
        random_pause(rng, 0.0, 2.0)
        if rng.random() < 0.5:
            # Workers that stand commit nothing: what matters is that they are killed there.
            rng.choice(stage.workers[: self.workers]).kill()
            random_pause(rng, 0.0, 4.0)
        self._command(stage, rollback.command, assets=glob, withdraw=True)
        random_pause(rng, 0.0, 0.6)
        return rng.choice([kill_one, kill_all, random_blow])(stage, rng, self.workers)

    def _command(self, stage: Stage, command: Callable[..., None], **options: object) -> None:
        with patch.dict(os.environ, topic_environment(stage.prefix)), patch.object(log_options, "LEAD_SECONDS", 1.5):
            command(
                registry=stage.folder / "operators", who="chaos", why="a trial", bootstrap=stage.kafka.bootstrap,
                **options,
            )  # fmt: skip
