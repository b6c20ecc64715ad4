"""Reads secrets, certificates and the log level again in a running process: on SIGHUP, and when their files change."""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct, field
from prometheus_client import CollectorRegistry, Gauge

from stream_detector.errors import UsageError
from stream_detector.streaming.clients.security import changed_at

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0


class _Part(Struct):
    """Something that is read from files. `read` raises `UsageError` where they cannot be used."""

    name: str
    files: tuple[Path, ...]
    read: Callable[[], object]
    seen: tuple[float, ...] = field(default=())

    def changed(self) -> bool:
        """Whether a file is another than at the last call; a file that is not there counts as changed once."""
        before, self.seen = self.seen, changed_at(self.files)
        return self.seen != before


class Reloader:
    """Keeps what was read while a file cannot be used, and says so.

    Args:
        registry: gets the metrics of the last reload, part by part.
        wall_clock: epoch seconds.
    """

    def __init__(self, registry: CollectorRegistry, wall_clock: Callable[[], float] = time.time) -> None:
        self._parts: list[_Part] = []
        self._wall_clock = wall_clock
        self._successful = Gauge(
            "stream_detector_reload_successful",
            "1 when the files of this part could be used at the last reload",
            ["part"],
            registry=registry,
        )
        self._at = Gauge(
            "stream_detector_reload_timestamp_seconds",
            "When the files of this part were read last",
            ["part"],
            registry=registry,
        )

    def add(self, name: str, files: Iterable[Path | None], read: Callable[[], object]) -> None:
        """From now on `read` is called when one of the files changes; without a file there is nothing to read again."""
        named = tuple(file for file in files if file is not None)
        if named:
            part = _Part(name, named, read)
            part.changed()
            self._parts.append(part)
            self._note(part)

    def look(self) -> None:
        """Read again what has changed."""
        for part in self._parts:
            if part.changed():
                self._read(part)

    def reload(self) -> None:
        """Read everything again."""
        for part in self._parts:
            part.changed()
            self._read(part)

    def _read(self, part: _Part) -> None:
        try:
            part.read()
        except UsageError as error:
            self._successful.labels(part.name).set(0)
            log.warning("%s stays as it was: %s", part.name, error)
        else:
            self._note(part)
            log.info("%s read again", part.name)

    def _note(self, part: _Part) -> None:
        self._successful.labels(part.name).set(1)
        self._at.labels(part.name).set(self._wall_clock())
