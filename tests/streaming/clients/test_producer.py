"""Messages that a topic can never take."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.producer import ConfirmedProducer, Outgoing


class StrictProducer:
    """Takes values of ten bytes at most, as the brokers would."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        *,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> "asyncio.Future[object]":
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if len(value or b"") > 10:
            future.set_exception(MessageSizeTooLargeError())
        else:
            future.set_result(None)
        return future


def test_a_message_that_no_broker_takes_ends_the_worker_at_once_and_names_the_topic() -> None:
    async def send() -> None:
        producer = ConfirmedProducer(Settings.load(), lambda _: StrictProducer())
        await producer.start()
        await producer.confirm(await producer.enqueue([Outgoing("detector.state", b"k", b"small")]))
        large = [Outgoing("detector.state", b"k", b"small"), Outgoing("detector.state", b"k", b"x" * 11)]
        with pytest.raises(BrokerError, match=r"topic detector\.state refuses a message of 11 bytes"):
            await asyncio.wait_for(producer.confirm(await producer.enqueue(large)), 5)

    asyncio.run(send())
