"""The console's memory: bounded, peaks kept, the same again after a restart."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.messages import Alarm, AlarmStateChange, AssetGlance, Feedback, LoggedEvent, from_iso, to_iso
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.console import answers
from stream_detector.operations.console.answers import SetAside
from stream_detector.operations.console.glances import MOST_A_SECOND, SHORTEST_SECONDS, Held, Turns
from stream_detector.operations.console.history import History
from stream_detector.operations.console.rings import AssetRing
from stream_detector.operations.console.views import OpenCounts, Sample, SensorShare, WorkerView
from stream_detector.operations.downtime.planned import Planner
from tests.support.console.console_plant import STEP_SECONDS, STEPS, ConsolePlant, Machine, alarm_of
from tests.support.messages import MIDNIGHT, make_alarm, make_change, make_event, planned_downtime

NOW = 1_790_000_000.0
DAY = 86_400.0


def sample(time: float, ratio: float | None = 0.5, step_seconds: float = 120.0, asset: str = "pm-1") -> Sample:
    return Sample(
        asset=asset,
        time=time,
        step_seconds=step_seconds,
        score=None if ratio is None else 2.0 * ratio,
        threshold=2.0,
        probability=None,
        alarm=ratio is not None and ratio > 1,
        degraded=0,
        warming_up=ratio is None,
        bundle="b",
        top_sensors=(SensorShare("x1", 1.0, 3.0, 4.0),),
        sensors=("x1", "x2"),
        values=np.asarray([3.0, np.nan], dtype=np.float32),
        expected=np.asarray([4.0, 5.0], dtype=np.float32),
    )


def empty_history(
    clock: float = NOW, max_assets: int = 500, ledger_days: float = 365.0, planner: Planner | None = None
) -> History:
    async def send(_feedback: Feedback) -> None:
        """Goes nowhere."""

    worker = WorkerView("w", "0", clock, "b", "r", True)
    return History(lambda: worker, send, lambda: clock, max_assets=max_assets, ledger_days=ledger_days, planner=planner)


def test_a_ring_keeps_the_newest_points_only() -> None:
    ring = AssetRing(("x1", "x2"), 120.0, points=10)
    for step in range(25):
        ring.add(sample(step * 120.0, step / 100))
    found = ring.series("pm-1", 0.0, None, [("x1", 1.0), ("x2", 0.0)], [])
    assert found.time == [step * 120.0 for step in range(15, 25)]
    assert found.ratio == [pytest.approx(step / 100) for step in range(15, 25)]
    assert found.traces[0].value == [3.0] * 10
    assert found.traces[0].expected == [4.0] * 10
    assert found.traces[1].value == [None] * 10


@given(st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=400))
def test_thinning_out_a_fast_grid_never_loses_a_peak(ratios: list[float]) -> None:
    ring = AssetRing(("x1", "x2"), 1.0)
    for second, ratio in enumerate(ratios):
        ring.add(sample(float(second), ratio, step_seconds=1.0))
    found = ring.series("pm-1", 0.0, None, [], [])
    naive = [max(ratios[start : start + 30]) for start in range(0, len(ratios), 30)]
    assert found.ratio == [pytest.approx(value, rel=1e-5) for value in naive]
    assert found.alarm == [value > 1 for value in naive]
    assert sorted(found.time) == list(found.time)


def test_the_same_step_again_changes_nothing_and_an_older_one_neither() -> None:
    history = empty_history()
    history.observe([sample(240.0)])
    version = history.version()
    history.observe([sample(120.0, 0.9)])
    assert history.version() == version
    assert history.assets()[0].ratio == pytest.approx(0.5)


def test_only_what_changed_since_a_version_is_told() -> None:
    history = empty_history()
    history.observe([sample(120.0, asset="a"), sample(120.0, asset="b")])
    version = history.version()
    history.observe([sample(120.0, asset="a"), sample(240.0, asset="b")])
    assert [view.asset for view in history.assets(version)] == ["b"]
    assert [view.asset for view in history.assets()] == ["a", "b"]


def test_data_that_was_there_before_the_restart_is_as_old_as_it_is_and_not_as_the_restart() -> None:
    history = empty_history(clock=NOW)
    history.observe([sample(NOW - 540.0)])
    assert history.assets()[0].received_at == NOW - 540.0
    history.observe([])
    history.observe([sample(NOW - 540.0)])
    assert history.assets()[0].received_at == NOW - 540.0, "also after a rebalance"


def test_old_data_that_comes_now_as_in_a_replay_came_now() -> None:
    history = empty_history(clock=NOW)
    history.heard(["pm-1"])
    history.observe([sample(240.0)])
    assert history.assets()[0].received_at == NOW


def test_while_windows_fill_no_score_of_another_time_is_shown() -> None:
    history = empty_history()
    history.observe([replace(sample(120.0, 5.18), warming_up=True)])
    [view] = history.assets()
    assert (view.state, view.ratio, view.score, view.probability) == ("alarm", None, None, None)
    history.observe([replace(sample(240.0, 5.18), warming_up=True, alarm=False)])
    assert (history.assets()[0].state, history.assets()[0].ratio) == ("warming-up", None)


def raised_alarm(asset: str = "pm-1") -> Alarm:
    machine = Machine(asset, 1, ())
    machine.trouble = 0.8
    return alarm_of(machine.sample(0, NOW, alarm=True, warming_up=False), NOW)


def change(alarm: Alarm | None, state: str, at: float, **more: object) -> AlarmStateChange:
    fields = {"asset": "pm-1", "alarm": None if alarm is None else alarm.id, "state": state, "previous": "normal"}
    said = {"at": to_iso(at), "who": "Kim", "why": "why", "acknowledged": state == "acknowledged"}
    return AlarmStateChange.model_validate({**fields, **said, **more})


def test_judging_an_alarm_acknowledges_it_as_it_does_for_the_forwarder() -> None:
    history, alarm = empty_history(), raised_alarm()
    history.observe_alarm(alarm)
    assert history.alarms()[0].acknowledged_by is None
    history.observe_feedback(feedback("real", NOW, alarm=alarm.id))
    assert (history.alarms()[0].acknowledged_by, history.alarms()[0].judgement) == ("Kim", "real")


def test_who_acted_has_seen_the_alarm_and_the_console_says_when() -> None:
    history, alarm = empty_history(), raised_alarm()
    history.observe_alarm(alarm)
    assert history.alarms()[0].acted_at is None
    history.observe_feedback(feedback("acted", NOW, alarm=alarm.id))
    assert (history.alarms()[0].acknowledged_by, history.alarms()[0].acted_at) == ("Kim", to_iso(NOW))


def test_the_console_shows_no_alarm_that_is_held_back_but_its_ledger_counts_it() -> None:
    history, alarm = empty_history(), raised_alarm().model_copy(update={"held_back": True})
    history.observe_alarm(alarm)
    assert history.alarms() == []
    assert history.ledger().total["held_back"] == 1


def test_the_forwarders_word_counts_and_a_newer_answer_on_top_of_it() -> None:
    history, alarm = empty_history(), raised_alarm()
    history.observe_alarm(alarm)
    history.observe_feedback(feedback("acknowledge", NOW, alarm=alarm.id))
    history.observe_state(change(alarm, "acknowledged", NOW))
    assert history.alarms()[0].acknowledged_by == "Kim"
    history.observe_state(change(alarm, "unacknowledged", NOW + 60))
    assert history.alarms()[0].acknowledged_by is None, "it came back from the shelf and must be seen again"
    history.observe_feedback(feedback("acknowledge", NOW + 90, alarm=alarm.id, who="Lee"))
    assert history.alarms()[0].acknowledged_by == "Lee"


def test_what_was_acknowledged_before_the_asset_came_back_must_be_seen_again_without_a_forwarder_too() -> None:
    history, alarm = empty_history(clock=NOW + 200), raised_alarm()
    history.observe_alarm(alarm)
    history.observe_feedback(feedback("acknowledge", NOW, alarm=alarm.id))
    history.observe_feedback(feedback("shelve", NOW + 60, until=to_iso(NOW + 600), reason="cleaning"))
    history.observe_feedback(feedback("unshelve", NOW + 120))
    assert history.alarms()[0].acknowledged_by is None


def test_what_is_set_aside_is_listed_with_who_why_and_until() -> None:
    history = empty_history()
    until = NOW + 600
    history.observe_feedback(feedback("shelve", NOW, until=to_iso(until), reason="cleaning"))
    history.observe_state(change(None, "out-of-service", NOW, asset="pm-2", why="rebuild"))
    assert list(history.set_aside()) == [
        SetAside("pm-1", "shelved", "Kim", "cleaning", until),
        SetAside("pm-2", "out-of-service", "Kim", "rebuild", None),
    ]
    history.observe_state(change(None, "normal", NOW + 5))
    history._answers._clock = lambda: NOW + 5
    assert [entry.asset for entry in history.set_aside()] == ["pm-2"]


def test_received_at_is_the_wall_clock_of_the_newest_step_not_of_a_renewal() -> None:
    now = 1000.0
    history = History(empty_history().worker, empty_history().send, lambda: now)
    history.heard(["pm-1"])
    history.observe([sample(240.0)])
    now = 2000.0
    history.observe([replace(sample(240.0), degraded=1)])
    assert history.assets()[0].received_at == 1000.0
    assert history.assets()[0].state == "degraded"
    history.observe([sample(360.0)])
    assert history.assets()[0].received_at == 2000.0


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"alarm": True, "degraded": 3}, "alarm"),
        ({"not_running": True, "degraded": 3}, "not-running"),
        ({"warming_up": True, "degraded": 3}, "warming-up"),
        ({"score": None}, "warming-up"),
        ({"degraded": 3}, "degraded"),
        ({"scale_steps": 70, "scale_steps_wanted": 720}, "provisional"),
        ({"scale_steps": 70, "scale_steps_wanted": 720, "degraded": 3}, "degraded"),
        ({"scale_steps": 9, "scale_steps_wanted": 720, "score": None}, "warming-up"),
        ({}, "normal"),
    ],
)
def test_the_state_of_an_asset_is_the_worst_that_is_known(changed: dict[str, object], state: str) -> None:
    history = empty_history()
    history.observe([replace(sample(120.0), **changed)])
    assert history.assets()[0].state == state


def test_assets_beyond_the_limit_are_left_out() -> None:
    history = empty_history(max_assets=2)
    history.observe([sample(120.0, asset=name) for name in ("a", "b", "c")])
    assert [view.asset for view in history.assets()] == ["a", "b"]


def glance(asset: str, time: float, ratio: float = 0.5, alarm: bool = False) -> AssetGlance:
    [made] = Turns("worker-2", lambda: time).due([Held(replace(sample(time, ratio, asset=asset), alarm=alarm), time)])
    return made


def test_an_asset_that_went_to_another_detector_stays_as_old_as_it_is_until_that_one_tells_of_it() -> None:
    history = empty_history()
    history.observe([sample(NOW - 400.0, asset="a"), sample(NOW - 400.0, asset="b")])
    version = history.version()
    history.observe([sample(NOW - 400.0, asset="b")])
    assert [(view.worker, view.received_at) for view in history.assets(version)] == [("", NOW - 400.0)]
    history.observe_glance(glance("a", NOW - 120.0), NOW)
    [view] = history.assets(history.version() - 1)
    assert (view.asset, view.worker, view.received_at) == ("a", "worker-2", NOW - 120.0)
    assert history.names(version) is None, "it is the same assets all the time"


def test_assets_of_other_workers_are_shown_and_never_in_place_of_ones_own() -> None:
    history = empty_history()
    history.observe([sample(NOW, 0.5, asset="a")])
    for name in ("a", "b"):
        history.observe_glance(glance(name, NOW - 10.0, 1.7, alarm=True), NOW)
    assert [(view.asset, view.worker, view.state) for view in history.assets()] == [
        ("a", None, "normal"),
        ("b", "worker-2", "alarm"),
    ]
    found = history.series("b", 0.0, None, [])
    assert found is not None
    assert found.ratio == [1.7], "the curve of an asset is kept though its sensors are not"


def test_an_asset_that_is_taken_over_keeps_its_curve_and_a_word_from_the_future_is_not_fresh() -> None:
    history = empty_history()
    for minutes in (20.0, 10.0):
        history.observe_glance(glance("a", NOW - 60.0 * minutes), NOW - 60.0 * minutes)
    history.observe_glance(glance("c", NOW + 9_000.0), NOW - 500.0)
    assert history.asset("c").received_at == NOW - 500.0
    history.observe([sample(NOW, asset="a")])
    found = history.series("a", 0.0, None, ["x1"])
    assert found is not None
    assert found.time == [NOW - 1_200.0, NOW - 600.0, NOW]
    assert list(found.traces[0].value) == [None, None, 3.0]


def test_an_asset_of_another_worker_that_was_silent_for_very_long_is_forgotten() -> None:
    history = History(empty_history().worker, empty_history().send, lambda: NOW, forget_seconds=DAY)
    history.observe_glance(glance("old", NOW - 2 * DAY), NOW)
    assert history.names() == []


def test_glances_are_told_in_turns_and_alarms_at_once() -> None:
    now = NOW
    turns = Turns("w", lambda: now)
    held = {name: Held(sample(NOW, asset=name), NOW) for name in ("a", "b")}
    assert [told.asset for told in turns.due(held.values())] == ["a", "b"]
    assert turns.due(held.values()) == [], "nothing is new"
    now += 1.0
    held["a"] = Held(sample(NOW + 120.0, asset="a"), now)
    held["b"] = Held(replace(sample(NOW + 120.0, asset="b"), alarm=True), now)
    assert [told.asset for told in turns.due(held.values())] == ["b"]
    now += SHORTEST_SECONDS
    told = turns.due(held.values())
    assert [one.asset for one in told] == ["a"]
    turns.forget(told)
    assert [one.asset for one in turns.due(held.values())] == ["a"], "it could not be sent"


def test_a_large_plant_costs_no_more_glances_a_second_and_says_how_long_they_take() -> None:
    now = NOW
    turns, told = Turns("w", lambda: now), 0
    held = [Held(sample(NOW, asset=str(number)), NOW) for number in range(5 * MOST_A_SECOND)]
    for _ in range(5):
        due = turns.due(held)
        assert len(due) <= MOST_A_SECOND
        assert due[0].again_within == pytest.approx(5.0)
        told += len(due)
        now += 1.0
    assert told == len(held)


def test_of_more_alarms_than_are_sent_the_unanswered_come_first_and_all_are_counted() -> None:
    history = empty_history()
    alarms = [raised_alarm(f"pm-{number}") for number in range(30)]
    for alarm in alarms:
        history.observe_alarm(alarm)
    for alarm in alarms[:28]:
        history.observe_feedback(feedback("acknowledge", NOW + 1, asset=alarm.asset, alarm=alarm.id))
    history.observe_feedback(feedback("out-of-service", NOW + 1, asset="pm-0", reason="rebuild"))
    assert {view.alarm.asset for view in history.alarms(limit=2)} == {"pm-28", "pm-29"}
    assert history.open_counts() == OpenCounts(told=29, unanswered=2, aside=1)


def test_a_shelving_that_ends_by_the_clock_is_told_to_the_page() -> None:
    now = NOW
    history = History(empty_history().worker, empty_history().send, lambda: now)
    history.observe_alarm(raised_alarm())
    history.observe_feedback(feedback("shelve", NOW, until=to_iso(NOW + 60), reason="cleaning"))
    history.observe([])
    version = history.records_version()
    history.observe([])
    assert history.records_version() == version
    now += 61.0
    history.observe([])
    assert history.records_version() > version
    assert history.open_counts().told == 1


def test_ten_thousand_assets_are_drawn_from_within_a_bound_of_memory() -> None:
    history = empty_history(max_assets=20_000)
    history.observe([sample(NOW, asset=str(number)) for number in range(3_000)])
    assert history._assets._points_left <= 0
    assert max(len(view.recent) for view in history.assets()) == 0, "only what is not normal has a picture"


@pytest.mark.parametrize("told", ["before", "meanwhile", "never"])
def test_what_was_read_back_from_the_topic_comes_before_what_is_observed(told: str) -> None:
    """Glances of the asset, also those that this worker told before it was restarted, come while it is read."""
    history, begin = empty_history(), NOW - NOW % 120.0 - 1_200.0
    for step in range(5):
        if told == ("before" if step == 0 else "meanwhile" if step == 3 else ""):
            history.observe_glance(glance("pm-1", begin + 540.0, 0.7), NOW)
        history.read_back(sample(begin + 120.0 * step, step / 10))
    history.past_is_read()
    history.observe([sample(begin + 600.0, 0.9)])
    found = history.series("pm-1", 0.0, None, ["x1"])
    assert found is not None
    glanced = [] if told == "never" else [540.0]
    assert [time - begin for time in found.time] == [0.0, 120.0, 240.0, 360.0, 480.0, *glanced, 600.0]
    assert found.ratio[:2] == [0.0, pytest.approx(0.1)]
    assert found.ratio[-1] == pytest.approx(0.9)
    assert found.traces[0].value[:5] == [3.0] * 5


def test_memory_for_traces_is_bounded_however_many_sensors_there_are() -> None:
    history = History(empty_history().worker, empty_history().send, lambda: NOW, max_cells=2 * 720)
    history.observe([sample(120.0, asset="a"), sample(120.0, asset="b")])
    traces = [history.series(name, 0.0, None, ["x1"]) for name in ("a", "b")]
    assert [len(found.traces) for found in traces if found] == [1, 0]
    assert [list(found.ratio) for found in traces if found] == [[0.5], [0.5]]
    assert [view.sensors for view in history.assets()] == [2, 2]


def test_a_new_bundle_with_other_sensors_starts_new_traces() -> None:
    history = empty_history()
    history.observe([sample(120.0)])
    renamed = replace(sample(240.0), sensors=("y",), values=np.ones(1, np.float32), expected=np.ones(1, np.float32))
    history.observe([renamed])
    found = history.series("pm-1", 0.0, None, ["x1", "y"])
    assert found is not None
    assert [(trace.sensor, list(trace.value)) for trace in found.traces] == [("y", [1.0])]


def feedback(action: str, at: float, **more: object) -> Feedback:
    return Feedback.model_validate({"asset": "pm-1", "action": action, "who": "Kim", "at": to_iso(at), **more})


def test_shelving_ends_by_itself_and_by_hand() -> None:
    history = empty_history(clock=NOW)
    history.observe([sample(120.0)])
    history.observe_feedback(feedback("shelve", NOW, until=to_iso(NOW + 600), reason="cleaning"))
    assert history.assets()[0].shelved_until == NOW + 600
    history._answers._clock = lambda: NOW + 601
    assert history.assets()[0].shelved_until is None
    history._answers._clock = lambda: NOW + 5
    history.observe_feedback(feedback("unshelve", NOW + 5))
    assert history.assets()[0].shelved_until is None


def test_of_two_judgements_the_newer_counts_whatever_order_they_come_in() -> None:
    machine = Machine("pm-1", 1, ())
    machine.trouble = 0.8
    raised = alarm_of(machine.sample(0, NOW, alarm=True, warming_up=False), NOW)
    for order in ((0, 1), (1, 0)):
        history = empty_history()
        history.observe_alarm(raised)
        said = [feedback("real", NOW, alarm=raised.id), feedback("false-alarm", NOW + 9, alarm=raised.id)]
        for index in order:
            history.observe_feedback(said[index])
        assert history.alarms()[0].judgement == "false-alarm"


def test_open_alarms_come_first_then_the_newest() -> None:
    machine = Machine("pm-1", 1, ())
    machine.trouble = 0.8
    history = empty_history()
    for start, end in ((NOW, None), (NOW + 1200, NOW + 1800), (NOW + 4000.0, NOW + 4400)):
        history.observe_alarm(alarm_of(machine.sample(0, start, alarm=True, warming_up=False), start, end))
    states = [(view.alarm.state, view.alarm.raised_at) for view in history.alarms()]
    assert states == [
        ("raised", to_iso(NOW)),
        ("cleared", to_iso(NOW + 4000)),
        ("cleared", to_iso(NOW + 1200)),
    ]


def test_a_cleared_alarm_that_is_told_before_its_raise_stays_cleared() -> None:
    machine = Machine("pm-1", 1, ())
    machine.trouble = 0.8
    history = empty_history()
    first = machine.sample(0, NOW, alarm=True, warming_up=False)
    history.observe_alarm(alarm_of(first, NOW, NOW + 240))
    history.observe_alarm(alarm_of(first, NOW))
    assert [view.alarm.state for view in history.alarms()] == ["cleared"]


def test_the_ledger_tells_what_was_caught_and_missed() -> None:
    plant = ConsolePlant(lambda: NOW)
    ledger = plant.history.ledger()
    assert (ledger.total["caught"], ledger.total["missed"]) == (4, 1)
    assert {row["asset"]: row["missed"] for row in ledger.by_asset}["pm-2"] == 1
    assert ledger.total["saved"] == ledger.total["never_cost"] - ledger.total["cost"]


def test_a_challenger_is_compared_in_the_ledger_and_its_alarms_are_shown_to_nobody() -> None:
    plant = ConsolePlant(lambda: NOW)
    assert plant.history.ledger().challenger is None
    shown = [view.alarm.id for view in plant.history.alarms()]
    champion = next(view.alarm for view in plant.history.alarms() if view.alarm.state == "cleared")
    plant.history.observe_challenger(champion.model_copy(update={"id": "other", "bundle": "candidate"}))
    compared = plant.history.ledger().challenger
    assert compared is not None
    assert (compared["bundle"], compared["challenger"]["alarms"]) == ("candidate", 0)
    assert [view.alarm.id for view in plant.history.alarms()] == shown


def test_the_ledger_counts_no_event_while_a_machine_stands() -> None:
    history = empty_history()
    history.observe_event("pm-1", make_event(10))
    assert history.ledger().total["missed"] == 1
    history.observe_operating(make_change(5, running=False))
    assert history.ledger().total["missed"] == 0


def test_the_ledger_follows_an_event_that_is_taken_back() -> None:
    history = empty_history()
    history.observe_event("pm-1", LoggedEvent(time=to_iso(NOW), event="break", id="e", logged_at=to_iso(NOW)))
    assert history.ledger().total["missed"] == 1
    taken_back = LoggedEvent(time=to_iso(NOW), event="break", id="e", logged_at=to_iso(NOW + 9), retracted=True)
    history.observe_event("pm-1", taken_back)
    assert history.ledger().total["missed"] == 0


def test_feedback_is_written_first_and_shown_then() -> None:
    plant = ConsolePlant(lambda: NOW)
    alarm = plant.history.alarms()[0].alarm
    asyncio.run(plant.history.send(feedback("acknowledge", NOW, alarm=alarm.id)))
    assert [said.action for said in plant.sent] == ["acknowledge"]
    assert plant.history.alarms()[0].acknowledged_by == "Kim"


def test_a_day_of_the_plant_is_kept_whole() -> None:
    plant = ConsolePlant(lambda: NOW)
    found = plant.history.series("pm-1", 0.0, None, [])
    assert found is not None
    assert len(found.time) == STEPS
    assert found.step_seconds == STEP_SECONDS
    assert {trace.sensor for trace in found.traces} <= {f"x{number}" for number in range(1, 13)}
    assert plant.history.series("nobody", 0.0, None, []) is None


def test_the_ledger_covers_its_days_and_says_since_when_it_counts() -> None:
    history = empty_history(ledger_days=10.0)
    assert history.ledger().since is None
    history.observe_event("pm-1", LoggedEvent(time=to_iso(NOW - 20 * DAY), event="break"))
    history.observe_event("pm-1", LoggedEvent(time=to_iso(NOW - 8 * DAY), event="break"))
    history.observe_event("pm-1", LoggedEvent(time=to_iso(NOW), event="break"))
    assert history.ledger().total["missed"] == 2
    assert history.ledger().since == NOW - 8 * DAY


def test_an_event_in_the_far_future_does_not_empty_the_ledger() -> None:
    history = empty_history(ledger_days=10.0)
    history.observe_event("pm-1", LoggedEvent(time=to_iso(NOW), event="break"))
    history.observe_event("pm-1", LoggedEvent(time=to_iso(NOW + 1_000 * DAY), event="break"))
    assert history.ledger().since == NOW


def test_what_came_late_is_counted_at_once() -> None:
    history = empty_history()
    for number in range(1, 50):
        history.observe_alarm(make_alarm(10 * number, 10 * number + 2))
    assert history.ledger().total["caught"] == 0
    history.observe_event("pm-1", make_event(12))
    assert (history.ledger().total["caught"], history.ledger().total["alarms"]) == (1, 49)


def test_of_very_many_alarms_the_ledger_keeps_the_newest_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_detector.operations.console.history.LEDGER_ALARMS", 40)
    history = empty_history()
    alarms = [make_alarm(10 * number, 10 * number + 2) for number in range(1, 500)]
    for alarm in alarms:
        history.observe_alarm(alarm)
    ledger = history.ledger()
    assert 40 <= ledger.total["alarms"] <= 50
    assert ledger.since == from_iso(alarms[-ledger.total["alarms"]].raised_at)


def test_answers_about_things_that_do_not_exist_are_forgotten_and_shelved_assets_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "MOST_ANSWERS", 40)
    kept = answers.Answers(lambda: 1_777_593_700.0)
    said: dict[str, Any] = {"who": "Kim", "at": "2026-05-01T00:00:00Z"}
    kept.take_feedback(Feedback(asset="pm-1", action="out-of-service", reason="rebuild", **said))
    for number in range(200):
        kept.take_feedback(Feedback(asset="pm-1", action="acknowledge", alarm=str(number), **said))
        assert len(kept._feedback) <= 40
    assert [aside.asset for aside in kept.all_set_aside()] == ["pm-1"]


def test_the_small_picture_does_not_join_points_of_different_days() -> None:
    plant = ConsolePlant()
    machine = plant.machines[0]
    later = plant.step * 120.0 + 86_400.0
    plant.observe(machine.sample(0, later, alarm=False, warming_up=False))
    [view] = [view for view in plant.history.assets() if view.asset == machine.asset]
    assert view.recent[-2] is None
    assert view.recent[-1] is not None
    assert len(view.recent) == 48


def test_a_judgement_that_is_taken_back_is_none_in_the_console_and_in_the_ledger() -> None:
    history, alarm = empty_history(clock=NOW + 100), raised_alarm()
    history.observe_alarm(alarm)
    history.observe_feedback(feedback("false-alarm", NOW, alarm=alarm.id))
    assert history.ledger().total["judged_false"] == 1
    history.observe_feedback(feedback("unjudge", NOW + 9, alarm=alarm.id))
    [view] = history.alarms()
    assert (view.judgement, view.acknowledged_by) == (None, "Kim"), "it was seen all the same"
    assert history.ledger().total["judged_false"] == 0


def test_planned_downtime_is_said_with_its_end_also_where_no_forwarder_runs() -> None:
    clock = MIDNIGHT + 12 * 120.0
    history = empty_history(clock, planner=planned_downtime(10, 20))
    history.observe([sample(clock, asset=name) for name in ("pm-1", "pm-2", "boiler")])
    until = MIDNIGHT + 20 * 120.0
    wanted = [SetAside(name, "planned", "calendar", "boiler inspection", until) for name in ("pm-1", "pm-2")]
    assert list(history.set_aside()) == wanted
    assert [view.shelved_until for view in history.assets()] == [None, until, until]
    history.observe_feedback(feedback("unshelve", clock - 60.0))
    assert list(history.set_aside()) == wanted[1:], "somebody wants to hear of pm-1 all the same"


def test_what_the_forwarder_says_of_planned_downtime_is_shown_as_such() -> None:
    clock = MIDNIGHT + 12 * 120.0
    book = AlarmBook(planner=planned_downtime(10, 20))
    [change] = [change for change in book.take_alarm(make_alarm(11), clock) if change.alarm is None]
    history = empty_history(clock)
    history.observe_state(change)
    [aside] = history.set_aside()
    assert (aside.state, aside.why, aside.until) == ("planned", "boiler inspection", MIDNIGHT + 20 * 120.0)
