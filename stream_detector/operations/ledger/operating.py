"""When machines stood, as their workers told it (topic `detector.operating`)."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from operator import attrgetter

from msgspec import Struct

from stream_detector.detection.grid.steps import TOLERANCE_SECONDS, step_of
from stream_detector.messages import OperatingChange, from_iso

MOST_CHANGES = 20_000
"""Of one asset, the newest."""


class _Since(Struct, frozen=True):
    time: float
    running: bool
    step_seconds: float
    lead_from: int
    lead_until: int


class OperatingLog:
    """Collects changes, in any order; of two of the same asset and time the later one counts."""

    def __init__(self) -> None:
        self._changes: dict[str, list[_Since]] = defaultdict(list)

    def add(self, change: OperatingChange) -> None:
        """Takes a change.

        Raises:
            ValueError: its lead ends before it begins.
        """
        if change.lead_until_steps < change.lead_from_steps:
            raise ValueError("lead_until_steps lies before lead_from_steps")
        known = self._changes[change.asset]
        since = _Since(
            from_iso(change.time), change.running, change.step_seconds, change.lead_from_steps, change.lead_until_steps
        )
        place = bisect_left(known, since.time, key=attrgetter("time"))
        same = place < len(known) and known[place].time == since.time
        known[place : place + same] = [since]
        del known[:-MOST_CHANGES]

    def before(self, asset: str, time: float) -> bool:
        """Whether the machine stood all through the lead window of an event at this time (epoch seconds)."""
        known = self._changes.get(asset)
        if not known:
            return False
        newest = known[max(0, bisect_right(known, time, key=attrgetter("time")) - 1)]
        step = step_of(time, newest.step_seconds)
        return all(
            self._stands(known, (step - back) * newest.step_seconds + TOLERANCE_SECONDS)
            for back in range(newest.lead_from, newest.lead_until + 1)
        )

    def _stands(self, known: list[_Since], time: float) -> bool:
        place = bisect_right(known, time, key=attrgetter("time"))
        return place > 0 and not known[place - 1].running

    def forget_before(self, time: float) -> None:
        """Drops changes older than `time` (epoch seconds), but for the newest of them: it still holds."""
        for asset, known in list(self._changes.items()):
            del known[: max(0, bisect_left(known, time, key=attrgetter("time")) - 1)]
            if known[-1].running and known[-1].time < time:
                del self._changes[asset]
