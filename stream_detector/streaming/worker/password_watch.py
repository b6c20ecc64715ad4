"""Notices that the file with the password at the brokers holds another one, with which they let us in."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable

from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.clients import diagnosis
from stream_detector.streaming.clients.diagnosis import Unreachable

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
TRY_AGAIN_SECONDS = 30.0
"""A password that is refused is tried so seldom: brokers may count wrong ones."""

WhyUnreachable = Callable[[Settings], Awaitable[Unreachable | None]]


class PasswordWatch:
    """The Kafka clients keep the password of their start, so that a new one is for a process that begins again.

    Args:
        settings: name the file.
        why_unreachable: tries the login, with what is in the file by then.
        clock: monotonic, in seconds.

    Raises:
        UsageError: the file cannot be read.
    """

    def __init__(
        self, settings: Settings, why_unreachable: WhyUnreachable, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._why_unreachable = why_unreachable
        self._clock = clock
        self._ours = settings.password()
        self._refused: str | None = None
        self._again_at = 0.0

    async def changed(self) -> bool:
        """Whether there is another password, and it is one: a plant may change the file before the brokers."""
        try:
            found = await asyncio.to_thread(self._settings.password)
            if found == self._ours or (found == self._refused and self._clock() < self._again_at):
                return False
            why_not = await self._why_unreachable(self._settings)
        except UsageError:
            return False  # whoever reads files again says so
        if why_not is not None:
            self._refused, self._again_at = found, self._clock() + TRY_AGAIN_SECONDS
            if why_not.refused:
                log.warning("the new password at the brokers is not used: %s", why_not.reason)
            return False
        log.info("the brokers take the new password; beginning again with it")
        return True


def password_watch_of(settings: Settings, why_unreachable: WhyUnreachable) -> PasswordWatch | None:
    """None where no password comes from a file. Tokens are asked for anew by themselves."""
    by_password = settings.security_protocol.startswith("SASL") and settings.sasl_mechanism != "OAUTHBEARER"
    from_file = settings.sasl_password_file is not None
    return PasswordWatch(settings, why_unreachable) if by_password and from_file else None


async def password_renewed(settings: Settings) -> None:
    """Wait until the brokers take another password from the file; for ever where none comes from a file.

    Raises:
        UsageError: the file cannot be read at the beginning.
    """
    watch = password_watch_of(settings, diagnosis.why_unreachable)
    if watch is None:
        await asyncio.Event().wait()
        return
    while True:
        if await watch.changed():
            return
        await asyncio.sleep(LOOK_SECONDS)


def watch_password(settings: Settings, renewed: Callable[[], object]) -> None:
    """`password_renewed` for a process without an event loop: in a thread that ends with it; then calls `renewed`."""

    def watch() -> None:
        asyncio.run(password_renewed(settings))
        renewed()

    threading.Thread(target=watch, name="password", daemon=True).start()
