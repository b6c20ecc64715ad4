"""A control record in the log: which ones a worker obeys, and what it waits for before the other bundle decides."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Literal

from aiokafka.errors import KafkaError

from stream_detector.decoding.control_records import (
    ANNOUNCE,
    DROP_LINE,
    OBEYED,
    SWITCH,
    SWITCH_LINE,
    Order,
    orders_in,
)
from stream_detector.errors import StreamDetectorError
from stream_detector.streaming.state.group_facts import newest_switch
from stream_detector.streaming.worker.offsets.detectors import Detectors
from stream_detector.streaming.worker.offsets.progress import PartitionProgress
from stream_detector.streaming.worker.offsets.withdrawal import Withdrawal
from stream_detector.streaming.worker.ports import Clock
from stream_detector.streaming.worker.transport.fetched import Fetched

log = logging.getLogger(__name__)

READY: Final = "ready"
WITHDRAWN: Final = "withdrawn"
INTERRUPTED: Final = "interrupted"

TABLE = "this group decides by a table of bundles; name one of its lines with `promote --assets GLOB`"
NO_TABLE = "this group decides by one bundle, and has no lines; `promote` without --assets names another one"

LOOK_SECONDS = 0.02
"""Between two looks whether what a switch waits for is there."""

RETRY_SECONDS = 2.0
"""A bundle that could not be used is tried again after so long: it may still be on its way to this machine."""


class Switching:
    """Waits for what a switch needs. `group`: whose orders count. `clock`: monotonic, in seconds.

    `expect`: is called when a switch is announced, or comes.
    """

    def __init__(
        self, group: str, detectors: Detectors, clock: Clock, expect: Callable[[], object] = lambda: None
    ) -> None:
        self.missing: str | None = None
        """Why a partition stands before a record, in words."""
        self.request_commit: Callable[[], Awaitable[object]] = _no_request
        """Asks the stream to commit now; without it the next commit is waited for."""
        self._group = group
        self._detectors = detectors
        self._clock = clock
        self._expect = expect
        self._interruptions = 0

    def interrupt(self) -> None:
        """Whoever waits here stops waiting."""
        self._interruptions += 1

    def switches_in(self, fetched: Fetched, progress: PartitionProgress | None) -> dict[int, Order]:
        """{offset: order} of the switches that are still to be obeyed; what they name is loaded meanwhile."""
        columns = fetched.columns
        found = orders_in(columns.keys, columns.values) if fetched.has_orders else {}
        if progress is None or not found:
            return {}
        newest = newest_switch(progress.facts)
        # Offsets may have been set back: what lies before the newest switch was obeyed once, and is history.
        since = max(progress.silent_until, 0 if newest is None else newest.offset)
        new = {
            columns.offsets[place]: order
            for place, order in found.items()
            if order.group == self._group and columns.offsets[place] >= since
        }
        is_table = self._detectors.of(fetched.partition).is_table
        for offset, order in list(new.items()):
            if order.of_line == is_table:
                if order.control in (ANNOUNCE, SWITCH, SWITCH_LINE):
                    self._detectors.prefetch(order.bundle)
                    self._expect()
                continue
            del new[offset]
            if order.control in OBEYED:
                log.warning("partition %d: the record at %d wants bundle %s to decide, and is not obeyed: %s",
                            fetched.partition, offset, order.bundle, TABLE if is_table else NO_TABLE)  # fmt: skip
        return {offset: order for offset, order in new.items() if order.control in OBEYED}

    async def ready(
        self,
        number: int,
        offset: int,
        order: Order,
        progress: PartitionProgress,
        ours: Callable[[], bool],
        withdrawal: Withdrawal,
    ) -> Literal["ready", "withdrawn", "interrupted"]:
        """Returns once the bundle that is to decide can be used here, and all before the record is committed.

        "withdrawn" where a later record has taken this one back. "interrupted", too, where the partition was taken
        away, as `ours` tells.

        Raises:
            KafkaError: the brokers cannot be reached.
        """
        interruptions = self._interruptions

        def go_on() -> bool:
            return self._interruptions == interruptions and ours()

        # Whether or not the bundle is there: what becomes of the record is a function of the log.
        looking = asyncio.create_task(withdrawal.found())
        try:
            found = await self._loaded(number, offset, order, go_on, withdrawal)
            if found == READY and not await self._committed(progress, offset, go_on):
                found = INTERRUPTED
            return WITHDRAWN if found == READY and await looking else found
        finally:
            looking.cancel()

    async def _loaded(
        self, number: int, offset: int, order: Order, go_on: Callable[[], bool], withdrawal: Withdrawal
    ) -> Literal["ready", "withdrawn", "interrupted"]:
        try:
            while True:
                try:
                    # What a line that is taken out leaves its assets to decides already.
                    if order.control != DROP_LINE:
                        await self._detectors.ready_to_take_over(order.bundle)
                    # While it came, a person may have given it up.
                    return WITHDRAWN if self.missing is not None and await withdrawal.found() else READY
                except StreamDetectorError as error:
                    place = f"partition {number} stands at {offset}"
                    missing = f"{place}, where bundle {order.bundle} takes over{_of(order)}: {error}"
                    if missing != self.missing:
                        log.error("%s", missing)  # noqa: TRY400 - it is said in words
                    self.missing = missing
                again = self._clock() + RETRY_SECONDS
                while self._clock() < again:
                    await asyncio.sleep(LOOK_SECONDS)
                    if not go_on():
                        return INTERRUPTED
                with suppress(KafkaError):
                    if await withdrawal.found():
                        return WITHDRAWN
        finally:
            self.missing = None

    async def _committed(self, progress: PartitionProgress, offset: int, go_on: Callable[[], bool]) -> bool:
        while progress.committed is None or progress.committed < offset:
            await self.request_commit()
            if not go_on():
                return False
            if progress.committed is None or progress.committed < offset:
                await asyncio.sleep(LOOK_SECONDS)
        return True


def in_words(order: Order) -> str:
    """What holds from the record on."""
    if order.control == DROP_LINE:
        return f"the line {order.assets!r} of the table is taken out"
    return f"bundle {order.bundle} decides{_of(order)}"


def _of(order: Order) -> str:
    return f" for {order.assets!r}" if order.of_line else ""


async def _no_request() -> None:
    """Commits come by themselves."""
