"""Makes the declared topics, and checks those that are there."""

import asyncio
import logging
from collections.abc import Callable

from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, InvalidPartitionsError, KafkaError

from stream_detector.errors import BrokerError
from stream_detector.settings import Settings
from stream_detector.streaming.clients.admin import open_admin
from stream_detector.streaming.clients.kafka_types import KafkaAdmin
from stream_detector.streaming.topics.checks import FoundTopic, TopicNeeds, judge
from stream_detector.streaming.topics.declared import Topic, declared_topics

log = logging.getLogger(__name__)

ALREADY_EXISTS = 36
NONE = 0
RIGHTS_SECONDS = 5.0


async def ensure_topics(settings: Settings, needs: TopicNeeds | None = None) -> dict[str, int]:
    """Make sure that every topic of a worker exists; returns their numbers of partitions.

    The topic of state gets as many partitions as the readings have: a snapshot lies in the partition of its asset.
    Where it may not be extended, the worker leaves the partitions alone that it cannot keep snapshots of.

    Args:
        settings: names the topics, and says whether they may be made.
        needs: what the bundle asks of them; None = their settings are not looked at.

    Raises:
        BrokerError: a topic is missing and may not be or could not be created or extended, or has settings that break
            the delivery promise.
        KafkaError: the brokers cannot be reached.
    """
    topics = declared_topics(settings)
    admin = await open_admin(settings)
    try:
        found = await _describe(admin)
        readings = found.get(settings.topic_readings)
        count = settings.topic_partitions if readings is None else readings.partitions
        wanted = {topic.name: count if topic.like_readings else settings.topic_partitions for topic in topics}
        refused = await _make_missing(admin, settings, [topic for topic in topics if topic.name not in found], wanted)
        partitions = {name: topic.partitions for name, topic in found.items()}
        if settings.create_topics:
            partitions = {name: count for name, count in wanted.items() if name not in refused} | partitions
        if partitions[settings.topic_state] < count and settings.create_topics:
            await _extend(admin, settings.topic_state, count)
            partitions[settings.topic_state] = count
        if needs is not None:
            await _check(admin, settings, [topic for topic in topics if topic.workers], found, needs)
            name = settings.topic_operating
            if needs.tells_operating and name in partitions and not await asyncio.to_thread(may_write, settings, name):
                log.warning("this user may not write the topic %s; the worker goes on without it", name)
                del partitions[name]
        return partitions
    finally:
        await admin.close()


def may_write(settings: Settings, name: str) -> bool:
    """Whether this user may write to the topic; True where the brokers do not tell."""
    from confluent_kafka import KafkaException, TopicCollection  # noqa: PLC0415 - a worker seldom needs a second client
    from confluent_kafka.admin import AclOperation, AdminClient  # noqa: PLC0415 - the same

    from stream_detector.streaming.clients import librdkafka  # noqa: PLC0415 - the same

    admin = AdminClient(librdkafka.options(settings))
    asked = admin.describe_topics(
        TopicCollection([name]), include_authorized_operations=True, request_timeout=RIGHTS_SECONDS
    )
    try:
        granted = asked[name].result(RIGHTS_SECONDS).authorized_operations
    except (KafkaException, TimeoutError):
        return True
    return not granted or AclOperation.WRITE in granted


async def check_topics(settings: Settings, needs: TopicNeeds) -> None:
    """Hold the settings of a worker's topics against what another bundle asks of them, before it decides.

    Raises:
        BrokerError: a topic has settings that break the delivery promise with it.
        KafkaError: the brokers cannot be reached.
    """
    admin = await open_admin(settings)
    try:
        found = await _describe(admin)
        await _check(admin, settings, [topic for topic in declared_topics(settings) if topic.workers], found, needs)
    finally:
        await admin.close()


async def ensure_history_topics(settings: Settings) -> None:
    """Make sure that the topics of alarms, events, feedback and alarm states exist: all that the forwarder needs.

    Raises:
        BrokerError: a topic is missing and may not be or could not be created.
        KafkaError: the brokers cannot be reached.
    """
    await _ensure(settings, lambda topic: topic.history)


async def ensure_written_topics(settings: Settings, who: str) -> None:
    """Make sure that the topics exist that a command writes to, e.g. the bridge.

    Raises:
        BrokerError: a topic is missing and may not be or could not be created.
        KafkaError: the brokers cannot be reached.
    """
    await _ensure(settings, lambda topic: "WRITE" in topic.rights.get(who, ()))


async def _ensure(settings: Settings, wants: Callable[[Topic], bool]) -> None:
    admin = await open_admin(settings)
    try:
        found = await _describe(admin)
        missing = [topic for topic in declared_topics(settings) if wants(topic) and topic.name not in found]
        needed = {topic.name for topic in missing}
        wanted = {topic.name: settings.topic_partitions for topic in missing}
        await _make_missing(admin, settings, missing, wanted, needed)
    finally:
        await admin.close()


async def existing_partitions(settings: Settings) -> dict[str, list[int]]:
    """The partitions of every topic that is there, ascending.

    A consumer that asks for a topic's metadata may create the topic; the admin client only looks.

    Raises:
        KafkaError: the brokers cannot be reached.
    """
    admin = await open_admin(settings)
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
    return [topic.name for topic in declared_topics(settings)]


async def _describe(admin: KafkaAdmin) -> dict[str, FoundTopic]:
    return {
        topic["topic"]: FoundTopic(
            len(topic["partitions"]), min((len(part["replicas"]) for part in topic["partitions"]), default=0)
        )
        for topic in await admin.describe_topics()
        if topic["error_code"] == NONE
    }


async def _make_missing(
    admin: KafkaAdmin,
    settings: Settings,
    missing: list[Topic],
    partitions: dict[str, int],
    needed: set[str] | None = None,
) -> set[str]:
    """Create them where that is allowed; otherwise those that are `needed` (None: by a worker) must be there.

    Returns the names of dispensable ones that the brokers refused.
    """
    if not settings.create_topics:
        absent = sorted(t.name for t in missing if (t.workers if needed is None else t.name in needed))
        if absent:
            raise BrokerError(
                f"topics {absent} do not exist, or this user may not DESCRIBE them, and "
                "STREAM_DETECTOR_CREATE_TOPICS is false; create them, grant the right or allow the creation"
            )
        return set()
    refused = set()
    for topic in missing:
        try:
            await _create(admin, settings, topic, partitions[topic.name])
        except BrokerError as error:
            if not topic.dispensable:
                raise
            log.warning("%s; the worker goes on without it", error)
            refused.add(topic.name)
    return refused


async def _create(admin: KafkaAdmin, settings: Settings, topic: Topic, partitions: int) -> None:
    new = NewTopic(topic.name, partitions, 1, topic_configs=topic.config(settings.topic_replication))
    # The constructor refuses -1, which brokers take as their own default.
    new.replication_factor = settings.topic_replication
    response = await admin.create_topics([new])
    for topic_name, code, *rest in response.topic_errors:
        if code not in (NONE, ALREADY_EXISTS):
            reason = rest[0] if rest else "no reason given"
            raise BrokerError(f"topic {topic_name} could not be created: error {code}, {reason}")
    log.info("created topic %s with %d partitions", topic.name, partitions)


async def _extend(admin: KafkaAdmin, topic: str, partitions: int) -> None:
    try:
        await admin.create_partitions({topic: NewPartitions(partitions)})
    except InvalidPartitionsError:  # another worker was faster
        return
    except KafkaError as error:
        if error.retriable:
            raise
        raise BrokerError(
            f"topic {topic} needs {partitions} partitions and could not be extended: {error}; add them, or grant ALTER"
        ) from None
    log.warning("extended topic %s to %d partitions", topic, partitions)


async def _check(
    admin: KafkaAdmin, settings: Settings, topics: list[Topic], found: dict[str, FoundTopic], needs: TopicNeeds
) -> None:
    """Refuse what breaks the promise, all of it at once; warn of what is only worse. `found`: those that are there."""
    there = [topic for topic in topics if topic.name in found]
    configs = await _configs(admin, [topic.name for topic in there])
    refused: list[str] = []
    for topic in there:
        config = configs.get(topic.name)
        if config is None:
            log.info("the settings of topic %s are not checked: the broker does not tell them", topic.name)
            continue
        verdict = judge(
            topic.name,
            topic.cleanup,
            config,
            found[topic.name].replicas,
            stamped_by_broker=topic.stamped_by_broker,
            rewind_seconds=needs.rewind_seconds if topic.name == settings.topic_readings else 0.0,
            message_bytes=needs.snapshot_bytes if topic.name == settings.topic_state else 0,
        )
        refused += verdict.refused
        for warning in verdict.warnings:
            log.warning("%s", warning)
    if refused:
        raise BrokerError("; ".join(refused))


async def _configs(admin: KafkaAdmin, names: list[str]) -> dict[str, dict[str, str]]:
    """{topic: its settings}; a topic whose settings this user may not see, or the broker does not tell, is left out."""
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    except IncompatibleBrokerVersion:  # the embedded broker
        return {}
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for code, _, _, name, entries in answer.resources
        if code == NONE
    }
