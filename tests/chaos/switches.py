"""Bundles take turns by records in the log under load, while workers are killed and offsets are set back."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.registration import add_bundle
from stream_detector.bundle.registry import Registry
from stream_detector.decoding.control_records import Order
from stream_detector.engine.engine import Engine
from stream_detector.settings import Settings
from stream_detector.streaming.feeds.orders import send_switch
from stream_detector.streaming.state.group_limits import limits_of
from tests.chaos.faults import PlainFault, commit_by_hand
from tests.chaos.stage import REGISTRY, Stage, Truth, random_pause
from tests.support.plant import SENSORS, small_bundle
from tests.support.stack.workers import committed_of, read_topic, topic, wait_for
from tests.support.switches import decided_by_log


@dataclass
class SwitchInLog(PlainFault):
    """Each time the log names another bundle, perhaps the one before, and something happens at a random moment."""

    name: str = "switch and rollback in the log"
    workers: ClassVar[int] = 2
    seconds: ClassVar[float] = 6.0

    def environment_in(self, folder: Path) -> Mapping[str, str]:
        return {REGISTRY: str(Registry.create(folder / "registry").folder)}

    def create_readings(self, stage: Stage) -> None:
        super().create_readings(stage)
        registry = self._registry(stage)
        others = {
            "threshold": small_bundle(stage.folder / "threshold", threshold=2.4),
            "sensors": small_bundle(stage.folder / "sensors", threshold=1.9, sensors=SENSORS[:3]),
        }
        for folder in (stage.bundle, *others.values()):
            add_bundle(registry, folder, time.time(), "Kim")

    def strike(self, stage: Stage, rng: random.Random) -> list[float]:
        decides, recovery = self._first(stage), []
        for _ in range(self.times):
            decides = rng.choice([number for number in self._registry(stage).ids() if number != decides])
            random_pause(rng, 0.0, 1.5)
            self._write(stage, decides, rng.choice([0.0, 0.5]))
            random_pause(rng, 0.0, 0.6)
            event = rng.choice([self._kill, self._kill, self._kill_all, self._set_back, self._join, self._nothing])
            recovery.append(event(stage, rng))
        return recovery

    def truth(self, stage: Stage, undisturbed: Truth) -> Truth:
        registry = self._registry(stage)

        def engine_of(bundle_id: str) -> Engine:
            return Engine(load_bundle(registry.folder_of(bundle_id)), limits_of(Settings()))

        records = read_topic(stage.kafka.bootstrap, stage.readings)
        said = decided_by_log(records, stage.prefix, self._first(stage), engine_of)
        assert said.switches >= self.times, f"{said.switches} switches in the log"
        return Truth(said.alarms, said.dead_letters)

    def _kill(self, stage: Stage, rng: random.Random) -> float:
        return stage.recovered(rng.choice(stage.workers[: self.workers]).kill)

    def _kill_all(self, stage: Stage, _: random.Random) -> float:
        def kill() -> None:
            for worker in stage.workers:
                worker.kill()

        return stage.recovered(kill)

    def _join(self, stage: Stage, rng: random.Random) -> float:
        worker = stage.add_worker()
        wait_for(lambda: worker.get("/readyz")[0] == 200 or not stage.sending, 90, "the newcomer is ready")
        random_pause(rng, 0.0, 1.0)
        stage.retire(worker)
        return stage.recovered(worker.kill)

    def _set_back(self, stage: Stage, rng: random.Random) -> float:
        """All end, perhaps in the midst of a switch, and an operator sets the offsets back across some of them."""
        workers = stage.workers[: self.workers]
        for worker in workers:
            stage.retire(worker)
        for worker in workers:
            worker.kill() if rng.random() < 0.5 else worker.stop()
        offsets = committed_of(stage.kafka.bootstrap, stage.prefix)
        commit_by_hand(stage, {number: rng.randint(0, offset) for number, offset in offsets.items()})

        def revive() -> None:
            for worker in workers:
                stage.revive(worker)

        return stage.recovered(revive)

    def _nothing(self, stage: Stage, _: random.Random) -> float:
        return stage.recovered(lambda: None)

    def _write(self, stage: Stage, bundle_id: str, lead_seconds: float) -> None:
        settings = Settings(bootstrap=stage.kafka.bootstrap, topic_readings=topic(stage.prefix, "readings"))
        order = Order("", stage.prefix, bundle_id, "", "chaos", "a trial")
        send_switch(settings, order, lambda: time.sleep(lead_seconds), lambda: None)

    def _registry(self, stage: Stage) -> Registry:
        return Registry(Path(stage.environment[REGISTRY]))

    def _first(self, stage: Stage) -> str:
        return load_bundle(stage.bundle).manifest.bundle_id
