"""Watches for names that the bundle does not know: logs them, keeps them for the console, or ends the worker."""

import logging
from collections.abc import Sequence

from stream_detector.decoding.unknown_names import NONE_UNKNOWN, UnknownNames, UnknownPolicies
from stream_detector.errors import UnknownNameError
from stream_detector.names import listed
from stream_detector.streaming.worker.ports import Clock

log = logging.getLogger(__name__)

SAY_SECONDS = 600.0
"""Between two lines in the log; the first one comes at once."""

SHOWN = 5


class UnknownWatch:
    """`seen`: all that was passed over since the start, with the newest names."""

    def __init__(self, policies: UnknownPolicies, clock: Clock) -> None:
        self._policies = policies
        self._clock = clock
        self._said_at: float | None = None
        self.seen: UnknownNames = NONE_UNKNOWN

    def saw(self, unknown: UnknownNames) -> None:
        """What a batch had of them.

        Raises:
            UnknownNameError: the policy is to end.
        """
        if not unknown.readings:
            return
        self.seen = self.seen.plus(unknown)
        for kind, policy, count, names in (
            ("sensor", self._policies.sensors, unknown.of_sensors, unknown.sensors),
            ("asset", self._policies.assets, unknown.of_assets, unknown.assets),
        ):
            if policy == "fail" and count:
                raise UnknownNameError(
                    f"the bundle knows no {kind} {_listed(names)}, and STREAM_DETECTOR_UNKNOWN_{kind.upper()}S = fail; "
                    "use a bundle that knows it, or `ignore` to pass such readings over"
                )
        self._say()

    def _say(self) -> None:
        now = self._clock()
        if self._said_at is not None and now - self._said_at < SAY_SECONDS:
            return
        self._said_at = now
        seen = self.seen
        parts = [
            f"{count} readings of unknown {kind}, the newest {_listed(names)}"
            for count, kind, names in (
                (seen.of_sensors, "sensors", seen.sensors),
                (seen.of_assets, "assets", seen.assets),
            )
            if count
        ]
        log.info("ignored since the start: %s", "; ".join(parts))


def _listed(names: Sequence[str]) -> str:
    """The names as data: what is no printable character is written as its escape."""
    return listed([f"'{name}'" for name in names], SHOWN)
