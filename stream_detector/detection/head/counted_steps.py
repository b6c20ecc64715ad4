"""The steps of the last day that counted as negative, and when: an event that is told late makes positives of some.

Consecutive steps are kept as one stretch, so that a day of them is a few numbers.
"""

from msgspec import Struct, field

KEPT_SECONDS = 86_400.0
"""An event that is told later than this changes nothing."""

MOST_STRETCHES = 64
"""The oldest are forgotten where a plant has more gaps than that in a day."""

EVEN_SECONDS = 1e-3
"""Steps that are counted at an even pace belong to one stretch; so much may be lost to rounding."""

Stretch = tuple[int, int, float, float]
"""First step, last step, when each of the two was counted (epoch seconds); those between lie evenly between them."""


class CountedSteps(Struct):
    """`stretches` ascend and do not overlap; there are at most `MOST_STRETCHES`."""

    stretches: list[Stretch] = field(default_factory=list)

    def add(self, step: int, time: float) -> None:
        """A step, later than all others, is counted at `time`."""
        if self.stretches and self._follows(self.stretches[-1], step, time):
            first, _, begin, _ = self.stretches[-1]
            self.stretches[-1] = (first, step, begin, time)
        else:
            self.stretches.append((step, step, time, time))
        self._forget(time)

    def take(self, step: int, now: float) -> float | None:
        """When the step was counted, which it is no longer; None where it is not kept."""
        for place in range(len(self.stretches) - 1, -1, -1):
            first, last, begin, end = self.stretches[place]
            if not first <= step <= last:
                continue
            pace = (end - begin) / max(last - first, 1)
            counted = begin + (step - first) * pace
            if counted <= now - KEPT_SECONDS:
                return None
            below = [(first, step - 1, begin, counted - pace)] if step > first else []
            above = [(step + 1, last, counted + pace, end)] if step < last else []
            self.stretches[place : place + 1] = [*below, *above]
            self._forget(now)
            return counted
        return None

    def _follows(self, stretch: Stretch, step: int, time: float) -> bool:
        first, last, begin, end = stretch
        if step != last + 1:
            return False
        return last == first or abs((time - end) - (end - begin) / (last - first)) <= EVEN_SECONDS

    def _forget(self, now: float) -> None:
        while self.stretches and (len(self.stretches) > MOST_STRETCHES or self.stretches[0][3] <= now - KEPT_SECONDS):
            del self.stretches[0]
