"""Dead letters at a bounded rate: a flood of garbage must not become a flood on another topic."""

import base64
import time
from collections.abc import Callable

from stream_detector.messages import DeadLetter, to_bytes
from stream_detector.streaming.clients.producer import Outgoing

BURST_SECONDS = 10.0


class DeadLetterRate:
    """A token bucket: `per_second` on average, ten seconds' worth at once; its user counts those it turns away."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._most = max(1.0, per_second * BURST_SECONDS)
        self._tokens = self._most
        self._at = clock()

    def admits(self) -> bool:
        """True if one more dead letter may be published now."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def message(self, topic: str, letter: DeadLetter) -> Outgoing:
        """The letter under the key of the record that it holds."""
        key = b"" if letter.key is None else base64.b64decode(letter.key)
        return Outgoing(topic, key, to_bytes(letter))
