"""Which topics a worker refuses, without a broker."""

import pytest

from stream_detector.settings import Settings
from stream_detector.streaming.topics.checks import judge
from stream_detector.streaming.topics.declared import declared_topics

FINE = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "1",
    "message.timestamp.type": "LogAppendTime",
    "min.compaction.lag.ms": "600000",
}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"cleanup.policy": "compact"}, "cleanup.policy=delete"),
        ({"retention.ms": "60000"}, "retention.ms=7200000"),
        ({"min.insync.replicas": "2"}, "min.insync.replicas=1"),
    ],
)
def test_readings_that_break_the_promise_are_refused_in_one_sentence(config: dict[str, str], says: str) -> None:
    verdict = judge("plant.readings", "delete", FINE | config, 1, rewind_seconds=7200)
    (sentence,) = verdict.refused
    assert sentence.startswith("topic plant.readings has ")
    assert says in sentence


@pytest.mark.parametrize("policy", ["delete", "compact,delete", "delete, compact"])
def test_a_topic_of_state_that_forgets_snapshots_is_refused(policy: str) -> None:
    (sentence,) = judge("detector.state", "compact", FINE | {"cleanup.policy": policy}, 1).refused
    assert f"cleanup.policy = {policy}, compact is wanted" in sentence


def test_a_topic_that_cannot_take_the_largest_snapshot_is_refused() -> None:
    config = FINE | {"cleanup.policy": "compact"}
    assert not judge("detector.state", "compact", config, 1, message_bytes=1_000_000).refused
    (sentence,) = judge("detector.state", "compact", config, 1, message_bytes=2_000_000).refused
    assert "max.message.bytes=2001024" in sentence


def test_topics_as_they_are_created_are_fine() -> None:
    settings = Settings.load(publish_scores=True)
    for topic in declared_topics(settings):
        config = {name: value for name, value in FINE.items() if name not in topic.config()} | topic.config()
        verdict = judge(
            topic.name,
            topic.cleanup,
            config,
            1,
            stamped_by_broker=topic.stamped_by_broker,
            rewind_seconds=86_400 if topic.name == settings.topic_readings else 0,
            message_bytes=100_000 if topic.name == settings.topic_state else 0,
        )
        assert not verdict.refused, topic
        assert not verdict.warnings, topic


def test_what_a_broker_does_not_tell_is_not_refused() -> None:
    verdict = judge("detector.state", "compact", {}, 1, message_bytes=2_000_000)
    assert not verdict.refused
    assert not verdict.warnings


@pytest.mark.parametrize(
    "config",
    [
        {"message.timestamp.type": "CreateTime"},
        {"min.compaction.lag.ms": "0"},
        {"unclean.leader.election.enable": "true"},
    ],
)
def test_what_only_weakens_the_promise_is_a_warning(config: dict[str, str]) -> None:
    verdict = judge("detector.state", "compact", FINE | {"cleanup.policy": "compact"} | config, 1)
    assert not verdict.refused
    (warning,) = verdict.warnings
    assert "kafka-configs.sh" in warning


def test_copies_of_which_one_acknowledges_alone_are_a_warning() -> None:
    verdict = judge("detector.alarms", "delete", FINE, 3)
    (warning,) = verdict.warnings
    assert "min.insync.replicas=2" in warning
