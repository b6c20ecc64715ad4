"""Whether a control record was taken back by a later one in its partition: then nobody obeys it."""

import asyncio
from collections.abc import Sequence

from stream_detector.decoding.control_records import (
    ANNOUNCE,
    DROP_LINE,
    OBEYED,
    WITHDRAW,
    WITHDRAW_LINE,
    Order,
    read_order,
)
from stream_detector.streaming.clients.kafka_types import KafkaRecord
from stream_detector.streaming.worker.offsets.kept_reader import KeptReader


class Withdrawal:
    """Looks behind a switch for its withdrawal, and goes on at the next look where the last one ended.

    A switch is taken back where the next record that names another bundle or takes something back takes this one back:
    one that has been obeyed for long, and followed by others, is history. Of a line of a table the records about that
    line count; that it was taken out is not taken back.

    Attributes:
        beginning: the first offset of the partition when it was looked at last.

    Args:
        log: reads it.
        number, offset: where the switch lies.
        order: what it says.
    """

    def __init__(self, log: KeptReader, number: int, offset: int, order: Order) -> None:
        self.beginning = 0
        self._log = log
        self._number = number
        self._next = offset + 1
        self._order = order
        self._known: bool | None = None
        self._looking = asyncio.Lock()

    async def found(self) -> bool:
        """Whether it is taken back, as far as the log reaches now.

        Raises:
            KafkaError: the brokers cannot be reached.
        """
        async with self._looking:
            if self._known is None:
                await self._look()
        return bool(self._known)

    async def _look(self) -> None:
        async with self._log.use() as reader:
            self.beginning, end = (await reader.ends({self._number}))[self._number]
            async for records in reader.readings(self._number, self._next, end):
                self._known = self._says(records)
                if self._known is not None:
                    break
            self._next = max(self._next, end)

    def _says(self, records: Sequence[KafkaRecord]) -> bool | None:
        """None: these records do not tell."""
        mine, takes_back = self._order, WITHDRAW_LINE if self._order.of_line else WITHDRAW
        for record in records:
            order = read_order(record.key, record.value)
            if order is None or (order.group, order.assets) != (mine.group, mine.assets) or order.control == ANNOUNCE:
                continue
            if order.control == takes_back:
                return order.bundle == mine.bundle and mine.control != DROP_LINE
            if order.control in OBEYED and (order.control, order.bundle) != (mine.control, mine.bundle):
                return False
        return None
