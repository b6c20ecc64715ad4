"""Planned downtime: the windows of a maintenance calendar, for assets by glob. Pure: time is an argument."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Protocol

from msgspec import Struct

BUCKET_SECONDS = 30 * 86_400.0
MOST_BUCKETS = 64
"""Months of windows that are kept once they were asked for."""


class Planned(Struct, frozen=True):
    """One window, `begin <= time < until` in epoch seconds. `assets`: a glob. `what`: what is done, in words."""

    assets: str
    begin: float
    until: float
    what: str

    def covers(self, asset: str, time: float) -> bool:
        """Whether the asset is down for it at this time (epoch seconds)."""
        return self.begin <= time < self.until and fnmatchcase(asset, self.assets)


def in_span(windows: Iterable[Planned], begin: float, until: float) -> list[Planned]:
    """Those that have a part in `begin <= time < until` (epoch seconds), in order of time."""
    found = [window for window in windows if window.begin < until and window.until > begin]
    return sorted(found, key=lambda window: (window.begin, window.until, window.assets))


class Calendar(Protocol):
    """Single and recurring windows, wherever they are written."""

    def between(self, begin: float, until: float) -> list[Planned]:
        """Every window that has a part in `begin <= time < until` (epoch seconds), whole, in order of time."""


class Planner(Protocol):
    """Whoever knows when assets are down by plan."""

    def at(self, asset: str, time: float) -> Planned | None:
        """The window that the asset is in at this time (epoch seconds); of several the one that ends last."""

    def active(self, time: float) -> frozenset[Planned]:
        """The windows that hold at this time, whatever their assets."""


class Downtime:
    """Answers for one calendar; a `Planner`."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._buckets: dict[int, list[Planned]] = {}

    def at(self, asset: str, time: float) -> Planned | None:
        """The window that the asset is in at this time (epoch seconds); of several the one that ends last."""
        found = [window for window in self._bucket(int(time // BUCKET_SECONDS)) if window.covers(asset, time)]
        return max(found, key=lambda window: window.until, default=None)

    def active(self, time: float) -> frozenset[Planned]:
        """The windows that hold at this time, whatever their assets."""
        windows = self._bucket(int(time // BUCKET_SECONDS))
        return frozenset(window for window in windows if window.begin <= time < window.until)

    def between(self, begin: float, until: float) -> list[Planned]:
        """As `Calendar`."""
        return self._calendar.between(begin, until)

    def _bucket(self, number: int) -> list[Planned]:
        if number not in self._buckets:
            while len(self._buckets) >= MOST_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
            begin = number * BUCKET_SECONDS
            self._buckets[number] = self._calendar.between(begin, begin + BUCKET_SECONDS)
        return self._buckets[number]
