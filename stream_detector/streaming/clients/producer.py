"""Sends bursts of messages and knows when the brokers have acknowledged them (acks=all, idempotent)."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from stream_detector.errors import BrokerError, StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import KafkaProducer
from stream_detector.streaming.clients.security import aiokafka_options

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
STOP_SECONDS = 2.0
MOST_REQUEST_BYTES = 64 * 2**20


class Outgoing(NamedTuple):
    """One message to send; `partition` None = chosen by the key."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(eq=False)
class Burst:
    """Messages on their way with one producer; None where there was none to take them."""

    messages: Sequence[Outgoing]
    futures: list[asyncio.Future[object]] = field(default_factory=list)
    producer: KafkaProducer | None = None


class BurstSender(Protocol):
    """Sends bursts and says when they are acknowledged: `ConfirmedProducer`, as far as others need it."""

    async def enqueue(self, messages: Sequence[Outgoing]) -> Burst: ...
    async def confirm(self, burst: Burst) -> Sequence[int | None]:
        """The offsets of the messages, None where the brokers did not tell."""


class EndableProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's `stop` waits for the brokers; broken off, it leaves a sender behind that goes on trying."""

    async def abandon(self) -> None:
        """See `KafkaProducer`."""
        self._closed = True
        self._message_accumulator.fail_all(ProducerClosed())
        sender = self._sender.sender_task
        if sender is not None:
            # What it would do is done, and it fails at it without transactions.
            sender.remove_done_callback(self._sender._fail_all)  # noqa: SLF001 - aiokafka can end no client at once
            sender.cancel()
        # The requests that the sender waits for end with their connections.
        await self.client.close()
        if sender is not None:
            await asyncio.wait([sender], timeout=STOP_SECONDS)
            if sender.done() and not sender.cancelled():
                sender.exception()  # looked at, or asyncio would log it


def open_producer(settings: Settings) -> KafkaProducer:
    """A producer of the brokers that the settings name, not started: every replica acknowledges, once and in order."""
    made: KafkaProducer = EndableProducer(
        **aiokafka_options(settings),
        client_id=f"stream-detector-{settings.instance or 'worker'}",
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=262_144,
        # The brokers say what is too large, topic by topic.
        max_request_size=MOST_REQUEST_BYTES,
        request_timeout_ms=30_000,
    )
    return made


class ConfirmedProducer:
    """A burst is sent again as a whole until every message of it is acknowledged: repeats are harmless, losses are not.

    Args:
        open_producer: makes the client, and another where one broke.
        clock: monotonic, in seconds.

    Raises (from `confirm`):
        StalledError: the brokers did not acknowledge within `outage_seconds`.
        BrokerError: a topic does not take messages of that size.
    """

    def __init__(
        self,
        settings: Settings,
        open_producer: Callable[[Settings], KafkaProducer] = open_producer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._open_producer = open_producer
        self._clock = clock
        self._producer: KafkaProducer | None = None
        self._renewing = asyncio.Lock()

    async def start(self) -> None:
        """Raises KafkaError when the brokers cannot be reached."""
        producer = self._open_producer(self._settings)
        try:
            await producer.start()
        except BaseException:
            await producer.abandon()
            raise
        self._producer = producer

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def enqueue(self, messages: Sequence[Outgoing]) -> Burst:
        """Hand the messages to the sender, in order. A failure shows in `confirm`."""
        producer = self._producer
        burst = Burst(messages, producer=producer)
        if producer is None:
            return burst
        try:
            for message in messages:
                burst.futures.append(
                    await producer.send(
                        message.topic,
                        message.value,
                        message.key,
                        message.partition,
                        headers=list(message.headers) or None,
                    )
                )
        except (KafkaError, AssertionError) as error:
            # aiokafka asserts that it knows the partition; of one that was added lately another client knows.
            log.warning("sending failed, will be tried again: %r", error)
        return burst

    async def confirm(self, burst: Burst) -> list[int | None]:
        """Wait until every message of the burst is acknowledged, sending again as often as needed.

        Returns their offsets, None where the brokers did not tell.
        """
        deadline = self._clock() + self._settings.outage_seconds
        pause = 0.0  # the first time: a batch that expired in a failover goes through at once
        while True:
            if burst.futures:
                # Unlike `gather`: whoever stops waiting must not cancel what others wait for too.
                await asyncio.wait(burst.futures)
            errors = [error for future in burst.futures if (error := _error(future)) is not None]
            failed = errors[0] if errors else None
            if failed is not None and not isinstance(failed, KafkaError | asyncio.CancelledError):
                raise failed
            if isinstance(failed, MessageSizeTooLargeError):
                raise _too_large(burst)
            if failed is None and len(burst.futures) == len(burst.messages):
                return [getattr(future.result(), "offset", None) for future in burst.futures]
            if self._clock() > deadline:
                raise StalledError(
                    f"{self._settings.bootstrap} acknowledged nothing on {burst.messages[0].topic} for "
                    f"{self._settings.outage_seconds:g} s"
                )
            topics = ", ".join(sorted({message.topic for message in burst.messages}))
            log.warning("%d messages to %s not acknowledged (%r), sending again", len(burst.messages), topics, failed)
            await asyncio.sleep(pause)
            pause = RETRY_SECONDS
            await self._renew(burst.producer)
            burst = await self.enqueue(burst.messages)

    async def _renew(self, broken: KafkaProducer | None) -> None:
        """An idempotent producer whose batch expired cannot go on (its sequence has a hole): start another."""
        async with self._renewing:
            if self._producer is not broken:
                return
            self._producer = None
            if broken is not None:
                try:
                    await asyncio.wait_for(broken.stop(), STOP_SECONDS)
                except (KafkaError, TimeoutError):
                    log.debug("the broken producer did not stop in time")
                    await broken.abandon()
            try:
                await self.start()
            except KafkaError as error:
                log.warning("the brokers cannot be reached: %r", error)


def _too_large(burst: Burst) -> BrokerError:
    """Trying again cannot help, and going on would lose the message."""
    message = max(burst.messages, key=lambda message: len(message.value or b""))
    return BrokerError(
        f"topic {message.topic} refuses a message of {len(message.value or b'')} bytes; raise its max.message.bytes "
        "(and message.max.bytes of the brokers), or choose a smaller recipe"
    )


def _error(future: "asyncio.Future[object]") -> BaseException | None:
    """Why a message that is settled was not acknowledged; a client that was stopped cancels what it held."""
    return asyncio.CancelledError() if future.cancelled() else future.exception()
