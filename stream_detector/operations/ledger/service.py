"""Which bundle was in service when: what each partition of the readings was decided by, in event time.

A bundle that raises nothing says nothing of itself, so its time is known from what the group wrote down alone.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter

from stream_detector.decoding.asset_table import TABLE_PREFIX


class Service:
    """Periods of bundles.

    Args:
        periods: {partition: (since, bundle) in the order of the log}; `since` is epoch seconds of event time, and a
            bundle decides until the next one does.
    """

    def __init__(self, periods: Mapping[int, Sequence[tuple[float, str]]]) -> None:
        self._periods = [_ascending(found) for found in periods.values() if found]

    def at(self, time: float) -> str | None:
        """The bundle that decided at an event time (epoch seconds), in most partitions; None before all of them.

        None, too, where that was a table of bundles: which of them an asset had then is not known here.
        """
        found = (_at(periods, time) for periods in self._periods)
        # Partitions change within seconds of each other; which one an asset lies in is not known here.
        counted = Counter(bundle for bundle in found if bundle is not None)
        most = max(counted, key=lambda bundle: (counted[bundle], bundle), default=None)
        return None if most is None or most.startswith(TABLE_PREFIX) else most

    def between(self, since: float | None, until: float | None) -> list[str]:
        """All bundles that decided alone at some time of `since <= time < until`, sorted; None = unbounded."""
        first, end = -math.inf if since is None else since, math.inf if until is None else until
        found = set()
        for periods in self._periods:
            ends = [begin for begin, _ in periods[1:]] + [math.inf]
            found |= {
                bundle for (begin, bundle), over in zip(periods, ends, strict=True) if begin < end and over > first
            }
        found = {bundle for bundle in found if not bundle.startswith(TABLE_PREFIX)}
        return sorted(found)


def _ascending(periods: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """In the log a switch follows the others, whatever the clocks of its readings said."""
    found: list[tuple[float, str]] = []
    for since, bundle in periods:
        begin = max(since, found[-1][0]) if found else since
        if not found or found[-1][1] != bundle:
            found.append((begin, bundle))
    return found


def _at(periods: Sequence[tuple[float, str]], time: float) -> str | None:
    place = bisect_right(periods, time, key=itemgetter(0))
    return periods[place - 1][1] if place else None
