"""A plant's sensors: a row of every machine each second, on a clock that runs ten times as fast as ours."""

import json
import random
import threading
import time
from collections.abc import Callable

from confluent_kafka import Producer

from tests.support.plant import SENSORS, STEP_SECONDS

MACHINES = tuple(f"machine-{number}" for number in range(8))
PARTITIONS = 4
TICK_SECONDS = 1.0
"""Of our clock; each is one step of the plant's."""
HISTORY_SECONDS = 6 * 3600.0
"""So far back the plant's clock begins, that it does not overtake ours."""

Values = dict[str, float | str]
Change = Callable[[Values], Values | None]


class Feed:
    """Sends from `start` to `stop`. A fault changes what a machine sends, or adds records.

    Attributes:
        changes: machine -> what becomes of its values; None = it sends nothing.
        extra: asked each second for further (key, value) records.
        quiet: nothing at all is sent.
    """

    def __init__(self, bootstrap: str, topic: str, seed: int) -> None:
        self.changes: dict[str, Change] = {}
        self.extra: list[Callable[[float], list[tuple[bytes, bytes]]]] = []
        self.quiet = False
        self._topic = topic
        self._random = random.Random(seed)
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
        self._now = time.time() - HISTORY_SECONDS
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._ending.wait(TICK_SECONDS):
            if not self.quiet:
                self._tick()
            self._producer.poll(0)

    def _tick(self) -> None:
        self._now += STEP_SECONDS
        for number, machine in enumerate(MACHINES):
            values: Values | None = {sensor: self._random.gauss(0.0, 1.0) for sensor in SENSORS}
            change = self.changes.get(machine)
            values = values if change is None or values is None else change(values)
            if values is not None:
                row = json.dumps({"time": self._now, "values": values}).encode()
                self._producer.produce(self._topic, row, machine.encode(), number % PARTITIONS)
        for source in list(self.extra):
            for key, value in source(self._now):
                self._producer.produce(self._topic, value, key, 0)
