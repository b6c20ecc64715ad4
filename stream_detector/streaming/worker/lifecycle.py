"""The state of a worker (alive, ready, ending) and why. The event loop writes it; the probes' threads read it."""

import asyncio
import logging
import time

from aiokafka.errors import KafkaError

from stream_detector.errors import StalledError, StreamDetectorError
from stream_detector.exit_codes import EXIT_SOFTWARE
from stream_detector.streaming.worker.ports import Clock

log = logging.getLogger(__name__)

STARTING, WAITING, REBUILDING = "starting", "waiting for the broker", "rebuilding windows"
PASSING = (STARTING, WAITING, REBUILDING)
"""Reasons for not being ready that are no trouble."""

ENDING = "ending"


def exit_code_of(error: BaseException) -> int:
    """What the process ends with: a broker's error means start again (75), one of ours is 70."""
    if isinstance(error, StreamDetectorError):
        return error.exit_code
    return StalledError.exit_code if isinstance(error, KafkaError) else EXIT_SOFTWARE


class Lifecycle:
    """The state of one worker, from `begin` to `fail` or `stop`.

    Args:
        longest_beat_seconds: without a `beat` for longer the event loop is taken to hang.
        clock: monotonic, in seconds.
    """

    def __init__(self, longest_beat_seconds: float, clock: Clock = time.monotonic) -> None:
        self.error: BaseException | None = None
        self.not_ready: str | None = STARTING
        """Why the worker is not ready, in words; None = it is."""
        self.ending = asyncio.Event()
        self._longest_beat_seconds = longest_beat_seconds
        self._clock = clock
        self._beat_at = clock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def exit_code(self) -> int:
        return 0 if self.error is None else exit_code_of(self.error)

    def begin(self) -> None:
        """Note that the running event loop is the worker's."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Ask for an orderly end; safe to call from a signal handler or another thread."""
        if self._loop is None:
            self.ending.set()
        else:
            self._loop.call_soon_threadsafe(self.ending.set)

    def fail(self, error: BaseException) -> None:
        """End with this error, unless another came first."""
        if self.error is None:
            self.error = error
            code = exit_code_of(error)
            ours = code == EXIT_SOFTWARE
            log.error("ending with exit code %d: %s", code, str(error) or repr(error), exc_info=error if ours else None)
        self.not_ready = str(error)
        self.ending.set()

    def fail_soon(self, error: BaseException) -> None:
        """As `fail`, from another thread."""
        if self._loop is None:
            self.fail(error)
        else:
            self._loop.call_soon_threadsafe(self.fail, error)

    def beat(self) -> None:
        """Note that the event loop turns."""
        self._beat_at = self._clock()

    def why_not_ready(self) -> str | None:
        return self.not_ready

    def why_not_alive(self) -> str | None:
        """The reason why the worker is not alive: its event loop hangs. None while it turns."""
        still = self._clock() - self._beat_at
        if still > self._longest_beat_seconds:
            return f"the worker's loop has not turned for {still:.0f} s"
        return None
