"""Notices that the alias which a worker was started with stands for another bundle by now.

The registry may be away, and the new bundle may be damaged: neither is a reason to stop watching the plant, so the
worker goes on with what it has. Only a bundle that loads as at a start (hash, signature, probe) is changed over to.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stream_detector.bundle.object_store import shown
from stream_detector.bundle.registry import AliasChange, Registry
from stream_detector.errors import StalledError
from stream_detector.streaming.worker.ports import Clock

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""A bundle that could not be used is tried again after so long: it may still be on its way to this machine."""


ANSWER_SECONDS = 15.0
"""Partitions that are to be taken up wait no longer for a registry whose file system hangs."""


class BundleMovedError(StalledError):
    """The alias stands for another bundle: this process begins again, and decides nothing more."""


class BundleWatch:
    """What an alias stands for, against what is in use.

    Args:
        alias: path REGISTRY/ALIAS.
        in_use: id of the bundle that decides in this process.
        check: loads what the alias stands for, as a start would; raises what a start would raise.
        clock: monotonic, in seconds.
        group: of the worker. What was promoted in this group's log is taken up where its record lies there.
    """

    def __init__(
        self, alias: Path, in_use: str, check: Callable[[], object], clock: Clock, group: str | None = None
    ) -> None:
        self.trouble: str | None = None
        """What is wrong with the bundle that is to take over, in words."""
        self._alias = alias
        self._in_use = in_use
        self._check = check
        self._clock = clock
        self._refused: tuple[str, float] | None = None
        self._said = ""
        self._group = group
        self._by_record: bool | None = None
        """None: the registry was not read yet."""
        self._followed = False

    async def moved(self) -> bool:
        """Whether another bundle, which this machine can use, is to decide."""
        try:
            change = await asyncio.to_thread(self._last_change)
            wanted, self._by_record = change.bundle, change.group is not None and change.group == self._group
        except Exception as error:  # noqa: BLE001 - whatever is wrong there, this bundle goes on
            self._say(f"the registry cannot be read, bundle {self._in_use} goes on: {error}")
            return False
        self._followed |= bool(self._by_record)
        if self._by_record or (wanted == self._in_use and not self._followed):
            self.trouble, self._refused = None, None
            return False
        if self._refused is not None and self._refused[0] == wanted and self._clock() < self._refused[1]:
            return False
        try:
            await asyncio.to_thread(self._check)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the other bundle, this one goes on
            self._refused = (wanted, self._clock() + RETRY_SECONDS)
            self.trouble = f"{shown(self._alias)} stands for bundle {wanted}, which cannot be used here: {error}"
            self._say(f"{self.trouble}; bundle {self._in_use} goes on")
            return False
        log.warning("%s stands for bundle %s now: bundle %s ends here", shown(self._alias), wanted, self._in_use)
        return True

    async def follows_log(self) -> bool:
        """Whether the log says who decides: the alias was last changed together with a control record there.

        Raises:
            StalledError: the registry could not be read even once, so nothing is known.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.moved()
        if self._by_record is None:
            raise StalledError(
                f"the registry of {shown(self._alias)} cannot be read, so that nobody knows who is to decide"
            )
        return self._by_record

    async def require_current(self) -> None:
        """Before partitions are taken up: BundleMovedError where another bundle is to decide in them."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                moved = await self.moved()
        except TimeoutError:
            self._say(f"the registry does not answer within {ANSWER_SECONDS:g} s, bundle {self._in_use} goes on")
            return
        if moved:
            raise BundleMovedError(f"{shown(self._alias)} stands for another bundle than {self._in_use} by now")

    def _last_change(self) -> AliasChange:
        return Registry(self._alias.parent).changes(self._alias.name)[-1]

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            log.error("%s", text)
