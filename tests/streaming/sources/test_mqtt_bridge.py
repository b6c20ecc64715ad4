"""The bridge between a real MQTT broker (mosquitto) and a real Kafka."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.errors import UsageError
from stream_detector.messages import Reading
from stream_detector.settings import Settings
from stream_detector.streaming.sources.mqtt_bridge import MqttAddress, MqttBridge, Route
from stream_detector.streaming.sources.placing import Placing
from stream_detector.streaming.sources.primary_host import PrimaryHost
from tests.streaming.sources.test_carrier import FakeProducer
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic, free_port, why_no_kafka
from tests.support.stack.mqtt import (
    BridgeProcess,
    Mosquitto,
    SparkplugNode,
    connected,
    new_client,
    program,
    why_no_mosquitto,
)
from tests.support.stack.processes import summed
from tests.support.stack.secured import secured_kafka
from tests.support.stack.topics import records_of
from tests.support.stack.workers import fetch, wait_for

BY_TOPIC = {"topic_pattern": "plant/(?P<asset>[^/]+)/(?P<sensor>[^/]+)", "time": "ts", "value": "v"}


def test_the_asset_of_a_message_comes_from_it_or_its_topic_or_the_sensors_map_or_the_command() -> None:
    def key(mapping: dict[str, Any], topic: str, payload: dict[str, Any]) -> bytes | None:
        route = Route(FieldMapping(**mapping), Placing({"x7": "pm-7"}), "pm-1")
        ((found, _),) = route.records(topic, json.dumps(payload).encode(), 0.0)
        return found

    assert key(BY_TOPIC, "plant/pm-2/x7", {"ts": 1, "v": 1.0}) == b"pm-2"
    assert key({}, "any", {"time": 1, "sensor": "x7", "value": 1.0, "asset": "pm-3"}) == b"pm-3"
    assert key({}, "any", {"time": 1, "sensor": "x7", "value": 1.0}) == b"pm-7"
    assert key({}, "any", {"time": 1, "sensor": "x8", "value": 1.0}) == b"pm-1"


@pytest.mark.parametrize("payload", [b"\xff no json", b'{"readings":[1]}', b'{"readings":[[]]}'])
def test_what_cannot_be_understood_goes_as_it_is(payload: bytes) -> None:
    assert Route(FieldMapping(), Placing({}), "pm-1").records("any", payload, 0.0) == [(b"pm-1", payload)]


def test_readings_of_several_machines_in_one_message_go_to_each_of_them() -> None:
    array = [{"sensor": "x1", "asset": "pm-1", "value": 1}, {"sensor": "x1", "asset": "pm-2", "value": 2}]
    message = json.dumps({"time": 1, "readings": array}).encode()
    placed = Route(FieldMapping(), Placing({}), None).records("any", message, 0.0)
    assert [(key, [each["value"] for each in json.loads(value or b"")["readings"]]) for key, value in placed] == [
        (b"pm-1", [1]),
        (b"pm-2", [2]),
    ]


NO_ADDRESSES = [
    *("localhost:1883", "http://localhost", "mqtt://", "mqtt://host:port"),
    *("mqtt://user:secret@host", "tcp://user:secret@host:1883", "mqtt://user:secret@host:port"),
]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_an_address_that_is_none_is_refused_and_no_password_is_shown(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        MqttAddress.parse(url)
    assert "secret" not in str(refused.value)


def test_an_address_has_the_usual_port_and_its_password_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a secret\n")
    assert MqttAddress.parse("mqtt://broker") == MqttAddress("broker", 1883, tls=False)
    found = MqttAddress.parse("mqtts://me@broker", tmp_path / "password")
    assert (found.port, found.tls, found.username, found.password) == (8883, True, "me", "a secret")


StartBridge = Callable[..., BridgeProcess]
BIRTH_SECOND = 1_777_593_720


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    found = program()
    if found is None:
        pytest.skip(why_no_mosquitto() or "")
    with Mosquitto(found, tmp_path) as running:
        yield running


@pytest.fixture
def bridge(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, tmp_path: Path
) -> Iterator[StartBridge]:
    (tmp_path / "mapping.json").write_text(json.dumps(BY_TOPIC))
    running = []

    def start(*options: str) -> BridgeProcess:
        usual = ("--subscribe", "plant/#", "--mapping", str(tmp_path / "mapping.json"))
        process = BridgeProcess(mosquitto, kafka.bootstrap, unique_name, tmp_path, *(options or usual))
        running.append(process)
        return process.start()

    yield start
    for process in running:
        process.kill()


def speeds(readings: list[dict[str, Any]]) -> list[tuple[float, Any]]:
    return [(each["time"] - BIRTH_SECOND, each["value"]) for each in readings if each["sensor"] == "Speed"]


@pytest.mark.kafka
def test_readings_come_through_under_their_asset_and_a_killed_bridge_loses_none(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, bridge: StartBridge
) -> None:
    readings_topic = f"{unique_name}-readings"
    create_topic(kafka.bootstrap, readings_topic, partitions=2)
    first = bridge()
    mosquitto.publish("plant/pm-1/x7", *({"ts": 1_777_636_800 + n, "v": float(n)} for n in range(20)))
    assert len({record.value for record in records_of(kafka.bootstrap, readings_topic, 20)}) == 20
    first.kill()
    # The session at the MQTT broker outlives the bridge.
    mosquitto.publish("plant/pm-2/x8", *({"ts": 1_777_636_900 + n, "v": float(n)} for n in range(20)), b"not json")
    second = bridge()
    found = records_of(kafka.bootstrap, readings_topic, 41)
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(15) == 0
    readings = [Reading.model_validate_json(record.value) for record in found if record.value != b"not json"]
    assert {(record.key) for record in found if record.value != b"not json"} == {b"pm-1", b"pm-2"}
    assert len({(reading.sensor, reading.time) for reading in readings}) == 40
    assert b"not json" in {record.value for record in found}


@pytest.mark.kafka
def test_topics_are_made_at_the_start_and_a_message_that_kafka_refuses_is_a_dead_letter_and_stops_no_other(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, bridge: StartBridge
) -> None:
    bridge()
    mosquitto.publish("plant/pm-1/x7", b"x" * 2_000_000)
    mosquitto.publish("plant/pm-1/x7", *({"ts": 1_777_636_800 + n, "v": float(n)} for n in range(30)))
    assert len({record.value for record in records_of(kafka.bootstrap, f"{unique_name}-readings", 30)}) == 30
    (letter,) = records_of(kafka.bootstrap, f"{unique_name}-dead-letters", 1)
    found = json.loads(letter.value or b"")
    assert (found["topic"], found["reason"]) == ("mqtt:plant/pm-1/x7", "refused")
    assert found["detail"].startswith("2000000 bytes: ")


@pytest.mark.kafka
@pytest.mark.slow
def test_a_bridge_takes_the_password_that_its_user_was_given_and_loses_nothing(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    reason = why_no_kafka()
    if reason is not None:
        pytest.skip(reason)
    (tmp_path / "mapping.json").write_text(json.dumps(BY_TOPIC))
    with secured_kafka(tmp_path) as secured:
        bridge = BridgeProcess(
            mosquitto, secured.kafka.address("SCRAM"), "renewed", tmp_path, "--subscribe", "plant/#", "--mapping",
            str(tmp_path / "mapping.json"),
        )  # fmt: skip
        bridge.environment |= secured.variables("SCRAM", tmp_path)
        bridge.start()
        try:
            mosquitto.publish("plant/pm-1/x7", {"ts": 1_777_636_800, "v": 1.0})
            assert len(records_of(secured.kafka.bootstrap, "renewed-readings", 1)) == 1
            secured.give_password("another")
            (tmp_path / "password").write_text("another")
            mosquitto.publish("plant/pm-1/x7", *({"ts": 1_777_636_801 + n, "v": float(n)} for n in range(20)))
            wait_for(lambda: bridge.log.read_text().count("subscribing") == 2, 90, "it begins again", each=0.5)
            mosquitto.publish("plant/pm-1/x7", {"ts": 1_777_636_900, "v": 1.0})
            found = records_of(secured.kafka.bootstrap, "renewed-readings", 22)
            assert len({record.value for record in found}) == 22
            assert bridge.process.poll() is None, "the same process goes on"
        finally:
            bridge.kill()


@pytest.mark.kafka
@pytest.mark.slow
def test_what_was_published_while_the_topic_was_gone_comes_when_it_is_there_again(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, bridge: StartBridge
) -> None:
    running, readings_topic = bridge(), f"{unique_name}-readings"
    mosquitto.publish("plant/pm-1/x7", {"ts": 1_777_636_700, "v": 1.0})
    assert records_of(kafka.bootstrap, readings_topic, 1)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([readings_topic])[readings_topic].result(10)
    mosquitto.publish("plant/pm-1/x7", *({"ts": 1_777_636_800 + n, "v": float(n)} for n in range(40)))
    wait_for(lambda: "takes nothing" in running.log.read_text(), 90, "the bridge says so")
    create_topic(kafka.bootstrap, readings_topic, partitions=2)
    mosquitto.publish("plant/pm-1/x7", *({"ts": 1_777_636_900 + n, "v": float(n)} for n in range(60)))
    found = records_of(kafka.bootstrap, readings_topic, 100, seconds=60)
    assert len({record.value for record in found}) == 100


@pytest.mark.kafka
def test_a_missing_topic_that_may_not_be_made_ends_the_bridge_with_a_sentence(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    running = BridgeProcess(mosquitto, kafka.bootstrap, unique_name, tmp_path, "--sparkplug")
    running.environment["STREAM_DETECTOR_CREATE_TOPICS"] = "false"
    assert running.launch().wait(60) == 1
    running.kill()
    assert f"topics ['{unique_name}-dead-letters', '{unique_name}-readings'] do not exist" in running.log.read_text()


@pytest.mark.kafka
def test_edge_nodes_are_told_when_their_host_is_there_when_it_was_killed_and_when_it_ended(
    mosquitto: Mosquitto, bridge: StartBridge
) -> None:
    said: list[dict[str, Any]] = []
    mosquitto.client.on_message = lambda _client, _data, message: said.append(json.loads(message.payload))
    mosquitto.client.subscribe("spBv1.0/STATE/historian", 1)
    running = bridge("--sparkplug", "--host-id", "historian")
    wait_for(lambda: len(said) == 1, 20, "it is there")
    running.kill()
    wait_for(lambda: len(said) == 2, 20, "the broker speaks its will")
    assert said == [{**said[0], "online": True}, {**said[0], "online": False}]
    again = bridge("--sparkplug", "--host-id", "historian")
    wait_for(lambda: said[-1]["online"], 20, "it is back")
    assert said[-1]["timestamp"] > said[0]["timestamp"]
    # A will that comes late, of a connection before.
    mosquitto.publish("spBv1.0/STATE/historian", said[1], retain=True)
    wait_for(lambda: said[-1]["online"], 20, "it says that it is there")
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait(15) == 0
    wait_for(lambda: not said[-1]["online"], 20, "it says that it ends")
    kept: list[bytes] = []
    later = new_client()
    later.on_message = lambda _client, _data, message: kept.append(message.payload)
    assert connected(later, mosquitto.port)
    later.loop_start()
    later.subscribe("spBv1.0/STATE/historian", 1)
    wait_for(lambda: bool(kept), 10, "who comes later hears it too")
    later.disconnect()
    later.loop_stop()
    assert json.loads(kept[0]) == said[-1]


@pytest.mark.parametrize("host_id", ["", "plant/historian", "plant+", "#"])
def test_a_name_of_a_host_that_cannot_be_part_of_a_topic_is_refused(host_id: str) -> None:
    with pytest.raises(UsageError, match=r"a name without /, \+ and # is wanted"):
        PrimaryHost(host_id)


@pytest.mark.slow
def test_a_broker_that_cannot_be_reached_is_named_with_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    route = Route(FieldMapping(), Placing({}), None)
    address = MqttAddress("127.0.0.1", free_port(), tls=False)
    bridge = MqttBridge(Settings(), address, ["#"], route, "id", open_producer=lambda *_: FakeProducer())
    client = bridge._make_client()
    client.connect_async(address.host, address.port)
    following = threading.Thread(target=bridge._follow, args=(client,), daemon=True)
    following.start()
    wait_for(lambda: bool(caplog.messages), 10, "it says so")
    client.disconnect()
    following.join(10)
    assert f"127.0.0.1:{address.port} cannot be reached: [Errno 111] Connection refused" in caplog.messages[0]
    assert bridge.why_not_ready() == "the MQTT broker is not connected"


class BreakingClient:
    """A client whose connection breaks while it says its last word, and is made again."""

    def __init__(self) -> None:
        self.said: list[bool] = []

    def is_connected(self) -> bool:
        return True

    def subscribe(self, _topic: str, _qos: int) -> None:
        """Nothing comes."""

    def publish(self, _topic: str, payload: bytes, _qos: int, retain: bool) -> "BreakingClient":
        assert retain
        self.said.append(json.loads(payload)["online"])
        return self

    def wait_for_publish(self, _timeout: float) -> None:
        raise RuntimeError("Message publish failed: The client is not currently connected.")


def test_a_host_whose_connection_breaks_at_its_end_ends_and_does_not_come_back() -> None:
    host, client = PrimaryHost("historian"), BreakingClient()
    host.connected(client)
    host.ends(client)
    host.connected(client)
    assert client.said == [True, False]


@pytest.mark.kafka
def test_a_sparkplug_node_is_read_by_its_births_asked_for_another_after_a_gap_and_stale_when_it_dies(
    kafka: Kafka | ExistingKafka, unique_name: str, mosquitto: Mosquitto, bridge: StartBridge
) -> None:
    def everything() -> bytes:
        found = records_of(kafka.bootstrap, f"{unique_name}-readings", 99, seconds=2)
        return b"".join(each.value or b"" for each in found)

    port = free_port()
    bridge("--sparkplug", "--metrics-port", str(port))
    with SparkplugNode(mosquitto.port, BIRTH_SECOND) as node:
        node.speed(-4, after=60)
        node.speed(5, after=120, lost=True)
        node.speed(6, after=180)
        wait_for(lambda: node.reborn == 1, 20, "a rebirth is asked for")
        node.born()  # whatever was on its way, this is the last birth
        node.speed(7, after=240)
        wait_for(lambda: b"1777593960.0" in everything(), 20, "its last speed is in Kafka")
        assert fetch(port, "/readyz")[0] == 200
        assert summed(fetch(port, "/metrics")[1])["stream_detector_bridge_sparkplug_nodes"] == 1
    wait_for(lambda: everything().count(b"stale") == 2, 20, "so is its death")
    counted = summed(fetch(port, "/metrics")[1])
    names = ("connected", "waiting", "sparkplug_nodes", "sparkplug_stale_sensors_total", "dead_letters_total")
    assert [counted[f"stream_detector_bridge_{name}"] for name in names] == [1, 0, 0, 2, 1]
    assert counted["stream_detector_bridge_sparkplug_rebirths_total"] >= 1
    received = counted["stream_detector_bridge_messages_received_total"]
    assert received == counted["stream_detector_bridge_messages_carried_total"] >= 8
    found = records_of(kafka.bootstrap, f"{unique_name}-readings", 99, seconds=3)
    assert {each.key for each in found} == {b"edge-1", b"pump-1"}
    messages = [json.loads(each.value or b"") for each in found]
    readings = [reading for message in messages for reading in message["readings"]]
    seen = dict(speeds([each for each in readings if "quality" not in each]))
    assert seen == {0.0: 0, 60.0: -4, 240.0: 7}
    assert {(each["sensor"], each["value"]) for each in readings if each.get("quality") == "stale"} == {
        ("Load", None),
        ("Speed", None),
    }
    (letter,) = records_of(kafka.bootstrap, f"{unique_name}-dead-letters", 1)
    assert json.loads(letter.value or b"")["detail"] == "1 of 1 metrics go by a birth that is not known"
