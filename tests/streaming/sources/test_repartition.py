import asyncio
import json
from pathlib import Path

import pytest
from aiokafka.errors import CommitFailedError
from confluent_kafka import Producer

from stream_detector.decoding.field_mapping import FieldMapping
from stream_detector.errors import UsageError
from stream_detector.messages import Reading
from stream_detector.settings import Settings
from stream_detector.streaming.clients.kafka_types import TopicPartition
from stream_detector.streaming.local.broker import LocalBroker
from stream_detector.streaming.local.clients import LocalConsumer, LocalProducer
from stream_detector.streaming.readers.topic_reader import TopicRecord
from stream_detector.streaming.sources.placing import Placing, read_map
from stream_detector.streaming.sources.repartition import Repartition
from tests.support.event_loop import in_event_loop, settle
from tests.support.stack.kafka import Kafka, create_topic
from tests.support.stack.topics import records_of

SETTINGS = Settings(bootstrap="local:1")
TP = TopicPartition(SETTINGS.topic_readings, 0)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (b"s1", b'{"sensor":"s1","time":1,"value":2}', b"pump"),
        (None, b'{"sensor":"s2","time":1,"value":2}', b"mill"),
        (b"s1", b'{"sensor":"s1","asset":"other","time":1,"value":2}', b"other"),
        (None, b'{"time":1,"values":{"s2":1.0}}', b"mill"),
        (b"k", b'{"sensor":"unheard","time":1,"value":2}', b"k"),
        (b"k", b'{"time":1,"event":"break","asset":"mill"}', b"mill"),
        (b"k", b"{broken", b"k"),
        (b"k", b"\xff", b"k"),
        (b"k", b'{"values":{"s1":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", b"k"),
        (None, None, None),
    ],
)
def test_a_record_goes_to_its_sensors_asset_or_stays_as_it_is(
    key: bytes | None, value: bytes | None, expected: bytes | None
) -> None:
    assert Placing({"s1": "pump", "s2": "mill"}).placed(key, value) == [(expected, value)]


def test_a_map_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('["s1"]')
    with pytest.raises(UsageError, match=r"map\.json"):
        read_map(tmp_path / "map.json")
    with pytest.raises(UsageError, match=r"nothing\.json"):
        read_map(tmp_path / "nothing.json")


class UnkeyedConsumer(LocalConsumer):
    """Of the topic that is to be re-keyed; `commits` are the positions that were committed."""

    def __init__(self, broker: LocalBroker, error: Exception | None = None) -> None:
        super().__init__(broker)
        self.tp = TopicPartition(SETTINGS.topic_unkeyed, 0)
        self.commits: list[int] = []
        self._error = error
        self.assign([self.tp])

    async def commit(self) -> None:
        if self._error is not None:
            raise self._error
        self.commits.append(await self.position(self.tp))


def rekeying(broker: LocalBroker, consumer: UnkeyedConsumer, mapping: FieldMapping | None = None) -> Repartition:
    return Repartition(SETTINGS, {"s1": "pump"}, mapping, lambda _: consumer, lambda _: LocalProducer(broker))


@in_event_loop
async def test_a_record_of_several_machines_goes_to_each_of_them_before_it_is_done() -> None:
    broker = LocalBroker()
    mapping = FieldMapping(readings=".", key_pattern="(?P<sensor>site-.*)", asset_name="{machine}")
    array = [{"sensor": "s1", "time": 1, "value": 2}, {"sensor": "x", "machine": "mill", "time": 2, "value": 3}]
    broker.append(SETTINGS.topic_unkeyed, json.dumps(array).encode(), b"gateway", 0)
    consumer = UnkeyedConsumer(broker)
    running = asyncio.create_task(rekeying(broker, consumer, mapping).run())
    await settle()
    sent = {record.key: json.loads(record.value or b"") for record in broker.between(TP, 0)[0]}
    assert sent == {
        b"pump": {"time": 1, "readings": [{"sensor": "s1", "time": 1, "value": 2}]},
        b"mill": {"time": 1, "readings": [{"sensor": "x", "time": 2, "value": 3, "asset": "mill"}]},
    }
    assert consumer.commits[-1] == 1
    running.cancel()


@in_event_loop
@pytest.mark.parametrize("item", [b"1", b'{"sensor":1}', b"[" * 100_000 + b"]" * 100_000])
async def test_an_array_of_what_is_no_reading_goes_on_as_it_is_and_holds_up_no_other(item: bytes) -> None:
    broker = LocalBroker()
    array, reading = b'{"time":1,"readings":[%s]}' % item, b'{"sensor":"s1","time":1,"value":2}'
    for value in (array, reading):
        broker.append(SETTINGS.topic_unkeyed, value, b"old", 0)
    running = asyncio.create_task(rekeying(broker, UnkeyedConsumer(broker)).run())
    await settle()
    assert [(sent.key, sent.value) for sent in broker.between(TP, 0)[0]] == [(b"old", array), (b"pump", reading)]
    running.cancel()


@in_event_loop
async def test_nothing_is_committed_before_it_lies_under_its_new_key() -> None:
    broker = LocalBroker()
    for value in (b'{"sensor":"s1","time":1,"value":2}', b"{broken"):
        broker.append(SETTINGS.topic_unkeyed, value, b"old", 0)
    broker.hold = {SETTINGS.topic_readings}
    consumer = UnkeyedConsumer(broker)
    running = asyncio.create_task(rekeying(broker, consumer).run())
    await settle()
    assert [sent.key for sent in broker.held] == [b"pump", b"old"]
    assert consumer.commits == []
    broker.acknowledge()
    await settle()
    assert consumer.commits == [2]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not consumer.started


@in_event_loop
async def test_records_that_the_group_took_away_come_again() -> None:
    broker = LocalBroker()
    broker.append(SETTINGS.topic_unkeyed, b'{"ts":1,"tag":"s1","val":2}', b"old", 0)
    consumer = UnkeyedConsumer(broker, CommitFailedError("fenced"))
    mapping = FieldMapping.model_validate({"time": "ts", "sensor": "tag", "value": "val"})
    running = asyncio.create_task(rekeying(broker, consumer, mapping).run())
    await settle()
    assert not running.done()
    (record,) = broker.records(SETTINGS.topic_readings)
    assert (record.key, json.loads(record.value or b"")) == (b"pump", {"time": 1, "sensor": "s1", "value": 2})
    running.cancel()


@pytest.mark.kafka
@pytest.mark.slow
def test_one_topic_a_sensor_is_gathered_under_its_asset(kafka: Kafka, unique_name: str) -> None:
    create_topic(kafka.bootstrap, f"{unique_name}-readings", partitions=2)
    for sensor in ("x1", "x2"):
        create_topic(kafka.bootstrap, f"{unique_name}.pm-1.{sensor}")
    settings = Settings(
        bootstrap=kafka.bootstrap,
        group=unique_name,
        topic_readings=f"{unique_name}-readings",
        topic_unkeyed=rf"^{unique_name}\.pm-1\..*",
    )
    pattern = rf"{unique_name}\.(?P<asset>[^.]+)\.(?P<sensor>.+)"
    mapping = FieldMapping(time="ts", value="payload.value", topic_pattern=pattern)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for sensor in ("x1", "x2"):
        producer.produce(f"{unique_name}.pm-1.{sensor}", b'{"ts":1777636800,"payload":{"value":12.5}}')
    assert producer.flush(20) == 0

    async def gather() -> list[TopicRecord]:
        task = asyncio.create_task(Repartition(settings, {}, mapping).run())
        found = await asyncio.to_thread(records_of, kafka.bootstrap, settings.topic_readings, 2, 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    found = asyncio.run(gather())
    assert {record.key for record in found} == {b"pm-1"}
    readings = sorted(
        (Reading.model_validate_json(record.value) for record in found), key=lambda reading: reading.sensor
    )
    assert [(reading.sensor, reading.value) for reading in readings] == [("x1", 12.5), ("x2", 12.5)]
