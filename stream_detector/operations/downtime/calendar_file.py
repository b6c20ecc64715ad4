"""The calendar's file: read by its form, and read again when it changes."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from stream_detector.errors import UsageError
from stream_detector.operations.downtime.ical_calendar import IcalCalendar
from stream_detector.operations.downtime.planned import Downtime, Planned
from stream_detector.operations.downtime.toml_calendar import parse

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 10.0
MOST_BYTES = 16 * 2**20


def read_calendar(path: Path) -> Downtime:
    """The calendar in a file: `.toml` in our own form, everything else in iCalendar.

    Raises:
        UsageError: the file cannot be read, or is no calendar.
    """
    try:
        content = path.read_bytes()
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has {len(content)} bytes, {MOST_BYTES} at most are read")
        return Downtime(parse(content.decode()) if path.suffix == ".toml" else IcalCalendar(content))
    except OSError as error:
        raise UsageError(f"the calendar {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, RecursionError) as error:
        raise UsageError(f"the calendar {path} cannot be used: {error}") from None


class CalendarFile:
    """The calendar as the file has it now, as a `Planner`; one that can no longer be read counts as it was.

    Raises:
        UsageError: it cannot be read at the start.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = self._stamp_now()
        self._downtime = read_calendar(path)
        self._look_at = clock() + LOOK_EVERY_SECONDS

    def at(self, asset: str, moment: float) -> Planned | None:
        """The window that the asset is in at this time (epoch seconds), or None."""
        self._look()
        return self._downtime.at(asset, moment)

    def active(self, moment: float) -> frozenset[Planned]:
        """The windows that hold at this time, whatever their assets."""
        self._look()
        return self._downtime.active(moment)

    def _look(self) -> None:
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_SECONDS
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._downtime = read_calendar(self._path)
            log.info("the calendar %s has changed and was read again", self._path)
        except UsageError as error:
            log.warning("%s; it counts as it was before", error)

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
