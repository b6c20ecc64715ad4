"""A maintenance calendar in iCalendar form (RFC 5545), as calendars export it, with recurrences, exceptions, zones."""

from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any

from stream_detector.extras import need
from stream_detector.operations.downtime.planned import Planned, in_span


class IcalCalendar:
    """The events of a calendar that are not cancelled. Their place (LOCATION) names the assets, globs with commas
    between them; without a place an event is of all assets."""

    def __init__(self, content: bytes) -> None:
        """Raises ValueError where this is no calendar, UsageError where the parser is not installed."""
        need("a calendar in iCalendar form", "icalendar", "recurring_ical_events")
        calendar = import_module("icalendar").Calendar.from_ical(content)
        if calendar.name != "VCALENDAR":
            raise ValueError(f"it holds a {calendar.name}, not a VCALENDAR")
        self._expand = import_module("recurring_ical_events").of(calendar)
        self.between(0.0, 86_400.0)  # an event that cannot be read is found here, not in the night

    def between(self, begin: float, until: float) -> list[Planned]:
        """As `Calendar`."""
        moments = (datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(until, UTC))
        found = (planned for event in self._expand.between(*moments) for planned in _planned(event))
        return in_span(found, begin, until)


def _planned(event: Any) -> list[Planned]:
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return []
    begin = _seconds(event["DTSTART"].dt)
    end = event.get("DTEND")
    until = begin if end is None else _seconds(end.dt)
    globs = [part.strip() for part in str(event.get("LOCATION", "")).split(",") if part.strip()]
    what = " ".join(str(event.get("SUMMARY", "")).split())
    return [Planned(glob, begin, until, what) for glob in globs or ["*"]]


def _seconds(moment: date) -> float:
    """Epoch seconds; a day begins at midnight, and what names no zone is in UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
