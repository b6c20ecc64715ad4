"""Sends alarms under a schema of the registry, where the settings ask for it, and everything else as it is."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from stream_detector.errors import RegistryError, StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.alarm_schemas import schema_of, writer_of
from stream_detector.streaming.clients.producer import Burst, BurstSender, Outgoing

log = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0


class StartedSender(BurstSender, Protocol):
    """`ConfirmedProducer`, as far as it is needed here."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class AlarmSender:
    """A producer in front of another one.

    Args:
        settings: name the topic of alarms and the form.
        producer: sends.
        register: (subject, schema, kind) -> the schema's number; may raise RegistryError.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        producer: StartedSender,
        register: Callable[[str, str, str], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._register = register
        self._clock = clock
        self._write: Callable[[bytes], bytes] | None = None

    async def start(self) -> None:
        """Start the producer, then ask for the schema's number: no alarm is decided before it is known.

        Raises:
            StalledError: the registry does not answer within `start_seconds`, or refuses for so long.
            KafkaError: the brokers cannot be reached.
        """
        await self._producer.start()
        if self._write is None:
            self._write = await self._writer()

    async def stop(self) -> None:
        await self._producer.stop()

    async def enqueue(self, messages: Sequence[Outgoing]) -> Burst:
        """See `ConfirmedProducer`."""
        return await self._producer.enqueue(list(map(self._formed, messages)))

    async def confirm(self, burst: Burst) -> Sequence[int | None]:
        """See `ConfirmedProducer`."""
        return await self._producer.confirm(burst)

    def _formed(self, message: Outgoing) -> Outgoing:
        if message.topic != self._settings.topic_alarms or message.value is None:
            return message
        assert self._write is not None  # `start` has returned
        return message._replace(value=self._write(message.value))

    async def _writer(self) -> Callable[[bytes], bytes]:
        form = self._settings.alarm_schema
        assert form != "none"
        subject, (text, kind) = f"{self._settings.topic_alarms}-value", schema_of(form)
        deadline = self._clock() + self._settings.start_seconds
        while True:
            try:
                number = await asyncio.to_thread(self._register, subject, text, kind)
            except RegistryError as error:
                if self._clock() > deadline:
                    raise StalledError(f"alarms cannot be written under a schema: {error}") from error
                log.warning("%s; alarms are written under a schema of it, so nothing is read until it does", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                log.info("alarms are written as %s under schema %d (%s)", form, number, subject)
                return writer_of(form, number)
