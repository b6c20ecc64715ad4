"""Looks at everything that a worker and a forwarder need, changes nothing, and says what is wrong in one go."""

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from stream_detector.errors import StreamDetectorError
from stream_detector.process_metrics import first_expiry
from stream_detector.settings import Settings
from stream_detector.streaming.clients import librdkafka
from stream_detector.streaming.clients.diagnosis import why_unreachable
from stream_detector.streaming.readers.schema_registry import subjects_of
from stream_detector.streaming.topics.checks import TopicNeeds, judge
from stream_detector.streaming.topics.declared import WORKER, Topic, declared_topics

SECONDS = 30.0
CLOCK_SECONDS = 5.0
LEAST_FREE_BYTES = 1 << 30
LEAST_FREE_PART = 0.1
SOON_DAYS = 14.0
"""As of the alert StreamDetectorCertificateExpires."""

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `text`: what was found and, unless it is ok, what to do."""

    check: str
    state: State
    text: str


def examine_brokers(settings: Settings, needs: TopicNeeds | None = None) -> list[Finding]:
    """Login, topics and their settings, rights, and the clock; nothing is created or written.

    Args:
        needs: what the bundle asks of the topics, where there is one.
    """
    try:
        unreachable = asyncio.run(why_unreachable(settings))
    except StreamDetectorError as error:
        return [Finding("login", "failed", str(error))]
    if unreachable is not None:
        return [Finding("login", "failed", unreachable.reason)]
    user = settings.sasl_username or "no user"
    findings = [Finding("login", "ok", f"{settings.bootstrap} lets us in ({settings.security_protocol}, {user})")]
    try:
        admin = AdminClient(librdkafka.options(settings))
        described = _describe(admin, [topic.name for topic in declared_topics(settings)])
        findings += _topics(settings, admin, described, needs or TopicNeeds(0.0, 0))
        findings += _rights(settings, described)
        findings.append(_group(settings, admin))
        findings.append(_clock(settings, described))
    except (StreamDetectorError, KafkaException, TimeoutError) as error:
        findings.append(Finding("brokers", "failed", str(error) or f"no answer within {SECONDS:g} s"))
    return findings


def examine_registry(settings: Settings) -> list[Finding]:
    """Whether the schema registry answers and lets us in, where the settings name one."""
    if settings.schema_registry_url is None:
        return []
    try:
        count = len(subjects_of(settings))
    except StreamDetectorError as error:
        return [Finding("registry", "failed", str(error))]
    return [Finding("registry", "ok", f"{settings.schema_registry_url} answers ({count} subjects)")]


def examine_certificates(settings: Settings) -> list[Finding]:
    """When the first certificate of each file that the settings name expires."""
    findings = []
    for setting, file in settings.certificates().items():
        name = f"{Settings.variable(setting)} = {file}"
        try:
            left = first_expiry(file.read_bytes()) - time.time()
        except (OSError, ValueError) as error:
            findings.append(Finding("certificate", "failed", f"{name} cannot be read: {error}"))
            continue
        days = left / 86_400
        state: State = "failed" if days < 0 else "warning" if days < SOON_DAYS else "ok"
        text = f"{name}: the first to expire does in {days:.0f} days" if days >= 0 else f"{name}: one has expired"
        findings.append(Finding("certificate", state, text + ("" if state == "ok" else "; put a new one in its place")))
    return findings


def examine_disk(folder: Path) -> Finding:
    """The room on the disk of this folder."""
    usage = shutil.disk_usage(folder)
    text = f"{usage.free / (1 << 30):.1f} GiB of {usage.total / (1 << 30):.1f} GiB free at {folder}"
    tight = usage.free < LEAST_FREE_BYTES or usage.free < LEAST_FREE_PART * usage.total
    return Finding("disk", "warning" if tight else "ok", text + ("; make room" if tight else ""))


def _describe(admin: Any, names: Sequence[str]) -> dict[str, Any]:
    """Description of each topic that exists and that we may describe."""
    found = {}
    asked = admin.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=SECONDS
    )
    for name, answer in asked.items():
        try:
            found[name] = answer.result(SECONDS)
        except KafkaException:
            continue
    return found


def _topics(settings: Settings, admin: Any, described: Mapping[str, Any], needs: TopicNeeds) -> list[Finding]:
    findings = []
    readings = described.get(settings.topic_readings)
    for topic in declared_topics(settings):
        found = described.get(topic.name)
        if found is None:
            findings.append(_missing(settings, topic))
            continue
        partitions = len(found.partitions)
        replicas = min((len(partition.replicas) for partition in found.partitions), default=0)
        verdict = judge(
            topic.name,
            topic.cleanup,
            _config(admin, topic.name),
            replicas,
            stamped_by_broker=topic.stamped_by_broker,
            rewind_seconds=needs.rewind_seconds if topic.name == settings.topic_readings else 0.0,
            message_bytes=needs.snapshot_bytes if topic.name == settings.topic_state else 0,
        )
        leaderless = [partition.id for partition in found.partitions if partition.leader is None]
        if leaderless:
            verdict.refused.append(f"topic {topic.name}: partitions {leaderless} have no leader; is a broker down?")
        if topic.like_readings and readings is not None and partitions < len(readings.partitions):
            verdict.refused.append(
                f"topic {topic.name} has {partitions} partitions, {len(readings.partitions)} are needed, as many as "
                f"{settings.topic_readings} has; add partitions to it"
            )
        findings += [Finding("topic", "failed", text) for text in verdict.refused]
        findings += [Finding("topic", "warning", text) for text in verdict.warnings]
        if not verdict.refused and not verdict.warnings:
            findings.append(Finding("topic", "ok", f"{topic.name}: {partitions} partitions, {replicas} copies"))
    return findings


def _missing(settings: Settings, topic: Topic) -> Finding:
    if settings.create_topics:
        return Finding(
            "topic", "warning", f"{topic.name} does not exist, or this user may not DESCRIBE it; it is created"
        )
    state: State = "failed" if topic.workers else "warning"
    return Finding(
        "topic", state, f"{topic.name} does not exist, or this user may not DESCRIBE it; create it or grant it"
    )


def _config(admin: Any, name: str) -> dict[str, str]:
    """The topic's settings; empty where this user may not see them."""
    (answer,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)], request_timeout=SECONDS).values()
    try:
        return {entry: value.value for entry, value in answer.result(SECONDS).items() if value.value is not None}
    except KafkaException:
        return {}


def _rights(settings: Settings, described: Mapping[str, Any]) -> list[Finding]:
    findings = []
    for topic in declared_topics(settings):
        name, needed = topic.name, topic.rights.get(WORKER, ())
        if not needed or name not in described:
            continue
        granted = {operation.name for operation in described[name].authorized_operations or ()}
        lacking = [operation for operation in needed if operation not in granted]
        user = settings.sasl_username or "this client"
        findings.append(
            Finding("rights", "failed", f"{user} lacks {' and '.join(lacking)} on the topic {name}; grant it")
            if lacking
            else Finding("rights", "ok", f"{' and '.join(needed)} on {name}")
        )
    return findings


def _group(settings: Settings, admin: Any) -> Finding:
    group = settings.group
    (answer,) = admin.describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=SECONDS
    ).values()
    try:
        found = answer.result(SECONDS)
    except KafkaException as error:
        code = error.args[0].name()
        if code == "GROUP_ID_NOT_FOUND":
            return Finding("rights", "ok", f"the group {group} has no members yet")
        return Finding("rights", "failed", f"the group {group} cannot be used ({code}); grant READ on it")
    granted = {operation.name for operation in found.authorized_operations or ()}
    if granted and "READ" not in granted:
        return Finding("rights", "failed", f"this user lacks READ on the group {group}; grant it")
    return Finding("rights", "ok", f"READ on the group {group}, which has {len(found.members)} members now")


def _clock(settings: Settings, described: Mapping[str, Any]) -> Finding:
    """Kafka tells no time of its own: the newest reading's must not lie ahead of ours."""
    topic = settings.topic_readings
    if topic not in described:
        return Finding("clock", "warning", "not compared: there are no readings")
    consumer = librdkafka.consumer(settings)
    newest = 0
    try:
        for partition in described[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition.id), SECONDS)
            if high > low:
                consumer.assign([TopicPartition(topic, partition.id, high - 1)])
                message = consumer.poll(2.0)
                if message is not None and message.error() is None:
                    newest = max(newest, message.timestamp()[1])
    finally:
        consumer.close()
    if newest == 0:
        return Finding("clock", "warning", "not compared: there are no readings")
    age = time.time() - newest / 1000
    if age < -CLOCK_SECONDS:
        return Finding(
            "clock", "warning", f"the newest reading is {-age:.0f} s ahead of this clock; one of the two is wrong"
        )
    return Finding("clock", "ok", f"the newest reading came {max(0.0, age):.0f} s ago")
