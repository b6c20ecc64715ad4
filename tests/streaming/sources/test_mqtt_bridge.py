"""The bridge between a real MQTT broker (mosquitto) and a real Kafka."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.errors import UsageError
from stream_detector.messages import Reading
from stream_detector.streaming.sources.mqtt_bridge import MqttAddress, Route
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic, free_port
from tests.support.stack.topics import records_of

BY_TOPIC = {"topic_pattern": "plant/(?P<asset>[^/]+)/(?P<sensor>[^/]+)", "time": "ts", "value": "v"}


def test_the_asset_of_a_message_comes_from_it_or_its_topic_or_the_sensors_map_or_the_command() -> None:
    def key(mapping: dict[str, Any], topic: str, payload: dict[str, Any]) -> bytes | None:
        route = Route(FieldMapping(**mapping), {"x7": "pm-7"}, "pm-1")
        return route.record(topic, json.dumps(payload).encode(), 0.0)[0]

    assert key(BY_TOPIC, "plant/pm-2/x7", {"ts": 1, "v": 1.0}) == b"pm-2"
    assert key({}, "any", {"time": 1, "sensor": "x7", "value": 1.0, "asset": "pm-3"}) == b"pm-3"
    assert key({}, "any", {"time": 1, "sensor": "x7", "value": 1.0}) == b"pm-7"
    assert key({}, "any", {"time": 1, "sensor": "x8", "value": 1.0}) == b"pm-1"


@pytest.mark.parametrize("payload", [b"\xff no json", b'{"readings":[1]}', b'{"readings":[[]]}'])
def test_what_cannot_be_understood_goes_as_it_is(payload: bytes) -> None:
    assert Route(FieldMapping(), {}, "pm-1").record("any", payload, 0.0) == (b"pm-1", payload)


NO_ADDRESSES = ["localhost:1883", "http://localhost", "mqtt://", "mqtt://host:port", "mqtt://user:secret@host"]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        MqttAddress.parse(url)


def test_an_address_has_the_usual_port_and_its_password_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a secret\n")
    assert MqttAddress.parse("mqtt://broker") == MqttAddress("broker", 1883, tls=False)
    found = MqttAddress.parse("mqtts://me@broker", tmp_path / "password")
    assert (found.port, found.tls, found.username, found.password) == (8883, True, "me", "a secret")


class Mosquitto:
    """A real broker that keeps its sessions on disk."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self._program = program
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nuser {os.environ.get('USER', 'root')}\n"
        )

    def __enter__(self) -> Self:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        self.client = Client(CallbackAPIVersion.VERSION2)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.connect("127.0.0.1", self.port)
                break
            except OSError:
                assert time.monotonic() < deadline, "mosquitto does not listen"
                time.sleep(0.05)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self._process.terminate()
        self._process.wait(10)

    def publish(self, topic: str, *payloads: Any, retain: bool = False) -> None:
        for payload in payloads:
            content = payload if isinstance(payload, bytes) else json.dumps(payload)
            self.client.publish(topic, content, qos=1, retain=retain).wait_for_publish(10)


StartBridge = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no `mosquitto` on PATH (Debian: mosquitto)")
    with Mosquitto(program, tmp_path) as running:
        yield running


@pytest.fixture
def bridge(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, tmp_path: Path
) -> Iterator[StartBridge]:
    create_topic(kafka.bootstrap, unique_name, partitions=2)
    (tmp_path / "mapping.json").write_text(json.dumps(BY_TOPIC))
    running = []

    def start() -> Any:
        log = (tmp_path / "bridge.log").open("ab")
        process = subprocess.Popen(
            [
                sys.executable, "-m", "stream_detector", "mqtt-bridge", "--mqtt", f"mqtt://127.0.0.1:{mosquitto.port}",
                "--subscribe", "plant/#", "--mapping", str(tmp_path / "mapping.json"), "--bootstrap", kafka.bootstrap,
            ],
            env={**os.environ, "STREAM_DETECTOR_TOPIC_READINGS": unique_name},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )  # fmt: skip
        running.append(process)
        deadline = time.monotonic() + 20
        before = (tmp_path / "bridge.log").read_text().count("subscribing")
        while (tmp_path / "bridge.log").read_text().count("subscribing") == before:
            assert time.monotonic() < deadline, (tmp_path / "bridge.log").read_text()
            time.sleep(0.05)
        time.sleep(0.2)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.kafka
def test_readings_come_through_under_their_asset_and_a_killed_bridge_loses_none(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, bridge: StartBridge
) -> None:
    first = bridge()
    mosquitto.publish("plant/pm-1/x7", *({"ts": 1_777_636_800 + n, "v": float(n)} for n in range(20)))
    assert len({record.value for record in records_of(kafka.bootstrap, unique_name, 20)}) == 20
    first.kill()
    first.wait()
    # The session at the MQTT broker outlives the bridge.
    mosquitto.publish("plant/pm-2/x8", *({"ts": 1_777_636_900 + n, "v": float(n)} for n in range(20)), b"not json")
    second = bridge()
    found = records_of(kafka.bootstrap, unique_name, 41)
    second.send_signal(signal.SIGTERM)
    assert second.wait(15) == 0
    readings = [Reading.model_validate_json(record.value) for record in found if record.value != b"not json"]
    assert {(record.key) for record in found if record.value != b"not json"} == {b"pm-1", b"pm-2"}
    assert len({(reading.sensor, reading.time) for reading in readings}) == 40
    assert b"not json" in {record.value for record in found}
