"""Moments and durations as people type them on a command line."""

import re
from datetime import UTC, datetime

from stream_detector.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def parse_moment(text: str, option: str) -> float:
    """Epoch seconds of an ISO 8601 date or time; without a zone it is UTC.

    Raises:
        UsageError: it is neither; the message names `option`.

    >>> parse_moment("1970-01-02", "--since"), parse_moment("1970-01-01T09:00:00+09:00", "--since")
    (86400.0, 0.0)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text}: not a time; write for example 2026-05-01 or 2026-05-01T06:30:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_duration(text: str, option: str) -> float:
    """Seconds of a number with a unit s, m, h or d.

    Raises:
        UsageError: it is something else; the message names `option`.

    >>> parse_duration("90m", "--for"), parse_duration("1.5h", "--for")
    (5400.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or float(found[1]) <= 0:
        raise UsageError(f"{option} {text}: not a duration; write for example 30m, 8h or 2d")
    return float(found[1]) * _UNITS[found[2]]
