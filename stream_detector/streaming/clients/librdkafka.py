"""Clients of confluent_kafka for the commands that send and follow messages (the worker itself uses aiokafka)."""

import contextlib
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.tokens import token_source

CONNECT_SECONDS = 10.0


def options(settings: Settings) -> dict[str, Any]:
    """Options of every client: addresses of the brokers and security."""
    found: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": settings.security_protocol,
        "log_level": 0,  # our own messages say it better
    }
    if settings.security_protocol.endswith("SSL"):
        key_password = settings.ssl_key_password_file
        files = {
            "ssl.ca.location": settings.ssl_ca_file,
            "ssl.certificate.location": settings.ssl_cert_file,
            "ssl.key.location": settings.ssl_key_file,
        }
        found |= {name: str(file) for name, file in files.items() if file is not None}
        if key_password is not None:
            found["ssl.key.password"] = key_password.read_text(encoding="utf-8").strip()
        found["ssl.endpoint.identification.algorithm"] = "https" if settings.ssl_check_hostname else "none"
    if not settings.security_protocol.startswith("SASL"):
        return found
    found["sasl.mechanism"] = settings.sasl_mechanism
    if settings.sasl_mechanism == "OAUTHBEARER":
        source = token_source(settings)
        source()  # what is wrong is told in words of our own, before librdkafka tries for ever

        def token(_: str) -> tuple[str, float]:
            given = source()
            return given.text, given.expires_at

        found["oauth_cb"] = token
    else:
        found["sasl.username"] = settings.sasl_username
        found["sasl.password"] = settings.password()
    return found


def producer(settings: Settings) -> Producer:
    """A producer whose records keep their order and come once, placed by key as the Java clients place them.

    Raises:
        BrokerError: no broker answers.
    """
    made = Producer(
        {
            **options(settings),
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 262_144,
            "delivery.report.only.error": True,
        }
    )
    topics_of(made, settings)
    return made


def consumer(settings: Settings) -> Consumer:
    """A consumer that belongs to no group and commits nothing; its partitions are to be assigned.

    Raises:
        BrokerError: no broker answers.
    """
    made = Consumer(
        {
            **options(settings),
            "group.id": f"{settings.group}-reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "fetch.wait.max.ms": 100,
            "topic.metadata.refresh.interval.ms": 5_000,
        }
    )
    topics_of(made, settings)
    return made


def topics_of(client: Any, settings: Settings) -> dict[str, list[int]]:
    """Partitions of every topic that exists.

    Raises:
        BrokerError: no broker answers.
    """
    try:
        found = client.list_topics(timeout=CONNECT_SECONDS).topics
    except KafkaException as error:
        raise BrokerError(
            f"no Kafka broker answers at {settings.bootstrap} ({error.args[0].str()}); "
            "start one (`make kafka`) or name another with --bootstrap HOST:PORT"
        ) from error
    return {name: sorted(topic.partitions) for name, topic in found.items() if topic.partitions}


def newest_timestamps(settings: Settings, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """{partition: the latest timestamp of its records, in ms}; none of a partition that has no record.

    Nothing where the brokers do not say it: those before Kafka 3.0 do not know the question.
    """
    admin, newest = AdminClient(options(settings)), OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    asked = admin.list_offsets(
        dict.fromkeys((TopicPartition(topic, number) for number in partitions), newest),
        request_timeout=CONNECT_SECONDS,
    )
    found: dict[int, int] = {}
    for tp, answer in asked.items():
        with contextlib.suppress(KafkaException):
            found[tp.partition] = answer.result().timestamp
    return {number: timestamp for number, timestamp in found.items() if timestamp > 0}


def delete_topics(settings: Settings, names: list[str]) -> None:
    """Delete what exists of these topics; what cannot be deleted stays."""
    admin = AdminClient(options(settings))
    present = [name for name in names if name in topics_of(admin, settings)]
    if not present:
        return
    for deleted in admin.delete_topics(present).values():
        with contextlib.suppress(KafkaException):
            deleted.result(10)
