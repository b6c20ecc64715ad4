"""A bundle takes over from another one, and a worker from one that woke up late: what is written, and what counts."""

from collections.abc import Sequence

import pytest

from stream_detector.decoding.held_table import HeldTable
from stream_detector.engine.alarm_messages import withdrawn
from stream_detector.errors import UsageError
from stream_detector.messages import Alarm
from stream_detector.streaming.clients.producer import Outgoing
from stream_detector.streaming.state.group_facts import BundleSwitch, fact_message
from stream_detector.streaming.state.group_limits import limits_of
from stream_detector.streaming.worker.offsets.takeover import alarm_message, go_on, service_at
from tests.support.messages import STEP_SECONDS, at_step, make_alarm
from tests.support.state_topic import SETTINGS, StandingLog, StateTopic, plan_of, start_worker

OPEN = make_alarm(7, asset="m1", bundle="A")


def said(messages: Sequence[Outgoing]) -> dict[tuple[str, str], set[str | None]]:
    """{(id, state): every time at which it was said to be cleared}."""
    found: dict[tuple[str, str], set[str | None]] = {}
    for message in messages:
        alarm = Alarm.model_validate_json(message.value or b"")
        found.setdefault((alarm.id, alarm.state), set()).add(alarm.cleared_at)
    return found


def after_a() -> StandingLog:
    """Bundle A has decided up to 100; its alarm of m1 is up."""
    log = StandingLog(StateTopic(), low=60)
    start_worker(log, "A", None)
    log.topic.snapshot("A", "m1", 100, OPEN)
    log.topic.snapshot("A", "m2", 90)
    return log


def test_another_bundle_clears_the_open_alarms_and_rebuilds_its_windows_in_silence() -> None:
    log = after_a()
    plan = start_worker(log, "B", 100)
    assert said(log.topic.alarms) == {(OPEN.id, "cleared"): {OPEN.expected_until}}
    assert (plan.start.offset, plan.start.silent_until, plan.snapshots) == (60, 100, {})
    state = log.topic.read()
    assert [(fact.offset, fact.bundle_id, fact.low) for fact in state.switches] == [(0, "A", None), (100, "B", 60)]
    assert not state.live()


@pytest.mark.parametrize("bursts", range(4))
@pytest.mark.parametrize("then", ["A", "B"])
def test_a_crash_in_the_midst_of_a_switch_repeats_what_says_the_same(bursts: int, then: str) -> None:
    log = after_a()
    start_worker(log, "B", 100, bursts)
    log.topic.compact()
    went_on = bursts == 0 and then == "A"
    log.low = 77  # where windows are first read from is said once
    plan = start_worker(log, then, 100)
    again = start_worker(log, then, 100)
    assert {asset: plan.snapshots.get(asset) for asset in plan.snapshots} == again.snapshots
    if went_on:
        assert set(plan.snapshots) == {"m1", "m2"}
        assert not log.topic.alarms
    else:
        assert said(log.topic.alarms) == {(OPEN.id, "cleared"): {OPEN.expected_until}}
        assert not plan.snapshots
        assert plan.start.offset == again.start.offset == (60 if then == "B" and bursts else 77)
    assert log.topic.read().switches[-1].bundle_id == then


@pytest.mark.parametrize(("committed", "restored"), [(40, {"x1"}), (100, {"x1"}), (101, {"m1", "x1"})])
def test_right_behind_a_change_of_a_line_the_snapshots_of_its_assets_say_nothing(
    committed: int, restored: set[str]
) -> None:
    """Who was killed before its first commit there may have written some of them: the others would be unknown."""
    topic = StateTopic()
    held = HeldTable.begun([("m*", "A"), ("x*", "B")], 0, 0).changed("m*", "B", 1, 1, 60)
    topic.write([fact_message(SETTINGS, BundleSwitch(0, 100, "table", 60, None, 1, 1, True, held))])
    topic.snapshot("B", "m1", 105, term=1)
    topic.snapshot("B", "x1", 95)
    state = topic.read()
    taken = go_on(SETTINGS, 0, state, service_at(state, committed), [], [])
    assert set(taken.snapshots) == restored


def test_a_bundle_that_comes_back_does_not_take_up_what_it_left_behind() -> None:
    log = after_a()
    start_worker(log, "B", 100, bursts=1)  # its old snapshots are still there
    log.topic.snapshot("B", "m1", 140, term=1)
    plan = start_worker(log, "A", 140)
    assert not plan.snapshots
    assert said(log.topic.alarms) == {(OPEN.id, "cleared"): {OPEN.expected_until}}
    log.topic.snapshot("A", "m1", 130, term=2)
    assert set(start_worker(log, "A", 150).snapshots) == {"m1"}


def test_what_the_bundle_before_has_cleared_is_not_cleared_again() -> None:
    log = after_a()
    log.published = [OPEN, make_alarm(7, cleared=30, asset="m1", bundle="A")]  # killed before its next snapshot
    start_worker(log, "B", 100)
    assert not log.topic.alarms


def test_what_the_bundle_before_has_raised_since_its_last_snapshot_is_cleared() -> None:
    log = after_a()
    late, elsewhere = make_alarm(9, asset="m2", bundle="A"), make_alarm(9, asset="of another partition", bundle="A")
    log.published = [late, elsewhere, make_alarm(9, asset="m1", bundle="B")]
    start_worker(log, "B", 100)
    assert said(log.topic.alarms) == {(alarm.id, "cleared"): {alarm.expected_until} for alarm in (OPEN, late)}


def test_what_a_bundle_has_raised_without_any_snapshot_is_cleared() -> None:
    log = after_a()
    start_worker(log, "B", 100)
    raised = make_alarm(9, asset="m3", bundle="B")
    log.topic.write([alarm_message(SETTINGS, 0, 1, raised)])  # killed before its first snapshot
    start_worker(log, "A", 100)
    assert (raised.id, "cleared") in said(log.topic.alarms)


def test_every_change_of_bundle_begins_a_term_also_at_the_same_offset() -> None:
    log = after_a()
    for bundle in ("B", "A", "B"):
        start_worker(log, bundle, 100)
    switches = log.topic.read().switches
    assert [(fact.offset, fact.bundle_id, fact.term, fact.id_term) for fact in switches] == [
        (0, "A", 0, 0), (100, "B", 1, 1), (100, "A", 2, 2), (100, "B", 3, 3),
    ]  # fmt: skip


def test_an_alarm_of_the_same_bundle_in_an_earlier_term_is_cleared_though_its_clearing_was_interrupted() -> None:
    log = after_a()
    late = make_alarm(9, asset="m1", bundle="A")
    log.topic.write([alarm_message(SETTINGS, 0, 0, late)])
    start_worker(log, "B", 100, bursts=1)  # killed before it cleared anything
    start_worker(log, "A", 100)
    assert {(OPEN.id, "cleared"), (late.id, "cleared")} <= set(said(log.topic.alarms))


def test_a_group_that_lost_its_offsets_and_has_run_one_bundle_raises_the_same_alarms_again() -> None:
    log = after_a()
    plan = start_worker(log, "A", None)
    *_, switch = log.topic.read().switches
    assert (switch.term, switch.id_term) == (1, 0)
    assert not plan.snapshots
    assert not log.topic.alarms  # nothing is cleared
    log.topic.snapshot("A", "m1", 20, OPEN, term=1)  # covers less than what was written before
    assert set(start_worker(log, "A", 20).snapshots) == {"m1"}


def test_a_group_that_wrote_nothing_down_yet_is_said_to_have_run_the_bundle_of_its_snapshots() -> None:
    log = StandingLog(StateTopic(), low=60)
    log.topic.snapshot("A", "m1", 100, OPEN)
    assert set(start_worker(log, "A", 100).snapshots) == {"m1"}
    start_worker(log, "B", 100)
    assert [(fact.offset, fact.bundle_id) for fact in log.topic.read().switches] == [(0, "A"), (100, "B")]
    assert said(log.topic.alarms) == {(OPEN.id, "cleared"): {OPEN.expected_until}}


def test_a_log_that_was_made_again_takes_nothing_from_the_one_before() -> None:
    log = after_a()
    start_worker(log, "B", 100)
    plan = start_worker(log, "B", None)
    assert not plan.snapshots
    assert [(fact.offset, fact.bundle_id, fact.low) for fact in log.topic.read().switches] == [
        (0, "A", None),
        (100, "B", 60),
        (0, "B", None),
    ]


def test_offsets_that_an_operator_set_back_keep_the_snapshots_of_the_same_bundle() -> None:
    log = after_a()
    start_worker(log, "B", 100)
    log.topic.snapshot("B", "m1", 200, term=1)
    assert set(start_worker(log, "B", 50).snapshots) == {"m1"}


def test_another_bundle_from_an_offset_that_an_operator_set_back_is_the_newest_switch() -> None:
    log = after_a()
    start_worker(log, "B", 100)
    log.topic.snapshot("B", "m1", 200, term=1)
    start_worker(log, "C", 50)
    assert [(fact.offset, fact.bundle_id) for fact in log.topic.read().switches] == [(0, "A"), (100, "B"), (50, "C")]


@pytest.mark.parametrize("compacted_at_once", [True, False])
def test_the_newest_snapshot_is_written_again_after_an_older_one(compacted_at_once: bool) -> None:
    log = StandingLog(StateTopic())
    start_worker(log, "A", None)
    log.topic.snapshot("A", "m1", 50)
    log.topic.snapshot("A", "m1", 26, OPEN)  # a worker that was suspended, and wakes up
    if compacted_at_once:
        start_worker(log, "A", 60)
        log.topic.compact()
    plan = start_worker(log, "A", 60)
    assert log.topic.read().of_service(log.topic.read().switches[-1], "A")["m1"].offset == 50
    log.topic.compact()
    assert start_worker(log, "A", 60).snapshots == plan.snapshots
    assert not start_worker(log, "A", 60).bursts


@pytest.mark.parametrize(("until_steps", "ends"), [(2, 9), (0, 8)])
def test_a_withdrawn_alarm_ends_with_its_lead_window_and_lasts_a_step_at_least(until_steps: int, ends: int) -> None:
    alarm = make_alarm(7, expected_until=at_step(7 + until_steps))
    assert withdrawn(alarm).cleared_at == at_step(ends)
    assert withdrawn(alarm) == alarm.model_copy(update={"state": "cleared", "cleared_at": at_step(ends)})
    assert STEP_SECONDS > 0


NARROW = SETTINGS.model_copy(update={"max_assets": 5, "evict_after_records": 10})


def test_a_worker_with_other_limits_is_refused_with_both_values_of_each() -> None:
    with pytest.raises(UsageError, match="group g runs under other limits") as raised:
        plan_of(after_a(), "A", 100, NARROW)
    said = str(raised.value)
    assert "STREAM_DETECTOR_MAX_ASSETS is 5 here and 20000 in the group" in said
    assert "STREAM_DETECTOR_EVICT_AFTER_RECORDS is 10 here and 1000000 in the group" in said
    assert "EVICT_AFTER_SECONDS" not in said


@pytest.mark.parametrize("by_record", [False, True])
def test_other_limits_that_are_accepted_hold_from_the_commit_on_as_another_bundle_would(by_record: bool) -> None:
    log = after_a()
    if by_record:
        log.topic.write([fact_message(SETTINGS, BundleSwitch(0, 90, "A", 60, limits_of(SETTINGS), 1, 1, True))])
        log.topic.snapshot("A", "m1", 100, OPEN, term=1)
    wider = NARROW.model_copy(update={"other_limits": "accept"})
    for burst in plan_of(log, "A", 100, wider).bursts:
        log.topic.write(burst)
    before, now = log.topic.read().switches[-2:]
    assert (now.offset, now.bundle_id, now.low, now.limits) == (100, "A", 60, limits_of(NARROW))
    assert (now.term, now.by_record) == (before.term + 1, by_record)
    assert (OPEN.id, "cleared") in said(log.topic.alarms)
    assert not plan_of(log, "A", 100, wider).bursts, "a restart finds it done"
    with pytest.raises(UsageError, match="MAX_ASSETS is 20000 here and 5 in the group"):
        plan_of(log, "A", 120)
    plan_of(log, "A", 120, NARROW)


def test_another_bundle_begins_with_limits_of_its_own_and_keeps_them() -> None:
    log = after_a()
    for burst in plan_of(log, "B", 100, NARROW).bursts:
        log.topic.write(burst)
    assert [fact.limits for fact in log.topic.read().switches] == [limits_of(SETTINGS), limits_of(NARROW)]
    plan_of(log, "B", 120, NARROW)
    with pytest.raises(UsageError, match="MAX_ASSETS is 20000 here and 5 in the group"):
        plan_of(log, "B", 120)


def test_a_group_that_has_not_written_down_its_limits_takes_a_worker_with_any() -> None:
    log = StandingLog(StateTopic(), low=60)
    log.topic.write([fact_message(SETTINGS, BundleSwitch(0, 0, "A"))])
    log.topic.snapshot("A", "m1", 100)
    assert set(plan_of(log, "A", 100, NARROW).snapshots) == {"m1"}
