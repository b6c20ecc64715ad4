"""What a plant's bridge carries from: a real mosquitto, and an instrument that publishes to it each second."""

import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.drill.site import Service
from tests.support.stack.kafka import free_port
from tests.support.stack.mqtt import Mosquitto

TICK_SECONDS = 1.0


class Bridge:
    """Mosquitto and the instrument run from `with` to its end. `service` is the bridge, for its plant to start.

    `topic` is no detector's: what the bridge cannot write is missed by nobody else.
    """

    def __init__(self, program: str, folder: Path, site: str, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self.mosquitto = Mosquitto(program, folder)
        port = free_port()
        environment = {
            "STREAM_DETECTOR_BOOTSTRAP": bootstrap,
            "STREAM_DETECTOR_SITE": site,
            "STREAM_DETECTOR_TOPIC_READINGS": topic,
            "STREAM_DETECTOR_TOPIC_DEAD_LETTERS": f"{topic}-dead-letters",
        }
        arguments = [
            "-m", "stream_detector", "mqtt-bridge", "--mqtt", f"mqtt://127.0.0.1:{self.mosquitto.port}",
            "--subscribe", "plant/#", "--metrics-port", str(port),
        ]  # fmt: skip
        self.service = Service(f"{site}-bridge", arguments, folder / "bridge.log", environment, port)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.mosquitto.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        self.mosquitto.__exit__()

    def _run(self) -> None:
        while not self._ending.wait(TICK_SECONDS):
            reading = {"sensor": "s1", "asset": "machine-mqtt", "time": time.time(), "value": 1.0}
            self.mosquitto.client.publish("plant/machine-mqtt/s1", json.dumps(reading), qos=1)
