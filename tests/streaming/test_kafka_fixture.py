import pytest

from tests.support.plant import Record
from tests.support.stack.kafka import Kafka, create_topic
from tests.support.stack.workers import produce, read_topic

pytestmark = pytest.mark.kafka


def test_records_outlive_a_killed_broker(own_kafka: Kafka, unique_name: str) -> None:
    create_topic(own_kafka.bootstrap, unique_name)
    produce(own_kafka.bootstrap, unique_name, [Record(0, b"key", b"kept")])
    own_kafka.brokers[0].kill()
    assert not own_kafka.brokers[0].alive
    own_kafka.brokers[0].start()
    assert [record.value for record in read_topic(own_kafka.bootstrap, unique_name)] == [b"kept"]
