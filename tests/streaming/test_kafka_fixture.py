import pytest

from tests.kafka import ExistingKafka, Kafka, create_topic

pytestmark = pytest.mark.kafka


def test_records_outlive_a_killed_broker(own_kafka: Kafka, unique_name: str) -> None:
    from confluent_kafka import Consumer, Producer

    create_topic(own_kafka.bootstrap, unique_name)
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap})
    producer.produce(unique_name, b"kept")
    assert producer.flush(10) == 0
    own_kafka.brokers[0].kill()
    assert not own_kafka.brokers[0].alive
    own_kafka.brokers[0].start()
    reader = Consumer(
        {"bootstrap.servers": own_kafka.bootstrap, "group.id": unique_name, "auto.offset.reset": "earliest"}
    )
    reader.subscribe([unique_name])
    record = reader.poll(30)
    reader.close()
    assert record is not None
    assert record.value() == b"kept"


def test_topics_are_not_made_by_mistake(kafka: Kafka | ExistingKafka, unique_name: str) -> None:
    from confluent_kafka.admin import AdminClient

    if isinstance(kafka, ExistingKafka):
        pytest.skip("an existing broker may create topics by itself")
    assert unique_name not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
