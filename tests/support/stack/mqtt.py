"""A real MQTT broker (mosquitto), bridges between it and Kafka, and a Sparkplug edge node, as processes and clients."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from stream_detector.decoding.sparkplug_payload import Metric, Payload, payload_of
from tests.support.stack.kafka import free_port
from tests.support.stack.workers import wait_for


def program() -> str | None:
    """Where mosquitto is, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def why_no_mosquitto() -> str | None:
    """Reason to skip, or None when it is here."""
    return None if program() else "no `mosquitto` on PATH (Debian: mosquitto)"


class Mosquitto:
    """A real broker that keeps its sessions on disk, so that it may be stopped and started again."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self._program = program
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nuser {os.environ.get('USER', 'root')}\n"
        )

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def __enter__(self) -> Self:
        self.start()
        self.client = new_client()
        wait_for(lambda: connected(self.client, self.port), 10, "mosquitto listens")
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.stop()

    def publish(self, topic: str, *payloads: Any, retain: bool = False) -> None:
        for payload in payloads:
            content = payload if isinstance(payload, bytes) else json.dumps(payload)
            self.client.publish(topic, content, qos=1, retain=retain).wait_for_publish(10)


def new_client() -> Any:
    """A client that is not connected."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    return Client(CallbackAPIVersion.VERSION2)


def connected(client: Any, port: int) -> bool:
    """Whether the broker listens, and then the client is connected."""
    try:
        client.connect("127.0.0.1", port)
    except OSError:
        return False
    return True


class BridgeProcess:
    """`stream-detector mqtt-bridge` between a mosquitto and a Kafka."""

    def __init__(self, mosquitto: Mosquitto, bootstrap: str, topics: str, folder: Path, *options: str) -> None:
        self.log = folder / "bridge.log"
        self._command = [
            sys.executable, "-m", "stream_detector", "mqtt-bridge", "--mqtt", f"mqtt://127.0.0.1:{mosquitto.port}",
            "--bootstrap", bootstrap, *options,
        ]  # fmt: skip
        self.environment = {
            "STREAM_DETECTOR_TOPIC_READINGS": f"{topics}-readings",
            "STREAM_DETECTOR_TOPIC_DEAD_LETTERS": f"{topics}-dead-letters",
        }

    def start(self) -> "BridgeProcess":
        """Returns when it subscribes."""
        before = self.log.read_text().count("subscribing") if self.log.exists() else 0
        self.launch()
        wait_for(lambda: self.log.read_text().count("subscribing") > before, 30, "the bridge subscribes")
        time.sleep(0.2)
        return self

    def launch(self) -> "subprocess.Popen[str]":
        """Returns at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env={**os.environ, **self.environment}, stdout=subprocess.PIPE, stderr=log, text=True
            )
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class SparkplugNode:
    """An edge node with one device, which names its metrics at birth and uses aliases afterwards.

    Attributes:
        reborn: how often it was asked for a rebirth; it answers each time.
    """

    LOAD, SPEED = 1, 2

    def __init__(self, port: int, second: int) -> None:
        self.reborn = 0
        self._port = port
        self._second = second
        self._seq = 0
        self._sending = threading.Lock()
        self._client = new_client()
        self._client.will_set("spBv1.0/mill/NDEATH/edge-1", self._payload(0, number_of_birth(4), seq=None), qos=1)
        self._client.on_message = self._commanded

    def __enter__(self) -> Self:
        assert connected(self._client, self._port)
        self._client.subscribe("spBv1.0/mill/NCMD/edge-1", 1)
        self._client.loop_start()
        self.born()
        return self

    def __exit__(self, *_: object) -> None:
        """Its connection breaks without a word, so the broker publishes its will."""
        self._client.loop_stop()
        self._client.socket().close()

    def born(self) -> None:
        with self._sending:
            self._seq = 0
            self._send(
                "NBIRTH", 0, number_of_birth(4), Metric(name="Load", alias=self.LOAD, datatype=10, double_value=0.5)
            )
            self._send("DBIRTH", 0, Metric(name="Speed", alias=self.SPEED, datatype=3, int_value=0), device="/pump-1")

    def speed(self, number: int, after: int, lost: bool = False) -> None:
        """The device's speed so many seconds after the first; `lost`: counted, and not sent."""
        with self._sending:
            self._send("DDATA", after, Metric(alias=self.SPEED, int_value=number % 2**32), device="/pump-1", lost=lost)

    def _send(self, kind: str, after: int, *metrics: Any, device: str = "", lost: bool = False) -> None:
        payload, self._seq = self._payload(after, *metrics, seq=self._seq), (self._seq + 1) % 256
        if not lost:
            self._client.publish(f"spBv1.0/mill/{kind}/edge-1{device}", payload, qos=0).wait_for_publish(10)

    def _payload(self, after: int, *metrics: Any, seq: int | None) -> bytes:
        content: bytes = Payload(timestamp=(self._second + after) * 1000, metrics=metrics, seq=seq).SerializeToString()
        return content

    def _commanded(self, _client: Any, _data: Any, message: Any) -> None:
        (metric,) = payload_of(message.payload).metrics
        if metric.name == "Node Control/Rebirth" and metric.boolean_value:
            self.reborn += 1
            threading.Thread(target=self.born, daemon=True).start()


def number_of_birth(number: int) -> Any:
    """The metric by which a death names the session that it ends."""
    return Metric(name="bdSeq", datatype=4, long_value=number)
