"""Every topic of the product as data: what is made, checked, told to whoever runs the brokers, and allowed to whom."""

from collections.abc import Mapping

from msgspec import Struct, field

from stream_detector.settings import Settings
from stream_detector.streaming.topics.checks import Cleanup

COMPACTION_LAG_MS = 600_000
"""A worker that was suspended may write an older snapshot after a newer one; its successor has so long to mend that."""

DAY_MS = 86_400_000
SAFE_COPIES = 3
"""From so many copies on, two of them must have a record before it counts as written: one broker may be away."""

Rights = Mapping[str, tuple[str, ...]]

WORKER, CONSOLE, FORWARD, BRIDGE, FIT = "worker", "console", "forward", "mqtt-bridge", "fit --from-kafka"
"""Who does something with a topic; the others are commands."""


class Topic(Struct, frozen=True):
    """One topic as it should be.

    Attributes:
        name: as the settings name it.
        cleanup: what becomes of old records.
        retention_days: how long a created topic keeps them; None = for as long as their keys live.
        stamped_by_broker: its records carry the broker's time. Brokers refuse records stamped more than an hour ahead
            of their clock: one bad clock would end a worker.
        rights: who does what with it. What a worker itself does not read or write belongs to the commands beside it.
        history: the ledger and an audit look back on it for long: few records, kept long.
        dispensable: a worker goes on without it.
        like_readings: it has as many partitions as the topic of readings.
        brisk: the same keys are written over and over, and everything is read at each start: compacted early.
    """

    name: str
    cleanup: Cleanup
    retention_days: float | None
    rights: Rights = field(default_factory=dict)
    stamped_by_broker: bool = True
    history: bool = False
    dispensable: bool = False
    like_readings: bool = False
    brisk: bool = False

    @property
    def workers(self) -> bool:
        """Whether a worker itself needs it."""
        return WORKER in self.rights and not self.dispensable

    def config(self, copies: int = -1) -> dict[str, str]:
        """The settings that it is created with. `copies`: of each partition; -1 = the broker's default."""
        config: dict[str, str] = {"cleanup.policy": self.cleanup}
        if self.retention_days is None:
            config |= {"min.compaction.lag.ms": str(COMPACTION_LAG_MS), "segment.ms": "3600000"}
            if self.brisk:
                config |= {"segment.ms": "600000", "segment.bytes": str(16 * 2**20)}
        else:
            config["retention.ms"] = str(int(self.retention_days * DAY_MS))
        if self.stamped_by_broker:
            config["message.timestamp.type"] = "LogAppendTime"
        if copies >= SAFE_COPIES:
            config["min.insync.replicas"] = "2"
        return config


def declared_topics(settings: Settings) -> list[Topic]:
    """Every topic of the product, in the order in which they are made."""
    days, history_days = settings.topic_retention_days, settings.topic_history_days
    rekeys = settings.sensor_assets_file is not None
    read, write, both = ("READ",), ("WRITE",), ("READ", "WRITE")
    of_readings = {
        WORKER: both if rekeys else read,
        "replay": write,
        BRIDGE: write,
        "promote": write,
        "audit": read,
        "ledger": read,
        "renew": read,
        FIT: read,
    }
    of_state = {WORKER: both, "promote": read, "audit": read, "ledger": read}
    of_alarms = {
        WORKER: write,
        CONSOLE: read,
        FORWARD: read,
        "alarms": read,
        "ledger": read,
        "report": read,
        "audit": read,
        "renew": read,
        "feedback": read,
        FIT: read,
    }
    of_past = {"ledger": read, "report": read, "renew": read, FIT: read}
    of_events = {"replay": write, CONSOLE: read, FORWARD: read, **of_past}
    of_feedback = {CONSOLE: both, FORWARD: read, "feedback": write, **of_past}
    of_operating = {WORKER: write, CONSOLE: read, FORWARD: read, "ledger": read, "report": read}
    topics = [
        Topic(settings.topic_readings, "delete", days, of_readings, stamped_by_broker=False, like_readings=True),
        Topic(settings.topic_state, "compact", None, of_state, like_readings=True),
        Topic(settings.topic_alarms, "delete", history_days, of_alarms, history=True),
        Topic(settings.topic_dead_letters, "delete", days, {WORKER: write, BRIDGE: write, "audit": read}),
        Topic(settings.topic_events, "delete", history_days, of_events, history=True),
        Topic(settings.topic_alarm_states, "delete", history_days, {FORWARD: both, CONSOLE: read}, history=True),
        Topic(settings.topic_feedback, "delete", history_days, of_feedback, history=True),
        Topic(settings.topic_assets, "compact", None, {CONSOLE: both}, brisk=True),
        Topic(settings.topic_operating, "delete", history_days, of_operating, dispensable=True),
        Topic(settings.topic_renewal, "delete", history_days, {"renew": write, "report": read}),
    ]
    if settings.publish_scores:
        topics.append(Topic(settings.topic_scores, "delete", days, {WORKER: write, CONSOLE: read}))
    # A regular expression names topics that are there already.
    if rekeys and not settings.topic_unkeyed.startswith("^"):
        topics.append(Topic(settings.topic_unkeyed, "delete", days, {WORKER: read}, stamped_by_broker=False))
    return topics


def declared_groups(settings: Settings) -> list[tuple[str, str, bool]]:
    """(who, name, whether the name is a prefix) of every consumer group; READ is what each needs."""
    groups = [(WORKER, settings.group, False), (FORWARD, f"{settings.group}-forward-", True)]
    if settings.sensor_assets_file is not None:
        groups.append((WORKER, f"{settings.group}-repartition", False))
    return groups
