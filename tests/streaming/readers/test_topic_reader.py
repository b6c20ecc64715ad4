"""A reader that follows topics sees what is made while it reads, on real Kafka."""

import asyncio
from types import ModuleType

import pytest
from aiokafka.admin import NewPartitions
from confluent_kafka import Producer

from stream_detector.settings import Settings
from stream_detector.streaming.readers import committed_log, topic_reader
from stream_detector.streaming.readers.committed_log import CommittedLog
from stream_detector.streaming.readers.topic_reader import TopicReader
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic, with_admin


class Hanging:
    """A consumer whose brokers never answer."""

    stopped = 0

    def __init__(self, **_options: object) -> None:
        """Options of a real one."""

    async def start(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None:
        Hanging.stopped += 1


@pytest.mark.parametrize(
    ("module", "reader"),
    [
        (topic_reader, TopicReader(Settings(), ["detector.alarms"])),
        (committed_log, CommittedLog(Settings(), ["detector.alarms"], "group", 0.0)),
    ],
)
def test_a_reader_that_is_broken_off_while_it_starts_closes_its_client(
    module: ModuleType, reader: TopicReader | CommittedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AIOKafkaConsumer", Hanging)
    before = Hanging.stopped

    async def broken_off() -> None:
        async with asyncio.timeout(0.01), reader:
            raise AssertionError("it started")

    with pytest.raises(TimeoutError):
        asyncio.run(broken_off())
    assert Hanging.stopped == before + 1


@pytest.mark.kafka
def test_partitions_that_are_added_are_read_from_their_beginning(
    kafka: Kafka | ExistingKafka, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "METADATA_MILLISECONDS", 500)
    create_topic(kafka.bootstrap, unique_name, partitions=1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(unique_name, b"first", partition=0)
    assert producer.flush(20) == 0

    def add_a_partition() -> None:
        with_admin(kafka.bootstrap, lambda admin: admin.create_partitions({unique_name: NewPartitions(2)}))
        of_both = Producer({"bootstrap.servers": kafka.bootstrap})
        of_both.produce(unique_name, b"in the new one", partition=1)
        of_both.produce(unique_name, b"in the old one", partition=0)
        assert of_both.flush(20) == 0

    async def follow() -> list[bytes | None]:
        found: list[bytes | None] = []
        async with (
            asyncio.timeout(60),
            TopicReader(Settings.load(bootstrap=kafka.bootstrap), [unique_name]) as reader,
        ):
            async for records in reader.follow(quiet_seconds=0.2):
                found += [record.value for record in records]
                if found == [b"first"]:
                    await asyncio.to_thread(add_a_partition)
                if len(found) >= 3:
                    return found
        return found

    assert sorted(asyncio.run(follow()), key=str) == [b"first", b"in the new one", b"in the old one"]
