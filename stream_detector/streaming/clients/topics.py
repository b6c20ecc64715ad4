"""The topics that a worker needs: made where missing and allowed, checked otherwise."""

import logging
from typing import Any

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.security import aiokafka_options

log = logging.getLogger(__name__)

ALREADY_EXISTS = 36
NONE = 0


async def ensure_topics(settings: Settings) -> dict[str, int]:
    """Make sure that every topic of a worker exists; returns their numbers of partitions.

    The topic of state gets as many partitions as the readings have: a snapshot lies in the partition of its asset.

    Raises:
        BrokerError: a topic is missing and may not be or could not be created, or has too few partitions.
        KafkaError: the brokers cannot be reached.
    """
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(**aiokafka_options(settings), request_timeout_ms=15_000)
    await admin.start()
    try:
        found = await _partitions(admin)
        readings = found.get(settings.topic_readings, settings.topic_partitions)
        wanted = dict.fromkeys(_plain_topics(settings), settings.topic_partitions)
        wanted[settings.topic_readings] = readings
        compacted = {settings.topic_state: readings}
        missing = {name: n for name, n in {**wanted, **compacted}.items() if name not in found}
        if settings.create_topics:
            for name, partitions in missing.items():
                await _create(admin, settings, name, partitions, compacted=name in compacted)
            found.update(missing)
        needed = sorted(missing.keys() & {*_own_topics(settings), *compacted} - found.keys())
        if needed:
            raise BrokerError(
                f"topics {needed} do not exist, or this user may not DESCRIBE them, and "
                "STREAM_DETECTOR_CREATE_TOPICS is false; create them, grant the right or allow the creation"
            )
        if found[settings.topic_state] < readings:
            raise BrokerError(
                f"topic {settings.topic_state} has {found[settings.topic_state]} partitions, {readings} are needed, "
                f"as many as {settings.topic_readings} has; add partitions to it"
            )
        return found
    finally:
        await admin.close()


async def ensure_history_topics(settings: Settings) -> None:
    """Make sure that the topics of alarms, events, feedback and alarm states exist: all that the forwarder needs.

    Raises:
        BrokerError: a topic is missing and may not be or could not be created.
        KafkaError: the brokers cannot be reached.
    """
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(**aiokafka_options(settings), request_timeout_ms=15_000)
    await admin.start()
    try:
        missing = sorted(set(_history_topics(settings)) - (await _partitions(admin)).keys())
        if missing and not settings.create_topics:
            raise BrokerError(
                f"topics {missing} do not exist, or this user may not DESCRIBE them, and "
                "STREAM_DETECTOR_CREATE_TOPICS is false; create them, grant the right or allow the creation"
            )
        for name in missing:
            await _create(admin, settings, name, settings.topic_partitions, compacted=False)
    finally:
        await admin.close()


async def existing_partitions(settings: Settings) -> dict[str, list[int]]:
    """The partitions of every topic that is there, ascending.

    A consumer that asks for a topic's metadata may create the topic; the admin client only looks.

    Raises:
        KafkaError: the brokers cannot be reached.
    """
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(**aiokafka_options(settings))
    await admin.start()
    try:
        described = await admin.describe_topics()
    finally:
        await admin.close()
    return {
        topic["topic"]: sorted(partition["partition"] for partition in topic["partitions"])
        for topic in described
        if topic["error_code"] == NONE
    }


def worker_topics(settings: Settings) -> list[str]:
    """The names of all topics that a worker needs, e.g. for an embedded broker."""
    return [*_plain_topics(settings), settings.topic_state]


def _plain_topics(settings: Settings) -> list[str]:
    return [*_own_topics(settings), *_history_topics(settings)]


def _own_topics(settings: Settings) -> list[str]:
    """What a worker itself reads and writes, its state apart; the rest belongs to the commands beside it."""
    names = [settings.topic_readings, settings.topic_alarms, settings.topic_dead_letters]
    if settings.publish_scores:
        names.append(settings.topic_scores)
    # A regular expression names topics that are there already.
    if settings.sensor_assets_file is not None and not settings.topic_unkeyed.startswith("^"):
        names.append(settings.topic_unkeyed)
    return names


def _history_topics(settings: Settings) -> list[str]:
    """What the ledger and an audit look back on for long: few records, kept long."""
    return [settings.topic_events, settings.topic_alarms, settings.topic_alarm_states, settings.topic_feedback]


async def _partitions(admin: Any) -> dict[str, int]:
    described = await admin.describe_topics()
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == NONE}


async def _create(admin: Any, settings: Settings, name: str, partitions: int, *, compacted: bool) -> None:
    from aiokafka.admin import NewTopic

    if compacted:
        # A worker that was suspended may write an older snapshot after a newer one; the reader takes the newest by
        # offset, so compaction must not remove it while such a worker can still exist.
        config = {"cleanup.policy": "compact", "min.compaction.lag.ms": "600000", "segment.ms": "3600000"}
    else:
        days = settings.topic_history_days if name in _history_topics(settings) else settings.topic_retention_days
        config = {"retention.ms": str(int(days * 86_400_000))}
    if name not in (settings.topic_readings, settings.topic_unkeyed):
        # Brokers refuse records stamped more than an hour ahead of their clock: one bad clock would end a worker.
        config["message.timestamp.type"] = "LogAppendTime"
    topic = NewTopic(name, partitions, 1, topic_configs=config)
    # The constructor refuses -1, which brokers take as their own default.
    topic.replication_factor = settings.topic_replication
    response = await admin.create_topics([topic])
    for topic_name, code, *rest in response.topic_errors:
        if code not in (NONE, ALREADY_EXISTS):
            reason = rest[0] if rest else "no reason given"
            raise BrokerError(f"topic {topic_name} could not be created: error {code}, {reason}")
    log.info("created topic %s with %d partitions", name, partitions)
