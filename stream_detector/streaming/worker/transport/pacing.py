"""How long a busy worker leaves records with the brokers, so that fewer and larger fetches reach it.

A batch costs about a millisecond however small it is. While there is time for that, the sooner a record is fetched the
better; where batches follow each other closely, the next ones had better gather.
"""

import math
import time
from collections.abc import Callable

REMEMBERED_SECONDS = 0.1
"""Work counts for about so long."""
EASY_SHARE = 0.25
"""Of the time. A worker with less to do fetches at once."""
LONGEST_REST_SECONDS = 0.015
REST_SECONDS = 0.06
"""Times the share of work beyond the easy one: half of the time at work makes the longest rest."""


class Pacing:
    """Work is told in one thread, the rest asked for in another.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._load = 0.0, clock()
        """(seconds of remembered work, when that was so); replaced as a whole, for another thread reads it."""

    def worked(self, seconds: float) -> None:
        """A batch took so much processor time."""
        now = self._clock()
        self._load = self._remembered(now) + seconds, now

    def rest(self) -> float:
        """For how long [s] the brokers may gather records before they answer the next fetch; 0: not at all."""
        share = self._remembered(self._clock()) / REMEMBERED_SECONDS
        return min(max(share - EASY_SHARE, 0.0) * REST_SECONDS, LONGEST_REST_SECONDS)

    def _remembered(self, now: float) -> float:
        seconds, since = self._load
        return seconds * math.exp((since - now) / REMEMBERED_SECONDS)
