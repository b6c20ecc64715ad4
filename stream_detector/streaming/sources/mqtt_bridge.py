"""Carries readings from an MQTT broker to Kafka, at least once.

A message is acknowledged to the MQTT broker only after Kafka has acknowledged it; what was not is sent again by the
MQTT broker when the bridge comes back, because its session outlives it (a fixed client id, no clean start, quality of
service 1).
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from confluent_kafka import KafkaError, Producer
from prometheus_client import CollectorRegistry

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.decoding.sparkplug import Sparkplug
from stream_detector.errors import BrokerError, UsageError, without_password
from stream_detector.extras import need
from stream_detector.metrics import BridgeMetrics
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka
from stream_detector.streaming.sources.carrier import Carrier, Parcel, RecordProducer, Trouble
from stream_detector.streaming.sources.placing import Placed, Placing
from stream_detector.streaming.sources.primary_host import PrimaryHost
from stream_detector.streaming.topics.declared import BRIDGE
from stream_detector.streaming.topics.topics import ensure_written_topics

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

log = logging.getLogger(__name__)

AT_LEAST_ONCE, AT_MOST_ONCE = 1, 0
PORTS = {"mqtt": 1883, "mqtts": 8883}
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
            raise UsageError(
                f"{without_password(url)} is no address of an MQTT broker; write mqtt://HOST:1883 or "
                "mqtts://USER@HOST:8883"
            )
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
    placing: Placing
    asset: str | None

    def records(self, topic: str, payload: bytes, now: float) -> list[Placed]:
        """Key and value of each record. What cannot be understood goes as it is: a dead letter will say why."""
        value = self.mapping.to_message(payload, topic, round(now * 1000)) or b""
        return self.placing.placed(None if self.asset is None else self.asset.encode(), value)


def open_producer(settings: Settings, heard: Callable[[KafkaError], None]) -> Producer:
    """A producer that gives no message up while Kafka is away, and tells `heard` what is wrong.

    Raises:
        BrokerError: no Kafka broker answers.
    """
    made = Producer(
        {
            **librdkafka.options(settings),
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            # An outage of Kafka ends; giving up a message would lose it.
            "message.timeout.ms": 0,
            "error_cb": heard,
        }
    )
    librdkafka.topics_of(made, settings)  # says plainly when no broker answers
    return made


class MqttBridge:
    """Carries messages from an MQTT broker to Kafka, from `run` to `stop`.

    Args:
        settings: where Kafka is; records go to its topic of readings.
        address: where the MQTT broker is.
        topics: MQTT topics, with wildcards.
        route: see `Route`.
        client_id: names the session at the MQTT broker; two bridges need two.
        sparkplug: reads the messages before the route does; None = they are readings themselves.
        open_producer: makes the client of Kafka.
        host: says to edge nodes that this bridge is there; None = nobody waits for it.
        metrics: of this bridge.
    """

    def __init__(
        self,
        settings: Settings,
        address: MqttAddress,
        topics: Sequence[str],
        route: Route,
        client_id: str,
        sparkplug: Sparkplug | None = None,
        open_producer: Callable[[Settings, Callable[[KafkaError], None]], RecordProducer] = open_producer,
        host: PrimaryHost | None = None,
        metrics: BridgeMetrics | None = None,
    ) -> None:
        self.received = 0
        self._settings = settings
        self._address = address
        self._topics = list(topics)
        self._route = route
        self._client_id = client_id
        self._sparkplug = sparkplug
        self._host = host
        self._metrics = metrics or BridgeMetrics(CollectorRegistry())
        trouble = Trouble()
        producer = open_producer(settings, trouble.heard)
        carrier = self._carrier = Carrier(settings, producer, trouble=trouble)
        carrier.on_dead_letter = lambda reason: self._metrics.dead_letters.labels(reason).inc()
        self._metrics.connected.set_function(lambda: self._connected)
        self._metrics.waiting.set_function(lambda: carrier.why_waiting is not None)
        self._metrics.nodes.set_function(lambda: 0 if sparkplug is None else sparkplug.nodes)
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._connected = False

    @property
    def carried(self) -> int:
        """Messages of which Kafka has everything."""
        return self._carrier.carried

    def run(self) -> None:
        """Carries messages until `stop`.

        Raises:
            BrokerError: a topic is missing and may not be made, the MQTT broker refuses the subscription, or the client
                of Kafka cannot go on.
            KafkaError: the Kafka brokers cannot be reached at the start.
            UsageError: the MQTT client is not installed.
        """
        asyncio.run(ensure_written_topics(self._settings, BRIDGE))
        client = self._make_client()
        # The MQTT broker may be down now and later; the client tries again until it is there.
        client.connect_async(self._address.host, self._address.port)
        following = threading.Thread(target=self._follow, args=(client,), name="mqtt", daemon=True)
        following.start()
        report_at = time.monotonic() + REPORT_SECONDS
        try:
            while not self._ending.is_set():
                self._carrier.poll()
                if time.monotonic() > report_at:
                    report_at += REPORT_SECONDS
                    log.info("%d messages received, %d in Kafka", self.received, self.carried)
        finally:
            # What is not acknowledged by then stays in the session at the MQTT broker.
            self._carrier.end(END_SECONDS)
            if self._host is not None:
                self._host.ends(client)
            client.disconnect()
            following.join(END_SECONDS)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ends `run`; may be called from a signal handler."""
        self._ending.set()

    def why_not_ready(self) -> str | None:
        """What is in the way of carrying, in words; None where nothing is."""
        if not self._connected:
            return "the MQTT broker is not connected"
        return self._carrier.why_waiting

    def on_message(self, client: "Client", _data: Any, message: "MQTTMessage") -> None:
        """One message, in the thread of the MQTT client."""
        payload, now = bytes(message.payload), time.time()
        if self._host is not None and message.topic == self._host.topic:
            if message.qos:
                client.ack(message.mid, message.qos)
            self._host.heard(client, payload)
            return
        self.received += 1
        self._metrics.received.inc()

        def arrived() -> None:
            self._metrics.carried.inc()
            if message.qos:
                client.ack(message.mid, message.qos)

        parcel = Parcel(f"mqtt:{message.topic}", payload, arrived)
        if message.retain and self._route.mapping.time_from_broker:
            # The broker's memory of an old value, not a reading of now.
            self._carrier.take(parcel, [])
            return
        try:
            placed, refused = self._read(client, message.topic, payload, now)
        except Exception as error:
            log.exception("a message of %s cannot be read", message.topic)
            placed, refused = [], repr(error)  # one message is less than all that come after it
        self._carrier.take(parcel, placed, refused)

    def _read(self, client: "Client", topic: str, payload: bytes, now: float) -> tuple[list[Placed], str]:
        """The records of a message, and why some of it is none."""
        if self._sparkplug is None:
            return self._route.records(topic, payload, now), ""
        taken = self._sparkplug.read(topic, payload, now)
        self._metrics.stale.inc(taken.stale)
        if taken.command is not None:
            self._metrics.rebirths.inc()
            log.warning("messages before one of %s are missing; a rebirth is asked for", topic)
            client.publish(*taken.command, qos=AT_MOST_ONCE)
        return [each for at, value in taken.records for each in self._route.records(at, value, now)], taken.refused

    def _follow(self, client: "Client") -> None:
        try:
            client.loop_forever(retry_first_connection=True)
        except BaseException as error:  # noqa: BLE001 - it is raised where the process ends by it
            self._failure = error
        self.stop()

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
        if self._host is not None:
            host = self._host
            client.on_pre_connect = lambda client, _data: host.before_connecting(client)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self.on_message
        return client

    def _on_connect(self, client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("the MQTT broker refuses: %s; trying again", reason)
            return
        log.info("connected to %s:%d, subscribing to %s", self._address.host, self._address.port, self._topics)
        self._connected = True
        client.subscribe([(topic, AT_LEAST_ONCE) for topic in self._topics])
        if self._host is not None:
            self._host.connected(client)

    def _on_connect_fail(self, _client: "Client", _data: Any) -> None:
        """No connection at all: nobody listens, the host is not known, the certificate is not trusted."""
        log.warning(
            "%s:%d cannot be reached: %s; trying again", self._address.host, self._address.port, sys.exception()
        )

    def _on_disconnect(self, _client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._connected = False
        if not self._ending.is_set():
            log.warning("the MQTT broker is gone: %s; trying again", reason)

    def _on_subscribe(self, _client: "Client", _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        refused = [topic for topic, reason in zip(self._topics, reasons, strict=False) if reason.is_failure]
        if refused:
            raise BrokerError(
                f"the MQTT broker refuses the subscription to {', '.join(refused)}; grant it, or name others"
            )
