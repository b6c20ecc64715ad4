"""Says to the edge nodes of a Sparkplug plant whether the host that they wait for is there.

A retained message at `spBv1.0/STATE/HOST_ID`: online while the bridge is connected, offline when it ends, and offline
by the MQTT broker's word (the will) when its connection breaks. Nodes with a store keep readings until it is back.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from stream_detector.decoding.sparkplug import host_state, says_offline, state_topic
from stream_detector.errors import UsageError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

log = logging.getLogger(__name__)

AT_LEAST_ONCE = 1
END_SECONDS = 5.0


class PrimaryHost:
    """One host application.

    Args:
        host_id: by which edge nodes know it.
        wall_clock: epoch seconds.

    Raises:
        UsageError: it cannot be part of a topic.
    """

    def __init__(self, host_id: str, wall_clock: Callable[[], float] = time.time) -> None:
        if not host_id or any(mark in host_id for mark in "/+#"):
            raise UsageError(f"--host-id {host_id!r}: a name without /, + and # is wanted")
        self.topic = state_topic(host_id)
        self._wall_clock = wall_clock
        self._moment = 0
        self._ends = False

    def before_connecting(self, client: "Client") -> None:
        """Leave the will of this connection, whose time is also that of the message which says that it is there."""
        self._moment = round(self._wall_clock() * 1000)
        client.will_set(self.topic, host_state(False, self._moment), qos=AT_LEAST_ONCE, retain=True)

    def connected(self, client: "Client") -> None:
        """It is there, and hears what others say of it."""
        client.subscribe(self.topic, AT_LEAST_ONCE)
        if not self._ends:
            self._say(client, True, self._moment)

    def heard(self, client: "Client", payload: bytes) -> None:
        """What was published of this host: the will of a connection before may come late, and is contradicted."""
        if says_offline(payload) and not self._ends:
            self._say(client, True, self._moment)

    def ends(self, client: "Client") -> None:
        """Before it disconnects on its own account, which makes the broker forget the will."""
        self._ends = True
        if not client.is_connected():
            return
        try:
            self._say(client, False, round(self._wall_clock() * 1000)).wait_for_publish(END_SECONDS)
        except (RuntimeError, ValueError) as error:
            # The connection broke just now; its will says the same.
            log.warning("could not say %s: %s", self.topic, error)

    def _say(self, client: "Client", online: bool, moment: int) -> "MQTTMessageInfo":
        return client.publish(self.topic, host_state(online, moment), AT_LEAST_ONCE, retain=True)
