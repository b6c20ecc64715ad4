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
from tests.chaos.blows import random_blow
from tests.chaos.faults import PlainFault
from tests.chaos.stage import REGISTRY, Stage, Truth, random_pause
from tests.support.plant import SENSORS, small_bundle
from tests.support.stack.workers import read_topic, topic
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
            recovery.append(random_blow(stage, rng, self.workers))
        return recovery

    def truth(self, stage: Stage, undisturbed: Truth) -> Truth:
        registry = self._registry(stage)

        def engine_of(bundle_id: str) -> Engine:
            return Engine(load_bundle(registry.folder_of(bundle_id)), limits_of(Settings()))

        records = read_topic(stage.kafka.bootstrap, stage.readings)
        said = decided_by_log(records, stage.prefix, self._first(stage), engine_of)
        assert said.switches >= self.times, f"{said.switches} switches in the log"
        return Truth(said.alarms, said.dead_letters)

    def _write(self, stage: Stage, bundle_id: str, lead_seconds: float) -> None:
        settings = Settings(bootstrap=stage.kafka.bootstrap, topic_readings=topic(stage.prefix, "readings"))
        order = Order("", stage.prefix, bundle_id, "", "chaos", "a trial")
        send_switch(settings, order, lambda: time.sleep(lead_seconds), lambda: None)

    def _registry(self, stage: Stage) -> Registry:
        return Registry(Path(stage.environment[REGISTRY]))

    def _first(self, stage: Stage) -> str:
        return load_bundle(stage.bundle).manifest.bundle_id
