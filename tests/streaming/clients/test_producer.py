"""A burst is acknowledged as a whole, whatever becomes of the clients that carry it."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAuthorizationFailedError

from stream_detector.errors import BrokerError, StalledError
from stream_detector.settings import Settings
from stream_detector.streaming.clients import producer
from stream_detector.streaming.clients.embedded import EmbeddedBroker
from stream_detector.streaming.clients.producer import ConfirmedProducer, EndableProducer, Outgoing
from stream_detector.streaming.local.broker import EVERY_TOPIC, LocalBroker
from stream_detector.streaming.local.clients import LocalProducer
from tests.support.event_loop import in_event_loop, settle

TOPIC = "alarms"


class Rig:
    """A producer on a local broker; `clients` are those that were opened."""

    def __init__(self) -> None:
        self.broker = LocalBroker()
        self.clients: list[LocalProducer] = []
        self.kind = LocalProducer
        self.now = 0.0
        self.producer = ConfirmedProducer(
            Settings(bootstrap="local:1", outage_seconds=5.0), self.open, clock=lambda: self.now
        )

    def open(self, _: Settings) -> LocalProducer:
        self.clients.append(self.kind(self.broker))
        return self.clients[-1]


def messages(*values: bytes) -> list[Outgoing]:
    return [Outgoing(TOPIC, b"m", value) for value in values]


@in_event_loop
async def test_a_burst_is_sent_in_order_and_confirmed_when_all_of_it_is_acknowledged() -> None:
    rig = Rig()
    await rig.producer.start()
    rig.broker.hold = EVERY_TOPIC
    burst = await rig.producer.enqueue(messages(b"1", b"2", b"3"))
    confirming = asyncio.create_task(rig.producer.confirm(burst))
    await settle()
    rig.broker.acknowledge(rig.broker.held[1:])
    await settle()
    assert not confirming.done()
    rig.broker.acknowledge()
    await confirming
    assert sorted(value or b"" for value in rig.broker.values(TOPIC)) == [b"1", b"2", b"3"]


@in_event_loop
async def test_a_burst_of_which_one_message_expired_is_sent_again_by_another_client() -> None:
    rig = Rig()
    await rig.producer.start()
    rig.broker.hold = EVERY_TOPIC
    confirming = asyncio.create_task(rig.producer.confirm(await rig.producer.enqueue(messages(b"1", b"2"))))
    await settle()
    lost = rig.broker.held.pop()
    rig.broker.hold = ()
    lost.expire()
    rig.broker.acknowledge()
    await confirming
    assert rig.broker.values(TOPIC) == [b"1", b"1", b"2"]
    assert [client.started for client in rig.clients] == [False, True]


class Hanging(LocalProducer):
    """Its brokers do not answer any more, so it never stops by itself."""

    async def stop(self) -> None:
        await asyncio.Event().wait()


@in_event_loop
async def test_a_broken_client_that_does_not_stop_is_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "STOP_SECONDS", 0.01)
    rig = Rig()
    rig.kind = Hanging
    await rig.producer.start()
    rig.broker.hold = EVERY_TOPIC
    confirming = asyncio.create_task(rig.producer.confirm(await rig.producer.enqueue(messages(b"1"))))
    await settle()
    lost = rig.broker.held.pop()
    rig.broker.hold = ()
    lost.expire()
    await confirming
    assert [client.started for client in rig.clients] == [False, True]


@in_event_loop
async def test_a_client_that_is_ended_at_once_leaves_nothing_behind() -> None:
    """aiokafka's own `stop`, broken off, would leave a sender that tries for ever, and connections."""
    before = asyncio.all_tasks()
    with EmbeddedBroker() as broker:
        broker.create_topics([TOPIC])
        client = EndableProducer(bootstrap_servers=broker.bootstrap, acks="all", enable_idempotence=True)
        await client.start()
        await client.send_and_wait(TOPIC, b"0")
    on_its_way = await client.send(TOPIC, b"1")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.stop(), 0.1)
    await client.abandon()
    assert isinstance(on_its_way.exception(), KafkaError)
    assert asyncio.all_tasks() == before


@in_event_loop
async def test_a_client_that_cannot_be_started_is_ended_too() -> None:
    rig = Rig()
    rig.broker.up = False
    with pytest.raises(KafkaError):
        await rig.producer.start()
    assert rig.clients[0].abandoned


@in_event_loop
async def test_a_broken_client_is_replaced_once_however_many_bursts_it_carried() -> None:
    """The second burst to notice must not stop the client that replaced the one which it was sent by."""
    rig = Rig()
    await rig.producer.start()
    rig.broker.hold = EVERY_TOPIC
    first, second = [await rig.producer.enqueue(messages(value)) for value in (b"1", b"2")]
    for sent in rig.broker.held:
        sent.expire()
    rig.broker.held.clear()
    rig.broker.hold = ()
    await rig.producer.confirm(first)
    await rig.producer.confirm(second)
    assert rig.broker.values(TOPIC) == [b"1", b"2"]
    assert len(rig.clients) == 2


@in_event_loop
async def test_two_that_wait_for_one_burst_are_both_answered() -> None:
    rig = Rig()
    await rig.producer.start()
    rig.broker.hold = EVERY_TOPIC
    burst = await rig.producer.enqueue(messages(b"1"))
    given_up, waiting = [asyncio.create_task(rig.producer.confirm(burst)) for _ in range(2)]
    await settle()
    given_up.cancel()
    await settle()
    rig.broker.acknowledge()
    await waiting
    assert rig.broker.values(TOPIC) == [b"1"]


@in_event_loop
async def test_an_outage_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_detector.streaming.clients.producer.RETRY_SECONDS", 0.001)
    rig = Rig()
    await rig.producer.start()
    rig.broker.up = False
    confirming = asyncio.create_task(rig.producer.confirm(await rig.producer.enqueue(messages(b"1", b"2"))))
    await asyncio.sleep(0.02)
    assert not confirming.done()
    rig.broker.up = True
    await confirming
    assert rig.broker.values(TOPIC) == [b"1", b"2"]


@in_event_loop
async def test_an_outage_that_is_too_long_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_detector.streaming.clients.producer.RETRY_SECONDS", 0.001)
    rig = Rig()
    await rig.producer.start()
    rig.broker.up = False
    confirming = asyncio.create_task(rig.producer.confirm(await rig.producer.enqueue(messages(b"1"))))
    await asyncio.sleep(0.01)
    rig.now = 5.1
    with pytest.raises(StalledError, match="local:1 acknowledged nothing on alarms for 5 s"):
        await confirming


class Refusing(LocalProducer):
    """Its brokers answer, and refuse everything."""

    async def send(self, *_: object, **__: object) -> "asyncio.Future[object]":
        refused: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        refused.set_exception(TopicAuthorizationFailedError(TOPIC))
        return refused


@in_event_loop
async def test_a_burst_that_the_brokers_refuse_is_sent_again_at_once_and_then_with_pauses() -> None:
    rig = Rig()
    rig.kind = Refusing
    await rig.producer.start()
    confirming = asyncio.create_task(rig.producer.confirm(await rig.producer.enqueue(messages(b"1"))))
    await asyncio.sleep(0.1)
    assert not confirming.done()
    assert len(rig.clients) == 2
    confirming.cancel()


@in_event_loop
async def test_what_a_client_held_when_it_was_stopped_is_sent_again() -> None:
    rig = Rig()
    await rig.producer.start()
    rig.broker.hold = EVERY_TOPIC
    burst = await rig.producer.enqueue(messages(b"1"))
    rig.broker.held.pop().future.cancel()
    rig.broker.hold = ()
    await rig.producer.confirm(burst)
    assert rig.broker.values(TOPIC) == [b"1"]


@in_event_loop
async def test_a_fault_of_our_own_is_not_tried_again() -> None:
    rig = Rig()
    await rig.producer.start()
    rig.broker.hold = EVERY_TOPIC
    burst = await rig.producer.enqueue(messages(b"1"))
    rig.broker.held.pop().future.set_exception(TypeError("no bytes"))
    with pytest.raises(TypeError):
        await rig.producer.confirm(burst)


@in_event_loop
async def test_messages_that_are_handed_over_before_the_start_are_sent_when_they_are_waited_for() -> None:
    rig = Rig()
    await rig.producer.confirm(await rig.producer.enqueue(messages(b"1")))
    assert rig.broker.values(TOPIC) == [b"1"]
    await rig.producer.stop()
    assert not rig.clients[-1].started


class StrictProducer:
    """Takes values of ten bytes at most, as the brokers would."""

    async def abandon(self) -> None: ...

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
