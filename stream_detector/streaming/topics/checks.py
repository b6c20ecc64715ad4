"""Which settings of a topic break the delivery promise, and which only make it weaker. No I/O."""

import math
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

Cleanup = Literal["delete", "compact"]

FOR_EVER = -1
BATCH_OVERHEAD_BYTES = 1_024
"""Of a batch that holds a single record: its header, the record's key and headers."""

ALTER = "alter it with `kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}`"


class TopicNeeds(Struct, frozen=True):
    """What a bundle asks of the topics.

    Attributes:
        rewind_seconds: how far back a restart may have to read the readings.
        snapshot_bytes: the largest snapshot of one asset.
        tells_operating: it knows when machines stand, and its worker says so.
    """

    rewind_seconds: float
    snapshot_bytes: int
    tells_operating: bool = False


class FoundTopic(Struct, frozen=True):
    """A topic as the brokers describe it. `replicas`: the fewest copies that a partition has."""

    partitions: int
    replicas: int


class Verdict(Struct):
    """Sentences: why a worker must not start on the topic, and what it starts with nevertheless."""

    refused: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def judge(
    topic: str,
    cleanup: Cleanup,
    config: Mapping[str, str],
    replicas: int,
    *,
    stamped_by_broker: bool = True,
    rewind_seconds: float = 0.0,
    message_bytes: int = 0,
) -> Verdict:
    """Hold the settings of one topic against what is wanted of it; a setting that the broker does not tell is fine.

    Args:
        topic: its name.
        cleanup: the policy that is wanted.
        config: the broker's names and values.
        replicas: copies of each partition.
        stamped_by_broker: its records should carry the broker's time.
        rewind_seconds: the broker must keep records for so long.
        message_bytes: the largest message that will be written to it.
    """
    verdict = Verdict()
    found = {policy.strip() for policy in config.get("cleanup.policy", cleanup).split(",")}
    if found != {cleanup}:
        loses = "removes snapshots that are still needed" if cleanup == "compact" else "keeps one record of each asset"
        verdict.refused.append(
            f"topic {topic} has cleanup.policy = {config['cleanup.policy']}, {cleanup} is wanted, for the broker "
            f"{loses} otherwise; {_alter(topic, f'cleanup.policy={cleanup}')}"
        )
    retention_ms = _number(config, "retention.ms", FOR_EVER)
    if cleanup == "delete" and 0 <= retention_ms < rewind_seconds * 1000:
        wanted = math.ceil(rewind_seconds * 1000)
        verdict.refused.append(
            f"topic {topic} has retention.ms = {retention_ms}, but a restart reads back up to {rewind_seconds:g} s "
            f"with this bundle; {_alter(topic, f'retention.ms={wanted}')} or more"
        )
    largest = _number(config, "max.message.bytes", 2**31)
    if message_bytes + BATCH_OVERHEAD_BYTES > largest:
        wanted = message_bytes + BATCH_OVERHEAD_BYTES
        verdict.refused.append(
            f"topic {topic} has max.message.bytes = {largest}, but a snapshot of this bundle takes up to {wanted} "
            f"bytes; {_alter(topic, f'max.message.bytes={wanted}')} or choose a smaller recipe"
        )
    in_sync = _number(config, "min.insync.replicas", 1)
    if in_sync > replicas:
        verdict.refused.append(
            f"topic {topic} has min.insync.replicas = {in_sync} and only {replicas} copies, so that no message is ever "
            f"acknowledged; {_alter(topic, f'min.insync.replicas={max(1, replicas - 1)}')} or add replicas"
        )
    _warn(verdict, topic, config, cleanup, replicas, in_sync, rewind_seconds, stamped_by_broker=stamped_by_broker)
    return verdict


def _warn(
    verdict: Verdict,
    topic: str,
    config: Mapping[str, str],
    cleanup: Cleanup,
    replicas: int,
    in_sync: int,
    rewind_seconds: float,
    *,
    stamped_by_broker: bool,
) -> None:
    if stamped_by_broker and config.get("message.timestamp.type", "LogAppendTime") != "LogAppendTime":
        verdict.warnings.append(
            f"topic {topic} takes the time of its records from the worker, and refuses them where a clock is an hour "
            f"ahead; {_alter(topic, 'message.timestamp.type=LogAppendTime')}"
        )
    if in_sync == 1 and replicas > 1:
        verdict.warnings.append(
            f"topic {topic} has {replicas} copies and min.insync.replicas = 1: what is acknowledged may lie on one "
            f"broker alone; {_alter(topic, 'min.insync.replicas=2')}"
        )
    if config.get("unclean.leader.election.enable", "false") == "true":
        verdict.warnings.append(
            f"topic {topic} has unclean.leader.election.enable = true: acknowledged records may be lost with a broker; "
            f"{_alter(topic, 'unclean.leader.election.enable=false')}"
        )
    size = _number(config, "retention.bytes", FOR_EVER)
    if cleanup == "delete" and rewind_seconds and size >= 0:
        verdict.warnings.append(
            f"topic {topic} has retention.bytes = {size}: where that is less than {rewind_seconds:g} s of readings, "
            f"windows warm up after a restart; {_alter(topic, 'retention.bytes=-1')}"
        )
    if cleanup == "compact" and "min.compaction.lag.ms" in config and _number(config, "min.compaction.lag.ms", 0) == 0:
        verdict.warnings.append(
            f"topic {topic} has min.compaction.lag.ms = 0: a snapshot that a suspended worker writes late may replace "
            f"a newer one; {_alter(topic, 'min.compaction.lag.ms=600000')}"
        )


def _number(config: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(config[name])
    except (KeyError, TypeError, ValueError):
        return default


def _alter(topic: str, setting: str) -> str:
    return ALTER.format(topic=topic, setting=setting)
