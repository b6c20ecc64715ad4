"""How every command logs: one line a message to standard error, with the time's zone, and none of them over and over.

Levels are the commands' business; no message of ours holds a secret.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from stream_detector.names import printable

NOISY = {
    # The framework logs its everyday steps, under the names of our subclasses too.
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "stream_detector.streaming.worker.transport.faust_driver": logging.WARNING,
    "stream_detector.streaming.worker.transport.agent": logging.WARNING,
    "stream_detector.streaming.worker.transport.consumer_thread": logging.WARNING,
    # Hundreds of lines a second while a broker is away; the watchdog says it once, and what matters is raised.
    "aiokafka": logging.CRITICAL,
    # It tells that it tries again, not why; those who try say it.
    "stamina": logging.ERROR,
}

REPEAT_SECONDS = 60.0
COUNTING = re.compile(r"(?<![\d.])\d+\.\d+(?![\d.])|\d+(?= s\b)|(?<=attempt )\d+")
MOST_KNOWN = 1_000


def start_logging(
    level: str, form: Literal["text", "json"] = "text", clock: Callable[[], float] = time.monotonic
) -> None:
    """Log from now on.

    Args:
        level: the least that is logged; with `DEBUG` the libraries are heard too.
        form: lines to read, or one JSON object a line.
        clock: monotonic, in seconds.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(RepeatFilter(clock))
    logging.basicConfig(level=level, handlers=[handler])
    set_level(level)


def set_level(level: str) -> None:
    """The least that is logged from now on; with `DEBUG` the libraries are heard too."""
    logging.getLogger().setLevel(level)
    if level != "DEBUG":
        quiet_libraries()
        return
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.NOTSET)


def quiet_libraries() -> None:
    """Libraries log no more than what matters, in commands that log nothing themselves too."""
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(least)


class RepeatFilter(logging.Filter):
    """Lets a message through once in `REPEAT_SECONDS`, and then says how often it came meanwhile.

    Messages are the same when they differ in a measured number, an age or the number of an attempt only. Infos are not
    held back: each tells something that happened once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, seconds: float = REPEAT_SECONDS) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.levelno >= logging.CRITICAL:
            return True
        key, now = COUNTING.sub("", record.getMessage()), self._clock()
        said_at, held = self._said.get(key, (None, 0))
        if said_at is not None and now - said_at < self._seconds:
            self._said[key] = (said_at, held + 1)
            return False
        if len(self._said) >= MOST_KNOWN:
            self._said.clear()
        self._said[key] = (now, 0)
        if held:
            record.msg, record.args = f"{record.getMessage()} ({held} like it since the last)", ()
        return True


class TextFormatter(logging.Formatter):
    """`2026-05-01T10:00:00.123+09:00 INFO stream_detector.streaming.worker: message`, in the machine's zone."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - theirs
        # A name that somebody put on the bus must not look like a line of ours.
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
