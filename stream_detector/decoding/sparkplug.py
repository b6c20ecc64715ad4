"""Sparkplug B: messages whose meaning hangs on those before them. Births name metrics and give them short aliases, data
go by these, deaths make what they were about stale, and a sequence number tells whether one is missing.

After a gap an alias may mean another metric than it did, so none is believed before the node was born again; a rebirth
is asked for. Pure: the moment is an argument.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.decoding.sparkplug_payload import BOOLEAN, Metric, Payload, members, payload_of, reading_of

NAMESPACE = "spBv1.0"
EVERYTHING = f"{NAMESPACE}/#"

MAPPING = FieldMapping(
    readings="metrics",
    sensor="name",
    time="timestamp",
    time_unit="ms",
    booleans=True,
    topic_pattern=rf"{NAMESPACE}/[^/]+/[^/]+/(?:[^/]+/)?(?P<asset>[^/]+)",
)
"""What becomes of the records that `Sparkplug` makes, unless a user says otherwise: the asset is the device, or the
edge node where it measures itself."""

BIRTHS, DATA, DEATHS = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA"), ("NDEATH", "DDEATH")
NODE = ""
"""Stands for the edge node itself among its devices."""

NUMBER_OF_BIRTH = "bdSeq"
REBIRTH = "Node Control/Rebirth"
NO_READINGS = ("Node Control/", "Device Control/")
SEQUENCE = 256

MOST_NODES = 10_000
MOST_READINGS = 1_000
"""In one record; a birth may name more metrics than a message to Kafka can hold."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 10.0, 300.0
"""Between two requests to one node; twice as long each time that it is not born again."""

SECONDS_BETWEEN_REQUESTS = 0.05
"""To different nodes: not all of a plant at once."""


class Address(NamedTuple):
    """What the topic of a message says; `device` is NODE where it is about the node itself."""

    group: str
    kind: str
    node: str
    device: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a message comes to.

    Attributes:
        records: topic and JSON of each; `MAPPING` understands them.
        refused: why some or all of it could not be used; empty where all could.
        stale: sensors that a death makes stale.
        command: topic and payload to publish, None = nothing.
    """

    records: list[tuple[str, bytes]] = field(default_factory=list)
    refused: str = ""
    stale: int = 0
    command: tuple[str, bytes] | None = None


@dataclass(slots=True)
class EdgeNode:
    """What a node has said of itself and its devices.

    Attributes:
        types: {device: {metric: datatype}}, of all that is alive.
        aliases: {device: {alias: metric}}, of those whose birth is believed.
        birth: the number of its birth, by which a death that came late is known.
        expected: the next sequence number.
    """

    types: dict[str, dict[str, int]] = field(default_factory=dict)
    aliases: dict[str, dict[int, str]] = field(default_factory=dict)
    birth: int | None = None
    expected: int | None = None
    ask_again_at: float = 0.0
    wait_seconds: float = FIRST_WAIT_SECONDS

    def begin(self, message: Any) -> None:
        """Its own birth: what is known of it and its devices begins anew."""
        self.types, self.aliases = {}, {}
        self.birth, self.wait_seconds = _number_of_birth(message), FIRST_WAIT_SECONDS
        self.expected = (message.seq + 1) % SEQUENCE

    def follow(self, message: Any) -> None:
        """A message after the birth: where one before it is missing, no birth is believed any more."""
        if not message.HasField("seq") and self.expected != 0:
            return  # some senders leave it out
        if self.expected is not None and message.seq == (self.expected - 1) % SEQUENCE:
            return  # the same again
        if message.seq != self.expected:
            self.aliases.clear()
        self.expected = (message.seq + 1) % SEQUENCE

    def learn(self, device: str, message: Any) -> None:
        """A birth, its own or of a device."""
        self.aliases[device] = {each.alias: each.name for each in message.metrics if each.HasField("alias")}
        self.types[device] = {
            name: metric.datatype for each in message.metrics for name, metric in members(each.name, each)
        }


class Sparkplug:
    """Follows the edge nodes of an MQTT broker."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], EdgeNode] = {}
        self._ask_again_at = 0.0

    @property
    def nodes(self) -> int:
        """Edge nodes of which something is known, and not that they died."""
        return len(self._nodes)

    def read(self, topic: str, content: bytes, now: float) -> Taken:
        """What a message comes to, with those before it. `now`: epoch seconds; when it came."""
        at = address_of(topic)
        if at is None:
            return Taken()
        try:
            message = payload_of(content)
            if at.kind == "NDEATH":
                return self._node_died(at, message, now)
            return self._take(at, message, now)
        except (ValueError, RecursionError) as error:
            return Taken(refused=str(error))

    def _take(self, at: Address, message: Any, now: float) -> Taken:
        node = self._node(at)
        if at.kind == "NBIRTH":
            node.begin(message)
        else:
            node.follow(message)
        if at.kind in BIRTHS:
            node.learn(at.device, message)
        command = None
        if NODE not in node.aliases or (at.kind in DATA and at.device not in node.aliases):
            command = self._rebirth(at, node, now)
        if at.kind == "DDEATH":
            node.aliases.pop(at.device, None)
            died = {at.device: node.types.pop(at.device, {})}
            moment = message.timestamp or round(now * 1000)
            return Taken(list(_stale(at, died, moment)), stale=_count(died), command=command)
        readings, unknown = _readings(node, at.device, message)
        refused = f"{unknown} of {len(message.metrics)} metrics go by a birth that is not known" if unknown else ""
        return Taken(list(_records(topic_of(at), message.timestamp, readings)), refused, command=command)

    def _node_died(self, at: Address, message: Any, now: float) -> Taken:
        node = self._nodes.get((at.group, at.node))
        number = _number_of_birth(message)
        if node is None or (number is not None and node.birth is not None and number != node.birth):
            return Taken()  # nothing is known of it, or it was born again since
        del self._nodes[at.group, at.node]
        # The broker sends it with the time at which the node logged in.
        return Taken(list(_stale(at, node.types, round(now * 1000))), stale=_count(node.types))

    def _node(self, at: Address) -> EdgeNode:
        node = self._nodes.get((at.group, at.node))
        if node is None:
            if len(self._nodes) >= MOST_NODES:
                del self._nodes[next(iter(self._nodes))]
            node = self._nodes[at.group, at.node] = EdgeNode()
        return node

    def _rebirth(self, at: Address, node: EdgeNode, now: float) -> tuple[str, bytes] | None:
        if now < node.ask_again_at or now < self._ask_again_at:
            return None
        self._ask_again_at = now + SECONDS_BETWEEN_REQUESTS
        node.ask_again_at = now + node.wait_seconds
        node.wait_seconds = min(2 * node.wait_seconds, LONGEST_WAIT_SECONDS)
        moment = round(now * 1000)
        asked = Metric(name=REBIRTH, timestamp=moment, datatype=BOOLEAN, boolean_value=True)
        command: bytes = Payload(timestamp=moment, metrics=[asked]).SerializeToString()
        return topic_of(Address(at.group, "NCMD", at.node, NODE)), command


def state_topic(host_id: str) -> str:
    """Where a host application says whether it is there."""
    return f"{NAMESPACE}/STATE/{host_id}"


def host_state(online: bool, moment: int) -> bytes:
    """What it says there. `moment`: epoch ms, the same in the will of a connection and in its birth."""
    return orjson.dumps({"online": online, "timestamp": moment})


def says_offline(payload: bytes) -> bool:
    """Whether a message at that topic says that the host is away."""
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return isinstance(content, dict) and content.get("online") is False


def address_of(topic: str) -> Address | None:
    """What a topic says; None where it is not of a birth, of data or of a death."""
    parts = topic.split("/")
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE:
        return None
    at = Address(parts[1], parts[2], parts[3], parts[4] if len(parts) == 5 else NODE)
    of_device = at.device != NODE
    return at if at.kind in (*BIRTHS, *DATA, *DEATHS) and of_device == at.kind.startswith("D") else None


def topic_of(at: Address) -> str:
    """The topic of an address."""
    return "/".join((NAMESPACE, at.group, at.kind, at.node, *([at.device] if at.device else [])))


def _readings(node: EdgeNode, device: str, message: Any) -> tuple[list[dict[str, Any]], int]:
    """What the metrics say, and how many cannot be understood without a birth."""
    aliases = node.aliases.get(device, {})
    types = node.types.get(device, {}) if device in node.aliases else {}
    readings: list[dict[str, Any]] = []
    unknown = 0
    for metric in message.metrics:
        name = metric.name or (aliases.get(metric.alias) if metric.HasField("alias") else None)
        if not name:
            unknown += 1
        elif name != NUMBER_OF_BIRTH and not name.startswith(NO_READINGS):
            found = [reading_of(own, each, each.datatype or types.get(own, 0)) for own, each in members(name, metric)]
            readings += [reading for reading in found if reading is not None]
            unknown += None in found
    return readings, unknown


def _stale(at: Address, died: dict[str, dict[str, int]], moment: int) -> Iterator[tuple[str, bytes]]:
    """Records that say of all sensors of these devices that they are stale; `moment` in ms."""
    for device, names in died.items():
        topic = topic_of(at._replace(device=device, kind="DDEATH" if device else "NDEATH"))
        readings = [{"name": name, "value": None, "quality": "stale"} for name in _sensors(names)]
        yield from _records(topic, moment, readings)


def _count(died: dict[str, dict[str, int]]) -> int:
    return sum(len(_sensors(names)) for names in died.values())


def _sensors(names: dict[str, int]) -> list[str]:
    return [name for name in names if name != NUMBER_OF_BIRTH and not name.startswith(NO_READINGS)]


def _records(topic: str, moment: int, readings: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    head = {"timestamp": moment} if moment else {}
    for begin in range(0, len(readings), MOST_READINGS):
        yield topic, orjson.dumps(head | {"metrics": readings[begin : begin + MOST_READINGS]})


def _number_of_birth(message: Any) -> int | None:
    found = (each.long_value or each.int_value for each in message.metrics if each.name == NUMBER_OF_BIRTH)
    return next(found, None)
