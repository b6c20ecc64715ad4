"""Terms of a partition under lost offsets, retention, workers that wake up late, other groups and other versions."""

from dataclasses import replace

import orjson

from stream_detector.messages import Alarm
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.state.snapshots import snapshot_message
from stream_detector.streaming.worker.offsets.takeover import alarm_message
from tests.support.messages import make_alarm
from tests.support.state_topic import SETTINGS, StandingLog, StateTopic, plan_of, start_worker

OPEN = make_alarm(7, asset="m1", bundle="A")


def cleared(log: StandingLog) -> list[str]:
    """Ids of the alarms that were said to be over."""
    said = [Alarm.model_validate_json(message.value or b"") for message in log.topic.alarms]
    return [alarm.id for alarm in said if alarm.state == "cleared"]


def of_before(message: Outgoing) -> Outgoing:
    """A record of state as a version wrote it that knew no terms."""
    value = message.value
    if message.headers:
        return message._replace(headers=tuple(header for header in message.headers if header[0] != "term"))
    body = {name: entry for name, entry in orjson.loads(value or b"{}").items() if name != "ids"}
    return message._replace(value=orjson.dumps(body))


def after_a() -> StandingLog:
    """Bundle A has decided up to 100; its alarm of m1 is up."""
    log = StandingLog(StateTopic(), low=60)
    start_worker(log, "A", None)
    log.topic.snapshot("A", "m1", 100, OPEN)
    return log


def test_any_number_of_starts_before_the_first_commit_write_down_one_beginning() -> None:
    log = StandingLog(StateTopic())
    for _ in range(20):
        start_worker(log, "A", None)
    assert len(log.topic.read().switches) == 1
    for _ in range(20):
        start_worker(log, "B", None)
    assert [fact.bundle_id for fact in log.topic.read().switches] == ["A", "B"]


def test_a_beginning_that_was_not_finished_clears_what_is_open_though_it_is_not_written_down_again() -> None:
    log = after_a()
    start_worker(log, "B", None, bursts=1)
    start_worker(log, "B", None)
    assert cleared(log) == [OPEN.id]
    assert not log.topic.read().live()
    assert len(log.topic.read().switches) == 2


def test_a_beginning_that_left_snapshots_is_followed_by_another_one() -> None:
    log = StandingLog(StateTopic())
    start_worker(log, "A", None)
    log.topic.snapshot("A", "m1", 100, OPEN)
    start_worker(log, "A", None)
    log.topic.snapshot("A", "m1", 20, term=1)
    assert set(start_worker(log, "A", 20).snapshots) == {"m1"}


def test_a_group_that_lost_its_offsets_raises_other_alarms_under_other_limits() -> None:
    log = after_a()
    for burst in plan_of(log, "A", None, SETTINGS.model_copy(update={"max_assets": 5})).bursts:
        log.topic.write(burst)
    assert log.topic.read().switches[-1].id_term == 1
    assert cleared(log) == [OPEN.id]


def test_snapshots_of_a_log_that_is_no_more_do_not_come_back_when_the_new_one_has_grown() -> None:
    log = StandingLog(StateTopic(), end=50)
    log.topic.snapshot("A", "m1", 200, OPEN)  # by a version that wrote nothing else down
    start_worker(log, "A", None)
    log.end = 1000
    assert not start_worker(log, "A", 300).snapshots


def test_a_change_that_retention_has_overtaken_clears_what_is_open() -> None:
    log = after_a()
    start_worker(log, "B", 100, bursts=1)  # killed before it cleared anything
    log.beginning = 300
    start_worker(log, "B", 100)
    assert cleared(log) == [OPEN.id]
    assert not log.topic.read().live()


def test_alarms_are_looked_for_since_the_last_bundle_that_could_commit() -> None:
    log = StandingLog(StateTopic(), low=60)
    start_worker(log, "A", None)
    log.topic.end = 10**9  # much later
    start_worker(log, "B", 100, bursts=1)  # killed before it cleared what A raised without a snapshot
    start_worker(log, "A", 100)
    assert log.asked_since_ms[-1] <= 0


def test_an_alarm_that_was_cleared_long_ago_is_not_cleared_again_because_a_suspended_worker_wakes_up() -> None:
    log = StandingLog(StateTopic(), low=60)
    start_worker(log, "A", None)
    log.topic.snapshot("A", "m1", 100)  # the alarm of before is over
    start_worker(log, "B", 100)
    log.topic.snapshot("B", "m1", 140, term=1)
    log.topic.compact()
    log.published = [OPEN, make_alarm(7, cleared=30, asset="m1", bundle="A")]
    log.topic.end = 10**9  # much later
    log.topic.snapshot("A", "m1", 26, OPEN)
    start_worker(log, "B", 140)
    assert log.topic.read().last_written("m1") == log.topic.read().of_service(log.topic.read().switches[-1], "B")["m1"]
    start_worker(log, "C", 150)
    assert not cleared(log)


def test_what_a_suspended_worker_raised_after_the_change_is_cleared_with_the_next_start() -> None:
    log = after_a()
    start_worker(log, "B", 100)
    log.topic.snapshot("B", "m1", 140, term=1)
    late = make_alarm(9, asset="m1", bundle="A")
    log.topic.snapshot("A", "m1", 120, late)
    plan = start_worker(log, "B", 140)
    assert cleared(log) == [OPEN.id, late.id]
    log.topic.compact()
    assert start_worker(log, "B", 140).snapshots == plan.snapshots != {}
    assert cleared(log) == [OPEN.id, late.id]


def test_the_alarms_of_another_group_are_its_own() -> None:
    log = after_a()
    other = SETTINGS.model_copy(update={"group": "h"})
    theirs = make_alarm(9, asset="m1", bundle="A")
    log.topic.write([alarm_message(other, 0, 0, theirs)])
    start_worker(log, "B", 100)
    assert cleared(log) == [OPEN.id]


def test_a_change_that_a_version_without_terms_began_is_finished() -> None:
    log = after_a()
    log.topic.write(map(of_before, start_worker(StandingLog(log.topic, low=60), "B", 100, 0).bursts[0]))
    for place, record in enumerate(log.topic.records):
        key = orjson.loads(record.key or b"")
        if key[1] == "bundle" and len(key) == 5:
            log.topic.records[place] = replace(record, key=orjson.dumps(key[:4]))
    start_worker(log, "B", 100)
    assert cleared(log) == [OPEN.id]
    assert not log.topic.read().live()


def test_what_a_version_without_terms_wrote_in_between_counts() -> None:
    log = after_a()
    start_worker(log, "A", None)  # the offsets were lost: term 1
    log.topic.snapshot("A", "m1", 20, term=1)
    later = log.topic.read().last_written("m1")
    assert later is not None
    log.topic.write([of_before(snapshot_message(SETTINGS, "A", 0, "m1", later.data, 150))])
    log.topic.compact()
    assert set(start_worker(log, "A", 150).snapshots) == {"m1"}
    assert not start_worker(log, "A", 150).bursts


def test_a_bundle_that_took_over_in_a_version_without_terms_is_the_one_that_decides() -> None:
    log = after_a()
    start_worker(log, "B", 100)
    log.topic.snapshot("B", "m1", 140, term=1)
    before = {"bundle": "C", "low": 60, "limits": None}
    log.topic.write([Outgoing(SETTINGS.topic_state, orjson.dumps(["g", "bundle", 0, 140]), orjson.dumps(before), 0)])
    log.topic.write([of_before(snapshot_message(SETTINGS, "C", 0, "m1", None, 150))])
    log.topic.snapshot("C", "m2", 150, term=2)
    plan = start_worker(log, "C", 150)
    assert set(plan.snapshots) == {"m2"}
    assert [(fact.bundle_id, fact.term) for fact in log.topic.read().switches] == [("A", 0), ("B", 1), ("C", 2)]
