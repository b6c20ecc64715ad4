"""Offsets of a group, also from a broker that cannot tell them yet."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    GroupAuthorizationFailedError,
    KafkaError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v3

from stream_detector.settings import Settings
from stream_detector.streaming.clients.committed_offsets import (
    AdminGroupOffsets,
    committed_metadata,
    committed_offsets,
    own_committed_offsets,
)
from tests.support.event_loop import in_event_loop
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic

UNKNOWN_TOPIC, LOADING, NOT_COORDINATOR, NOT_ALLOWED = 3, 14, 16, 30
PARTITIONS = [TopicPartition("alarms", 1), TopicPartition("alarms", 0), TopicPartition("feedback", 0)]


class Admin:
    """Answers as the broker did."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def find_coordinator(self, group: str) -> int:
        return 1

    async def _send_request(self, request: Any, node: int) -> object:
        self.asked.append(request)
        return self.answer


def ask(answer: object) -> dict[Any, Any]:
    return asyncio.run(committed_offsets(Admin(answer), "group", PARTITIONS))


def test_what_was_committed_is_told_and_what_was_not_is_left_out() -> None:
    topics = [("alarms", [(0, 7, "note", 0), (1, -1, "", 0)]), ("feedback", [(0, 0, "", 0)])]
    expected = {
        TopicPartition("alarms", 0): OffsetAndMetadata(7, "note"),
        TopicPartition("feedback", 0): OffsetAndMetadata(0, ""),
    }
    assert ask(OffsetFetchResponse_v3(0, topics, 0)) == expected
    assert ask(OffsetFetchResponse_v1(topics)) == expected


@pytest.mark.parametrize(
    ("code", "error"), [(LOADING, CoordinatorLoadInProgressError), (NOT_COORDINATOR, NotCoordinatorForGroupError)]
)
def test_a_broker_that_does_not_hold_the_group_yet_is_not_taken_for_one_that_knows_no_offsets(
    code: int, error: type[KafkaError]
) -> None:
    with pytest.raises(error, match="offsets of group group"):
        ask(OffsetFetchResponse_v3(0, [], code))


def test_an_error_of_one_partition_is_an_error() -> None:
    with pytest.raises(CoordinatorLoadInProgressError):
        ask(OffsetFetchResponse_v3(0, [("alarms", [(0, 7, "", 0), (1, -1, "", LOADING)])], 0))


def test_nothing_is_asked_about_no_partitions() -> None:
    admin = Admin(None)
    assert asyncio.run(committed_offsets(admin, "group", [])) == {}
    assert not admin.asked


def test_a_topic_that_is_gone_has_no_offsets() -> None:
    assert ask(OffsetFetchResponse_v3(0, [("alarms", [(0, -1, "", UNKNOWN_TOPIC)])], 0)) == {}


class Consumer:
    """A consumer that is its own coordinator, with one answer after the other."""

    group_id, _retry_backoff_ms = "group", 0

    def __init__(self, *codes: int) -> None:
        self._coordinator = self
        self.codes = list(codes)
        self.looked_up = 0
        self.dead = True

    async def ensure_coordinator_known(self) -> None:
        self.looked_up += self.dead
        self.dead = False

    def coordinator_dead(self) -> None:
        self.dead = True

    async def _send_req(self, request: Any) -> object:
        code = self.codes.pop(0)
        topics = [("alarms", [(0, 7, "", 0)])]
        return OffsetFetchResponse_v3(0, [] if code else topics, code)


def test_a_consumer_waits_until_its_coordinator_holds_the_group_and_looks_for_the_one_that_does() -> None:
    consumer = Consumer(LOADING, LOADING, NOT_COORDINATOR, 0)
    found = asyncio.run(own_committed_offsets(consumer, PARTITIONS))
    assert found == {TopicPartition("alarms", 0): OffsetAndMetadata(7, "")}
    assert consumer.looked_up == 2


def test_a_consumer_that_may_not_ask_does_not_ask_for_ever() -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        asyncio.run(own_committed_offsets(Consumer(NOT_ALLOWED), PARTITIONS))


@in_event_loop
async def test_of_a_connection_that_cannot_be_opened_nothing_stays_open() -> None:
    """The broker takes the connection and does not say what it can."""
    ended = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    offsets = AdminGroupOffsets(Settings(bootstrap=f"127.0.0.1:{port}"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(offsets.read("group", PARTITIONS), 0.2)
    await asyncio.wait_for(ended.wait(), 2.0)
    server.close()


@pytest.mark.kafka
def test_a_commit_carries_what_was_written_and_not_what_lies_behind_it_in_memory(
    kafka: Kafka | ExistingKafka, unique_name: str
) -> None:
    create_topic(kafka.bootstrap, unique_name, 1)
    settings = Settings(bootstrap=kafka.bootstrap, topic_readings=unique_name)
    place = TopicPartition(unique_name, 0)

    async def commit(metadata: str) -> None:
        async with AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap, group_id=unique_name, enable_auto_commit=False
        ) as consumer:
            consumer.assign([place])
            await consumer.commit({place: OffsetAndMetadata(1, metadata)})

    for length in (1, 8, 16, 24, 32, 40, 67):
        asyncio.run(commit("m" * length))
        assert committed_metadata(settings, unique_name, [0]) == ["m" * length]
