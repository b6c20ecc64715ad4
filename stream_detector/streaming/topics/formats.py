"""The declared topics in the words of those who make them: a table, Strimzi's resources, a shell script, rights."""

import json
import re
import shlex
from collections.abc import Iterator

from stream_detector.settings import Settings
from stream_detector.streaming.topics.declared import Topic, declared_groups, declared_topics

BROKERS_CHOOSE = -1
RESOURCE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
"""What Kubernetes takes as a name; topics may have others."""


def as_table(settings: Settings) -> str:
    """One line a topic, for people."""
    rows = [("topic", "partitions", "copies", "settings")]
    for topic in declared_topics(settings):
        own = ", ".join(f"{name}={value}" for name, value in topic.config(settings.topic_replication).items())
        copies = "broker's" if settings.topic_replication == BROKERS_CHOOSE else str(settings.topic_replication)
        rows.append((topic.name, str(settings.topic_partitions), copies, own))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    even = ", ".join(topic.name for topic in declared_topics(settings) if topic.like_readings)
    return "\n".join([*lines, f"\nAs many partitions as one another, always: {even}.", ""])


def as_yaml(settings: Settings, cluster: str) -> str:
    """A `KafkaTopic` of Strimzi for each topic. `cluster`: the name of the `Kafka` resource."""
    return "".join(_resource(settings, topic, cluster) for topic in declared_topics(settings))


def _resource(settings: Settings, topic: Topic, cluster: str) -> str:
    fits = RESOURCE_NAME.fullmatch(topic.name) is not None
    name = topic.name if fits else re.sub(r"[^a-z0-9.-]+", "-", topic.name.lower()).strip("-.")
    lines = [
        "---",
        "apiVersion: kafka.strimzi.io/v1beta2",
        "kind: KafkaTopic",
        "metadata:",
        f"  name: {json.dumps(name)}",
        f"  labels: {{strimzi.io/cluster: {json.dumps(cluster)}}}",
        "spec:",
        *([] if fits else [f"  topicName: {json.dumps(topic.name)}"]),
        f"  partitions: {settings.topic_partitions}",
        *([] if settings.topic_replication == BROKERS_CHOOSE else [f"  replicas: {settings.topic_replication}"]),
        "  config:",
        *(f"    {key}: {json.dumps(value)}" for key, value in topic.config(settings.topic_replication).items()),
    ]
    return "\n".join(lines) + "\n"


def as_shell(settings: Settings) -> str:
    """A script that makes what is missing, with Kafka's own `kafka-topics.sh`."""
    lines = [
        "#!/bin/sh",
        "# Makes the topics that are missing; those that are there stay as they are.",
        "# Kafka's bin folder on PATH; CONFIG names a file of client properties where the brokers ask for a login.",
        "set -eu",
        f"BOOTSTRAP=${{BOOTSTRAP:-{settings.bootstrap}}}",
        "create() {",
        '    kafka-topics.sh --bootstrap-server "$BOOTSTRAP" ${CONFIG:+--command-config "$CONFIG"} \\',
        '        --create --if-not-exists "$@"',
        "}",
    ]
    for topic in declared_topics(settings):
        copies = settings.topic_replication
        words = ["--topic", topic.name, "--partitions", str(settings.topic_partitions)]
        words += [] if copies == BROKERS_CHOOSE else ["--replication-factor", str(copies)]
        for key, value in topic.config(copies).items():
            words += ["--config", f"{key}={value}"]
        lines.append(f"create {shlex.join(words)}")
    return "\n".join(lines) + "\n"


def as_rights(settings: Settings) -> str:
    """A table in Markdown: the least that each part must be allowed."""
    lines = ["| who | resource | name | operations |", "|---|---|---|---|"]
    lines += [
        f"| {who} | {kind} | `{name}` | {', '.join(operations)} |" for who, kind, name, operations in rights(settings)
    ]
    return "\n".join(lines) + "\n"


def rights(settings: Settings) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """(who, kind of resource, name, operations), part after part; a name that ends in `*` is a prefix."""
    topics, groups = declared_topics(settings), declared_groups(settings)
    for who in dict.fromkeys([part for topic in topics for part in topic.rights]):
        for topic in topics:
            if who in topic.rights:
                yield who, "topic", topic.name, (*topic.rights[who], "DESCRIBE")
        for part, name, is_prefix in groups:
            if part == who:
                yield who, "group", f"{name}*" if is_prefix else name, ("READ", "DESCRIBE")
