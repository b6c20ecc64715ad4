"""The reader of the log that stays open for a while, on a local broker."""

import asyncio

from stream_detector.streaming.local.broker import LocalBroker
from stream_detector.streaming.local.clients import LocalConsumer, LocalGroupOffsets
from stream_detector.streaming.readers.log_reader import LogReader
from stream_detector.streaming.worker.offsets.kept_reader import KeptReader
from tests.support.event_loop import in_event_loop, settle
from tests.support.pipelines import SETTINGS


class Opened(list[LocalConsumer]):
    """The consumers of all readers that were opened."""

    def open_log(self) -> LogReader:
        broker = LocalBroker()
        self.append(LocalConsumer(broker))
        return LogReader(SETTINGS, self[-1], LocalGroupOffsets(broker))

    @property
    def started(self) -> list[bool]:
        return [consumer.started for consumer in self]


@in_event_loop
async def test_it_stays_open_between_uses_and_closes_when_nobody_has_used_it_for_long() -> None:
    opened = Opened()
    kept = KeptReader(opened.open_log, idle_seconds=0.05)
    for _ in range(2):
        async with kept.use():
            pass
        assert opened.started == [True]
    await asyncio.sleep(0.1)
    assert opened.started == [False]


@in_event_loop
async def test_it_is_closed_with_its_worker() -> None:
    opened = Opened()
    kept = KeptReader(opened.open_log)
    async with kept.use():
        pass
    await kept.close()
    assert opened.started == [False]
    await kept.close()


@in_event_loop
async def test_what_is_opened_beforehand_is_closed_with_its_worker() -> None:
    opened = Opened()
    kept = KeptReader(opened.open_log)
    kept.warm()
    await settle(1)
    await kept.close()
    assert opened.started == [False]
