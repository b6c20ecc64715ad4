"""Carries readings from an MQTT broker to Kafka, at least once.

A message is acknowledged to the MQTT broker only after Kafka has acknowledged it; what was not is sent again by the
MQTT broker when the bridge comes back, because its session outlives it (a fixed client id, no clean start, quality of
service 1).
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import orjson
from confluent_kafka import Producer

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.errors import UsageError
from stream_detector.extras import need
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

log = logging.getLogger(__name__)

AT_LEAST_ONCE = 1
PORTS = {"mqtt": 1883, "mqtts": 8883}
POLL_SECONDS = 0.1
END_SECONDS = 10.0
REPORT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where the MQTT broker is, and as whom to log in; `tls` also when no port says so."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str, password_file: Path | None = None) -> "MqttAddress":
        """`mqtt://[USER@]HOST[:PORT]`, or `mqtts://` for TLS.

        Raises:
            UsageError: it is something else, or the file cannot be read.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or PORTS.get(parts.scheme, 0)
        except ValueError:
            port = 0
        if not port or parts.scheme not in PORTS or not parts.hostname:
            raise UsageError(f"{url} is no address of an MQTT broker; write mqtt://HOST:1883 or mqtts://USER@HOST:8883")
        if parts.password:
            raise UsageError("a password in an address is seen by everyone; put it into a file, --password-file")
        password = None
        if password_file is not None:
            try:
                password = password_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"--password-file {password_file} cannot be read: {error}") from None
        user = unquote(parts.username) if parts.username else None
        return cls(parts.hostname, port, parts.scheme == "mqtts", user, password)


@dataclass(frozen=True, slots=True)
class Route:
    """How messages become records: the mapping, and the asset of those that name none (by sensor, else `asset`)."""

    mapping: FieldMapping
    sensor_assets: Mapping[str, str]
    asset: str | None

    def record(self, topic: str, payload: bytes, now: float) -> tuple[bytes | None, bytes]:
        """Key and value of the record. What cannot be understood goes as it is: a dead letter will say why."""
        value = self.mapping.to_message(payload, topic, round(now * 1000)) or b""
        try:
            message = orjson.loads(value)
        except orjson.JSONDecodeError:
            message = None
        named = message if isinstance(message, dict) else {}
        several = named.get("readings")
        if isinstance(several, list) and several and isinstance(several[0], dict) and "asset" not in named:
            named = several[0]
        asset = named.get("asset") or self.sensor_assets.get(str(named.get("sensor"))) or self.asset
        return (asset.encode() if isinstance(asset, str) else None), value


class MqttBridge:
    """Carries messages from an MQTT broker to Kafka, from `run` to `stop`.

    Args:
        settings: where Kafka is; records go to its topic of readings.
        address: where the MQTT broker is.
        topics: MQTT topics, with wildcards.
        route: see `Route`.
        client_id: names the session at the MQTT broker; two bridges need two.
    """

    def __init__(
        self, settings: Settings, address: MqttAddress, topics: Sequence[str], route: Route, client_id: str
    ) -> None:
        self.received = 0
        self.carried = 0
        self._settings = settings
        self._address = address
        self._topics = list(topics)
        self._route = route
        self._client_id = client_id
        self._ending = threading.Event()

    def run(self) -> None:
        """Carries messages until `stop`.

        Raises:
            BrokerError: no Kafka broker answers at the start.
            UsageError: the MQTT client is not installed.
        """
        self._producer = self._make_producer()
        self._client = self._make_client()
        # The MQTT broker may be down now and later; the client tries again until it is there.
        self._client.connect_async(self._address.host, self._address.port)
        self._client.loop_start()
        report_at = time.monotonic() + REPORT_SECONDS
        try:
            while not self._ending.is_set():
                self._producer.poll(POLL_SECONDS)
                if time.monotonic() > report_at:
                    report_at += REPORT_SECONDS
                    log.info("%d messages received, %d in Kafka", self.received, self.carried)
        finally:
            # What is not acknowledged by then stays in the session at the MQTT broker.
            self._producer.flush(END_SECONDS)
            self._client.disconnect()
            self._client.loop_stop()

    def stop(self) -> None:
        """Ends `run`; may be called from a signal handler."""
        self._ending.set()

    def _make_producer(self) -> Any:
        librdkafka.producer(self._settings)  # says plainly when no broker answers
        return Producer(
            {
                **librdkafka.options(self._settings),
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                # An outage of Kafka ends; giving up a message would lose it.
                "message.timeout.ms": 0,
            }
        )

    def _make_client(self) -> "Client":
        need("the MQTT bridge", "paho")
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, clean_session=False, manual_ack=True)
        if self._address.tls:
            client.tls_set()
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("the MQTT broker refuses: %s; trying again", reason)
            return
        log.info("connected to %s:%d, subscribing to %s", self._address.host, self._address.port, self._topics)
        client.subscribe([(topic, AT_LEAST_ONCE) for topic in self._topics])

    def _on_disconnect(self, _client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self._ending.is_set():
            log.warning("the MQTT broker is gone: %s; trying again", reason)

    def _on_message(self, client: "Client", _data: Any, message: "MQTTMessage") -> None:
        self.received += 1
        if message.retain and self._route.mapping.time_from_broker:
            # The broker's memory of an old value, not a reading of now.
            client.ack(message.mid, message.qos)
            return
        key, value = self._route.record(message.topic, bytes(message.payload), time.time())

        def delivered(error: Any, _record: Any) -> None:
            if error is not None:
                log.error("Kafka refuses a message of %s: %s; the MQTT broker will send it again", message.topic, error)
                return
            self.carried += 1
            if message.qos:
                client.ack(message.mid, message.qos)

        while True:
            try:
                self._producer.produce(self._settings.topic_readings, value, key=key, on_delivery=delivered)
            except BufferError:
                # Full: not reading on is what tells the MQTT broker to wait.
                time.sleep(POLL_SECONDS)
            else:
                return
