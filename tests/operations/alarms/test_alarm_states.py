from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.messages import Alarm, AlarmStateChange, Feedback, from_iso
from stream_detector.operations.alarms.alarm_health import AlarmHealth, HealthLimits
from stream_detector.operations.alarms.alarm_states import AlarmBook
from stream_detector.operations.alarms.priority import priority_of
from tests.support.messages import MIDNIGHT, at_step, make_alarm, make_feedback, planned_downtime


def states(changes: list[AlarmStateChange]) -> list[tuple[Any, ...]]:
    return [(change.alarm and change.alarm.split("/")[1], change.previous, change.state) for change in changes]


def raise_at(book: AlarmBook, step: int, **changes: Any) -> list[AlarmStateChange]:
    return book.take_alarm(make_alarm(step, **changes), MIDNIGHT + 120 * step)


def clear_at(book: AlarmBook, step: int, cleared: int) -> list[AlarmStateChange]:
    return book.take_alarm(make_alarm(step, cleared), MIDNIGHT + 120 * cleared)


def shelve(at: int = 0, until: int = 100, asset: str = "pm-1") -> Feedback:
    return make_feedback("shelve", at=at, until=at_step(until), reason="sensor x7 is being calibrated", asset=asset)


def test_an_alarm_that_is_acknowledged_and_then_clears_is_over() -> None:
    book = AlarmBook()
    changes = (
        raise_at(book, 1)
        + book.take_feedback(make_feedback("acknowledge", make_alarm(1).id, at=2))
        + clear_at(book, 1, 3)
    )
    assert states(changes) == [
        ("1", "normal", "unacknowledged"),
        ("1", "unacknowledged", "acknowledged"),
        ("1", "acknowledged", "normal"),
    ]
    assert [(change.who, change.at) for change in changes] == [
        ("detector", at_step(1)),
        ("shift leader", at_step(2)),
        ("detector", at_step(3)),
    ]
    assert book.open_alarms() == []


def test_an_alarm_that_clears_unseen_waits_until_somebody_has_seen_it() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    assert states(clear_at(book, 1, 3)) == [("1", "unacknowledged", "returned")]
    assert states(book.take_feedback(make_feedback("acknowledge", make_alarm(1).id, at=5))) == [
        ("1", "returned", "normal")
    ]


def test_who_judges_an_alarm_has_seen_it() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    assert states(book.take_feedback(make_feedback("false-alarm", make_alarm(1).id, at=2))) == [
        ("1", "unacknowledged", "acknowledged")
    ]


def test_shelving_sets_the_asset_and_its_alarms_aside_until_it_ends() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    assert states(book.take_feedback(shelve(at=2, until=10))) == [
        ("1", "unacknowledged", "shelved"),
        (None, "normal", "shelved"),
    ]
    assert states(raise_at(book, 4)) == [("4", "normal", "shelved")]
    assert states(clear_at(book, 4, 6)) == [("4", "shelved", "normal")]
    assert book.tick(MIDNIGHT + 120 * 9.9) == []
    ended = book.tick(MIDNIGHT + 120 * 12)
    assert states(ended) == [("1", "shelved", "unacknowledged"), (None, "shelved", "normal")]
    assert {change.at for change in ended} == {at_step(10)}
    assert {change.who for change in ended} == {"forwarder"}
    assert book.suppression("pm-1", MIDNIGHT) is None


def test_shelving_one_asset_leaves_the_others_alone() -> None:
    book = AlarmBook()
    book.take_feedback(shelve(asset="pm-2"))
    assert states(raise_at(book, 1)) == [("1", "normal", "unacknowledged")]


def test_out_of_service_has_no_end_but_being_put_back() -> None:
    book = AlarmBook()
    book.take_feedback(make_feedback("out-of-service", at=1, reason="rebuild"))
    assert book.tick(MIDNIGHT + 1e9) == []
    assert book.suppressed_assets("out-of-service") == ["pm-1"]
    assert book.take_feedback(make_feedback("unshelve", at=2)) == []
    assert states(book.take_feedback(make_feedback("in-service", at=3))) == [(None, "out-of-service", "normal")]


def test_shelving_what_is_out_of_service_would_end_its_rest_and_is_ignored() -> None:
    book = AlarmBook()
    book.take_feedback(make_feedback("out-of-service", at=1, reason="rebuild"))
    assert book.take_feedback(shelve(at=2, until=5)) == []
    assert book.suppressed_assets("out-of-service") == ["pm-1"]


def test_an_acknowledged_alarm_that_comes_back_from_the_shelf_must_be_seen_again() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    book.take_feedback(make_feedback("acknowledge", make_alarm(1).id, at=2))
    book.take_feedback(shelve(at=3, until=10))
    assert states(book.take_feedback(make_feedback("unshelve", at=5)))[0] == ("1", "shelved", "unacknowledged")


def test_what_was_said_earlier_but_comes_later_does_not_undo_what_was_said_last() -> None:
    book = AlarmBook()
    book.take_feedback(shelve(at=5, until=50))
    assert book.take_feedback(make_feedback("unshelve", at=4)) == []
    assert book.suppressed_assets("shelved") == ["pm-1"]


def test_feedback_that_is_ahead_of_its_alarm_waits_for_it() -> None:
    book = AlarmBook()
    assert book.take_feedback(make_feedback("acknowledge", make_alarm(1).id, at=2)) == []
    assert states(raise_at(book, 1)) == [("1", "normal", "unacknowledged"), ("1", "unacknowledged", "acknowledged")]


def test_a_renewed_alarm_goes_on_as_acknowledged_as_it_was_and_the_old_one_is_over() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    book.take_feedback(make_feedback("acknowledge", make_alarm(1).id, at=2))
    clear_at(book, 1, 3)
    assert states(raise_at(book, 3)) == [("3", "normal", "acknowledged")]
    clear_at(book, 3, 5)
    assert book.open_alarms() == []


def test_a_renewal_nobody_has_seen_leaves_one_alarm_to_acknowledge() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    clear_at(book, 1, 3)
    assert states(raise_at(book, 3)) == [("1", "returned", "normal"), ("3", "normal", "unacknowledged")]


@pytest.mark.parametrize("rest", [0, 1])
def test_an_episode_that_is_renewed_over_and_over_stands_but_does_not_chatter(rest: int) -> None:
    book = AlarmBook()
    health = AlarmHealth(book, HealthLimits(standing_seconds=600, chattering_raises=3, chattering_seconds=3_600))
    for step in range(1, 26, 2 + rest):
        alarm = make_alarm(step)
        before = book.renewal_of(alarm)
        raise_at(book, step)
        health.note_raised("pm-1", alarm.id, MIDNIGHT + 120 * step, before)
        assert health.figures(MIDNIGHT + 120 * step).total("standing") == (step > 6)
        clear_at(book, step, step + 2)
        figures = health.figures(MIDNIGHT + 120 * (step + 2))
        assert figures.by_asset == {("pm-1", "unacknowledged"): 1}


def test_an_alarm_after_which_steps_went_without_cover_is_one_of_its_own() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    clear_at(book, 1, 3)
    assert book.renewal_of(make_alarm(4)) == make_alarm(1).id
    assert book.renewal_of(make_alarm(5)) is None
    assert book.renewal_of(make_alarm(2)) is None


actions = st.sampled_from(["acknowledge", "shelve", "unshelve", "out-of-service", "in-service", "real"])
inputs = st.lists(
    st.one_of(
        st.tuples(st.just("raise"), st.integers(1, 5)),
        st.tuples(st.just("clear"), st.integers(1, 5)),
        st.tuples(actions, st.integers(1, 5)),
    ),
    max_size=20,
)


def play(book: AlarmBook, given: list[tuple[str, int]]) -> list[AlarmStateChange]:
    changes = []
    for at, (what, number) in enumerate(given):
        if what == "raise":
            changes += raise_at(book, number)
        elif what == "clear":
            changes += clear_at(book, number, number + 1)
        else:
            details = {"until": at_step(at + 7)} if what == "shelve" else {}
            changes += book.take_feedback(make_feedback(what, make_alarm(number).id, at=at, reason="why", **details))
        changes += book.tick(MIDNIGHT + 120 * at)
    return changes


@given(inputs)
def test_every_change_is_published_so_that_the_published_changes_give_the_same_book(
    given: list[tuple[str, int]],
) -> None:
    book, copy = AlarmBook(), AlarmBook()
    changes = play(book, given)
    copy.restore(changes)
    as_told = [(a.id, a.state, a.up) for a in book.open_alarms()]
    assert sorted((a.id, a.state, a.up) for a in copy.open_alarms()) == sorted(as_told)
    assert copy.suppression("pm-1", MIDNIGHT) == book.suppression("pm-1", MIDNIGHT)
    last: dict[str | None, str] = {}
    for change in changes:
        assert last.get(change.alarm, "normal") == change.previous
        # A shelving may be prolonged; an alarm's state truly changes.
        assert change.alarm is None or change.previous != change.state
        last[change.alarm] = change.state


@given(inputs)
def test_taking_each_message_twice_changes_nothing(given: list[tuple[str, int]]) -> None:
    once, twice = AlarmBook(), AlarmBook()
    changes = play(once, given)
    again = []
    for at, (what, number) in enumerate(given):
        for _ in range(2):
            if what in ("raise", "clear"):
                again += raise_at(twice, number) if what == "raise" else clear_at(twice, number, number + 1)
            else:
                details = {"until": at_step(at + 7)} if what == "shelve" else {}
                again += twice.take_feedback(make_feedback(what, make_alarm(number).id, at=at, reason="why", **details))
        again += twice.tick(MIDNIGHT + 120 * at)
    assert again == changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"probability": 0.06}, "low"),
        ({"probability": 0.12}, "medium"),
        ({"probability": 0.30}, "high"),
        ({"probability": None}, "medium"),
    ],
)
def test_the_priority_follows_the_cost_at_stake(changes: dict[str, Any], expected: str) -> None:
    assert priority_of(make_alarm(1, **changes)) == expected


def test_the_health_figures_count_what_an_operator_has_to_cope_with() -> None:
    book = AlarmBook()
    health = AlarmHealth(book, HealthLimits(standing_seconds=600, chattering_raises=3, chattering_seconds=1_800))

    def take(alarm: Alarm, now: float) -> None:
        book.take_alarm(alarm, now)
        if alarm.state == "raised":
            health.note_raised(alarm.asset, alarm.id, from_iso(alarm.raised_at))

    for step in (1, 4, 7):
        take(make_alarm(step), MIDNIGHT + 120 * step)
        take(make_alarm(step, step + 1), MIDNIGHT + 120 * (step + 1))
    take(make_alarm(8, asset="pm-2"), MIDNIGHT + 120 * 8)
    book.take_feedback(shelve(at=8, until=90, asset="pm-3"))
    book.take_feedback(make_feedback("out-of-service", at=8, reason="rebuild", asset="pm-4"))
    now = health.figures(MIDNIGHT + 120 * 8)
    assert (now.per_10_minutes, now.total("unacknowledged")) == (3, 4)
    assert now.by_asset == {
        ("pm-1", "unacknowledged"): 3,
        ("pm-1", "chattering"): 1,
        ("pm-2", "unacknowledged"): 1,
        ("pm-3", "shelved"): 1,
        ("pm-4", "out-of-service"): 1,
    }
    later = health.figures(MIDNIGHT + 120 * 30)
    assert (later.per_10_minutes, later.total("standing"), later.total("chattering")) == (0, 1, 0)


def test_an_alarm_that_is_held_back_is_nobodys_to_acknowledge() -> None:
    book = AlarmBook()
    changes = raise_at(book, 1, held_back=True)
    assert states(changes) == [("1", "normal", "held-back")]
    assert book.open_alarms() == []
    # A forwarder that starts again knows it from the change alone.
    again = AlarmBook()
    again.restore(changes)
    for each in (book, again):
        assert states(each.take_alarm(make_alarm(1, 3, held_back=True), MIDNIGHT + 360)) == [
            ("1", "held-back", "normal")
        ]


def test_who_acted_on_an_alarm_has_seen_it_and_a_signal_of_the_plant_answers_none() -> None:
    book = AlarmBook()
    raise_at(book, 1)
    assert book.take_feedback(make_feedback("acted", at=2)) == []
    assert states(book.take_feedback(make_feedback("acted", make_alarm(1).id, at=2))) == [
        ("1", "unacknowledged", "acknowledged")
    ]


def tick(book: AlarmBook, step: float) -> list[AlarmStateChange]:
    return book.tick(MIDNIGHT + 120 * step)


def test_planned_downtime_sets_an_asset_aside_and_ends_by_itself() -> None:
    book = AlarmBook(planner=planned_downtime(10, 20))
    raise_at(book, 9)
    assert tick(book, 9.5) == []
    changes = tick(book, 12)
    assert states(changes) == [("9", "unacknowledged", "shelved"), (None, "normal", "shelved")]
    assert {(change.who, change.why, change.at) for change in changes} == {
        ("calendar", "planned downtime until 2026-05-01 00:40 UTC: boiler inspection", at_step(10))
    }
    assert changes[-1].until == at_step(20)
    assert states(raise_at(book, 13)) == [("13", "normal", "shelved")]
    clear_at(book, 9, 14)
    assert states(tick(book, 20)) == [("13", "shelved", "unacknowledged"), (None, "shelved", "normal")]
    assert tick(book, 21) == []


def test_the_first_alarm_of_an_asset_in_planned_downtime_is_set_aside_before_anything_was_published() -> None:
    book = AlarmBook(planner=planned_downtime(10, 20))
    suppression = book.suppression("pm-1", MIDNIGHT + 120 * 11)
    assert suppression is not None
    assert suppression.why.endswith("boiler inspection")
    assert book.suppression("pm-1", MIDNIGHT + 120 * 20) is None
    assert book.suppression("boiler", MIDNIGHT + 120 * 11) is None
    assert states(raise_at(book, 11)) == [(None, "normal", "shelved"), ("11", "normal", "shelved")]


def test_who_has_an_asset_back_in_planned_downtime_is_told_until_the_next_window() -> None:
    book = AlarmBook(planner=planned_downtime(10, 20))
    raise_at(book, 9)
    tick(book, 10)
    book.take_feedback(make_feedback("unshelve", at=12, asset="pm-1"))
    assert tick(book, 13) == []
    assert book.suppression("pm-1", MIDNIGHT + 120 * 13) is None


def test_a_shelving_that_ends_in_planned_downtime_goes_over_into_it() -> None:
    book = AlarmBook(planner=planned_downtime(10, 20))
    raise_at(book, 1)
    book.take_feedback(shelve(at=2, until=15))
    assert tick(book, 12) == []
    changes = tick(book, 16)
    assert [(change.state, change.at) for change in changes if change.alarm is None] == [
        ("normal", at_step(15)),
        ("shelved", at_step(15)),
    ]
    assert book.suppression("pm-1", MIDNIGHT + 120 * 16) is not None


def test_downtime_that_lasts_for_longer_than_a_shelving_may_goes_on() -> None:
    days = 720
    book = AlarmBook(planner=planned_downtime(0, 20 * days))
    raise_at(book, 5 * days)
    assert book.suppression("pm-1", MIDNIGHT + 120 * 5 * days) is not None
    for day in range(5, 20):
        tick(book, day * days + 1)
        suppression = book.suppression("pm-1", MIDNIGHT + 120 * (day * days + 1))
        assert suppression is not None, day
    tick(book, 20 * days)
    assert book.suppression("pm-1", MIDNIGHT + 120 * 20 * days) is None


@pytest.mark.parametrize("kept", range(6))
def test_a_calendars_changes_that_were_published_in_part_are_finished_after_a_restart(kept: int) -> None:
    whole = AlarmBook(planner=planned_downtime(10, 20))
    published = [*raise_at(whole, 8), *raise_at(whole, 9), *tick(whole, 12), *tick(whole, 20)]
    assert len(published) == 8
    again = AlarmBook(planner=planned_downtime(10, 20))
    again.restore(published[: 2 + kept])
    rest = [*tick(again, 12), *tick(again, 20)]
    kinds = {(change.alarm, change.state) for change in rest}
    assert {(change.alarm, change.state) for change in published[2 + kept :]} <= kinds or kept < 3
    assert again.suppression("pm-1", MIDNIGHT + 120 * 20) is None
    assert {alarm.state for alarm in again.open_alarms()} == {"unacknowledged"}
