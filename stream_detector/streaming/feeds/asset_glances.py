"""Tells the consoles of the other workers how this worker's assets stand (topic `detector.assets`)."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from aiokafka.errors import KafkaError

from stream_detector.messages import AssetGlance, to_bytes
from stream_detector.operations.console.glances import Held, Turns
from stream_detector.settings import Settings
from stream_detector.streaming.clients.diagnosis import in_words_for
from stream_detector.streaming.clients.kafka_types import KafkaProducer
from stream_detector.streaming.clients.producer import open_producer
from stream_detector.streaming.readers.committed_log import wanted_by_us

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
RETRY_SECONDS = 10.0
SEND_SECONDS = 10.0


class GlancesProducer:
    """Sends what is due, once a second, for as long as it runs; a broker that is away costs nothing but the sending.

    Args:
        held: the assets of this worker as they stand.
        ready: whether the topics can be reached; nothing is sent before.
        open_producer: makes a client.
    """

    def __init__(
        self,
        settings: Settings,
        turns: Turns,
        held: Callable[[], Sequence[Held]],
        ready: Callable[[], bool],
        open_producer: Callable[[Settings], KafkaProducer] = open_producer,
    ) -> None:
        self._settings = settings
        self._turns = turns
        self._held = held
        self._ready = ready
        self._open_producer = open_producer

    async def run(self) -> None:
        """Until it is cancelled."""
        said = ""
        while True:
            producer = None
            try:
                producer = self._open_producer(self._settings)
                await producer.start()
                while True:
                    if self._ready():
                        await self.send_due(producer)
                        said = ""
                    await asyncio.sleep(LOOK_SECONDS)
            except (KafkaError, TimeoutError) as error:
                why = await in_words_for(self._settings, error)
                if why != said:
                    said = why
                    log.warning("other consoles are not told of this worker's assets, trying again: %s", said)
            except asyncio.CancelledError:
                if wanted_by_us():
                    raise
            finally:
                if producer is not None:
                    await producer.abandon()
            await asyncio.sleep(RETRY_SECONDS)

    async def send_due(self, producer: KafkaProducer) -> None:
        """Sends what is due; returns when the brokers have it.

        Raises:
            KafkaError: they refuse it.
            TimeoutError: they do not answer.
        """
        due = self._turns.due(self._held())
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(producer, due)
        except (KafkaError, TimeoutError):
            self._turns.forget(due)
            raise

    async def _send(self, producer: KafkaProducer, due: Sequence[AssetGlance]) -> None:
        topic = self._settings.topic_assets
        sent = [await producer.send(topic, to_bytes(glance), glance.asset.encode(), None) for glance in due]
        # Unlike `gather`: every failure is looked at, so that none is logged as never retrieved.
        if sent:
            await asyncio.wait(sent)
        for failure in [future.exception() for future in sent if not future.cancelled()]:
            if failure is not None:
                raise failure
