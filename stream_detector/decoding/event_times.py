"""Times of records to epoch seconds. Texts are remembered, for most come many times."""

import numpy as np
from numpy.typing import NDArray

from stream_detector.decoding.decoded import BAD_TIME, RefusedError
from stream_detector.messages import MILLISECONDS_FROM, to_epoch_seconds

EARLIEST, LATEST = -2_208_988_800.0, 7_258_118_400.0
"""Times are accepted from 1900 to 2200: outside of them a clock is broken, or milliseconds were taken for seconds."""

CACHED_TIMES = 65_536


class EventTimes(dict[str | float, float]):
    """Epoch seconds of ISO 8601 texts with a zone; of epoch seconds or milliseconds too, but those are not kept."""

    def __missing__(self, time: str | float) -> float:
        """RefusedError where it is no time of our calendar."""
        try:
            seconds = to_epoch_seconds(time)
        except (ValueError, OverflowError) as error:
            raise RefusedError(BAD_TIME, str(error)) from error
        if not EARLIEST <= seconds < LATEST:
            raise RefusedError(BAD_TIME, f"time {str(time)[:40]!r} lies outside the years 1900 to 2199")
        if isinstance(time, str):
            if len(self) >= CACHED_TIMES:
                self.clear()
            self[time] = seconds
        return seconds

    def is_fine(self, time: str | float) -> bool:
        """True for a number that is a time of our calendar, and for a text that was parsed before."""
        return time in self or (not isinstance(time, str) and EARLIEST <= to_epoch_seconds(time) < LATEST)

    def all_or_none(self, times: list[str | float]) -> NDArray[np.float64] | None:
        """Epoch seconds (N,); None where one entry is no time, or lies outside the years that messages may name."""
        if times and type(times[0]) is not str and str not in set(map(type, times)):
            return _numbers_or_none(times)
        try:
            return np.fromiter(map(self.__getitem__, times), np.float64, len(times))
        except RefusedError:
            return None


def _numbers_or_none(times: list[str | float]) -> NDArray[np.float64] | None:
    numbers = np.array(times, np.float64)
    seconds = np.where(numbers >= MILLISECONDS_FROM, numbers / 1000.0, numbers)
    return seconds if ((seconds >= EARLIEST) & (seconds < LATEST)).all() else None
