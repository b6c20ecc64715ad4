"""Two workers under one instance name: one of them ends."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetCommitResponse_v3
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest

from stream_detector.streaming.worker.transport.membership import FENCED_INSTANCE, UNKNOWN_MEMBER, Membership
from tests.streaming.worker.conftest import Start
from tests.support.stack.kafka import ExistingKafka, Kafka, create_topic
from tests.support.stack.workers import topic, wait_for

HEARTBEAT = HeartbeatRequest("group", 3, "member")
JOIN = JoinGroupRequest("group", 10_000, 60_000, "member", "name", "consumer", [])
SESSION_SECONDS = 10.0


def answers(*codes: tuple[object, int, float]) -> bool:
    """Whether a worker that got (request, code, at) after one another is taken for replaced."""
    now = 0.0
    membership = Membership(SESSION_SECONDS, lambda: now)
    for request, code, at in codes:
        now = at
        membership.look(request, SimpleNamespace(error_code=code))
    return membership.replaced


def test_a_member_that_is_forgotten_although_it_was_heard_of_is_replaced() -> None:
    assert answers((HEARTBEAT, 0, 0.0), (HEARTBEAT, UNKNOWN_MEMBER, 2.0))


def test_a_session_that_expired_while_the_process_was_suspended_is_no_replacement() -> None:
    assert not answers((HEARTBEAT, 0, 0.0), (HEARTBEAT, UNKNOWN_MEMBER, 11.0))


def test_a_first_join_that_is_asked_for_a_member_id_is_no_replacement() -> None:
    assert not answers((JOIN, 79, 0.0), (JOIN, 0, 0.1), (JOIN, UNKNOWN_MEMBER, 0.2))


def test_a_fenced_instance_is_replaced() -> None:
    assert answers((JOIN, FENCED_INSTANCE, 0.0))


@pytest.mark.parametrize(("refused_after", "replaced"), [(0.9, True), (11.0, False)])
def test_a_commit_that_is_refused_before_a_heartbeat_tells_it_too(refused_after: float, replaced: bool) -> None:
    now = 0.0
    membership = Membership(SESSION_SECONDS, lambda: now)
    membership.look(HEARTBEAT, SimpleNamespace(error_code=0))
    commit = OffsetCommitRequest("group", 3, "member", -1, [("readings", [(0, 5, ""), (1, 7, "")])])
    now = 0.5
    membership.look(commit, OffsetCommitResponse_v3(0, [("readings", [(0, 0), (1, 0)])]))
    now = refused_after
    membership.look(commit, OffsetCommitResponse_v3(0, [("readings", [(0, 0), (1, UNKNOWN_MEMBER)])]))
    assert membership.replaced is replaced


@pytest.mark.kafka
@pytest.mark.slow
def test_of_two_workers_under_one_name_one_ends_and_names_it(
    kafka: Kafka | ExistingKafka, unique_name: str, start: Start
) -> None:
    create_topic(kafka.bootstrap, topic(unique_name, "readings"), 2)
    older = start(kafka.bootstrap, unique_name, instance="same")
    wait_for(ready(older), 90, "the older worker is ready")
    newer = start(kafka.bootstrap, unique_name, instance="same")
    # The default session timeout, and what a start takes.
    wait_for(lambda: not (older.alive and newer.alive), 60, "one of them ends")
    ended = newer if older.alive else older
    assert ended.wait() == 75
    assert "another worker of the group runs as instance 'same'" in ended.log_text()


def ready(worker: object) -> Callable[[], bool]:
    return lambda: worker.get("/readyz")[0] == 200  # type: ignore[attr-defined]
