import math
from io import StringIO
from itertools import permutations
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from rich.console import Console

from stream_detector.detection.config import CostConfig, LeadConfig
from stream_detector.detection.event_cost import event_cost
from stream_detector.messages import Alarm, Costs, Feedback, LoggedEvent
from stream_detector.metrics import LedgerMetrics
from stream_detector.operations.ledger.gauges import LedgerGauges
from stream_detector.operations.ledger.ledger import UNKNOWN_BUNDLE, Ledger
from stream_detector.operations.ledger.report import LedgerReport, report
from stream_detector.operations.ledger.table import print_report
from tests.support.messages import (
    MIDNIGHT,
    STEP_SECONDS,
    STEPS_A_DAY,
    at_step,
    fill,
    make_alarm,
    make_change,
    make_event,
    make_feedback,
    planned_downtime,
)


def of(*messages: Alarm | Feedback | LoggedEvent) -> LedgerReport:
    return report(fill(Ledger(), *messages))


def test_a_break_two_steps_after_the_alarm_is_caught_with_four_minutes_of_lead() -> None:
    total = of(make_alarm(8), make_alarm(8, 10), make_event(10)).total
    assert (total.events, total.caught, total.missed, total.alarms, total.false_alarms) == (1, 1, 0, 1, 0)
    assert (total.cost, total.never_cost, total.saved, total.saving) == (5.0, 100.0, 95.0, 0.95)
    assert total.lead_minutes == (4.0,)


def test_a_break_anywhere_inside_its_step_belongs_to_that_step() -> None:
    assert of(make_alarm(8, 10), make_event(10.99)).total.caught == 1
    assert of(make_alarm(8, 10), make_event(12.01)).total.caught == 0


def test_a_break_without_an_alarm_is_missed_and_an_alarm_without_a_break_is_false() -> None:
    total = of(make_alarm(100, 102), make_event(10)).total
    assert (total.missed, total.false_alarms, total.cost) == (1, 1, 105.0)


def test_an_alarm_still_up_is_paid_for_but_not_yet_false() -> None:
    total = of(make_alarm(8)).total
    assert (total.open_alarms, total.false_alarms, total.cost) == (1, 0, 5.0)


def test_an_alarm_that_was_never_cleared_does_not_catch_what_comes_later() -> None:
    assert of(make_alarm(8), make_event(10)).total.caught == 1
    assert of(make_alarm(8), make_event(500)).total.caught == 0


def test_a_corrected_event_counts_once_at_its_new_time() -> None:
    logged = make_event(10, id="e1", logged_at=1.0)
    corrected = make_event(20, id="e1", logged_at=2.0)
    for order in ((logged, corrected), (corrected, logged), (corrected, logged, corrected, logged)):
        total = of(make_alarm(18, 20), *order).total
        assert (total.events, total.caught) == (1, 1)


def test_a_retracted_event_never_happened() -> None:
    assert of(make_event(10, id="e1"), make_event(10, id="e1", logged_at=5.0, retracted=True)).total.events == 0
    assert of(make_event(10, retracted=True), make_event(10)).total.events == 0


def test_the_same_break_logged_by_two_people_within_one_step_is_one_break() -> None:
    assert of(make_alarm(8, 10), make_event(10), make_event(10.5, "sheet break")).total.events == 1


def test_events_that_cost_nothing_can_be_left_out() -> None:
    ledger = fill(Ledger(event_names={"break"}), make_event(10), make_event(50, "grade change"))
    assert report(ledger).total.events == 1


def test_the_event_names_its_asset_or_the_key_does() -> None:
    ledger = Ledger()
    ledger.add_event("pm-1", make_event(10))
    ledger.add_event("some-key", make_event(10, asset="pm-2"))
    assert ledger.assets == ["pm-1", "pm-2"]


def test_events_before_any_alarm_have_the_default_price_and_no_bundle() -> None:
    ledger = fill(Ledger(default_costs=Costs(fn=70.0)), make_event(10))
    assert report(ledger).total.never_cost == 70.0
    assert list(report(ledger).by_bundle) == [UNKNOWN_BUNDLE]


def test_a_missed_break_is_booked_on_the_bundle_that_was_in_service() -> None:
    by_bundle = of(
        make_alarm(8, 10, bundle="old"), make_alarm(300, 302, bundle="new"), make_event(100), make_event(400)
    ).by_bundle
    assert (by_bundle["old"].missed, by_bundle["new"].missed) == (1, 1)


def test_bundles_with_other_steps_and_leads_are_matched_on_their_own_grid() -> None:
    slow = make_alarm(
        5,
        10,
        bundle="slow",
        step_seconds=600.0,
        expected_from="2026-05-01T00:20:00Z",
        expected_until="2026-05-01T00:30:00Z",
    )
    slow = slow.model_copy(update={"raised_at": "2026-05-01T00:10:00Z", "cleared_at": "2026-05-01T00:20:00Z"})
    # 00:29 lies in the ten-minute step of 00:20, which the slow bundle announced.
    assert of(slow, make_event(14.5)).total.caught == 1


def test_the_newest_judgement_is_kept_beside_the_cost_and_does_not_change_it() -> None:
    alarm = make_alarm(8, 10)
    judged = of(alarm, make_feedback("real", alarm.id, at=9), make_feedback("false-alarm", alarm.id, at=8))
    assert (judged.total.judged_real, judged.total.judged_false) == (1, 0)
    assert judged.total.cost == of(alarm).total.cost
    assert judged.alarms[0].feedback == "real"


def test_periods_add_up_even_where_the_cut_lies_between_alarm_and_break() -> None:
    ledger = fill(Ledger(), make_alarm(8, 10), make_event(10), make_alarm(100, 102))
    cut = MIDNIGHT + 9 * STEP_SECONDS
    before, after = report(ledger, until=cut), report(ledger, since=cut)
    assert after.total.caught == 1
    assert before.total.cost + after.total.cost == report(ledger).total.cost


def test_days_are_booked_in_utc_by_event_time() -> None:
    days = of(make_alarm(STEPS_A_DAY - 1, STEPS_A_DAY + 1), make_event(STEPS_A_DAY + 1)).by_day
    assert (days["2026-05-01"].cost, days["2026-05-02"].cost) == (5.0, 0.0)


def test_one_event_in_a_wrong_century_does_not_break_the_interval() -> None:
    total = of(make_event(10), make_event(10, time="0002-01-01T00:00:00Z"), make_alarm(8, 10)).total
    assert total.events == 2


def test_a_report_can_be_confined_to_an_asset() -> None:
    ledger = fill(Ledger(), make_alarm(8, 10), make_alarm(8, 10, asset="pm-2"))
    assert report(ledger, asset="pm-2").total.alarms == 1
    assert report(ledger, asset="pm-9").total.saving is None


def test_an_alarm_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="until_steps"):
        Ledger().add_alarm(make_alarm(8, expected_until="2026-05-01T00:00:00Z"))
    with pytest.raises(ValueError, match="zone"):
        Ledger().add_alarm(make_alarm(8, raised_at="2026-05-01T00:00:00"))


alarms = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6)), max_size=8, unique_by=lambda alarm: alarm[0])
event_steps = st.lists(st.integers(0, 70), max_size=8, unique=True)


@given(alarms, event_steps)
def test_the_ledger_prices_as_the_backtest_does(alarms: list[tuple[int, int]], event_steps: list[int]) -> None:
    ledger = fill(Ledger(), *(make_alarm(r, r + n) for r, n in alarms), *(make_event(s) for s in event_steps))
    intervals = [(raised, raised + length) for raised, length in alarms]
    priced = event_cost(intervals, event_steps, LeadConfig(from_steps=1, until_steps=2), CostConfig())
    total = report(ledger).total
    assert (total.cost, total.never_cost) == (priced.cost, priced.never_cost)
    leads = priced.match.lead_steps[priced.match.caught] * STEP_SECONDS / 60
    assert list(total.lead_minutes) == sorted(leads.tolist())


@given(
    alarms,
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 3), st.integers(0, 9), st.booleans()), max_size=8),
    st.randoms(),
)
def test_the_order_of_arrival_and_repeats_change_not_a_byte(
    alarms: list[tuple[int, int]], logged: list[tuple[int, int, int, bool]], random: Random
) -> None:
    messages: list[Any] = [make_alarm(r) for r, _ in alarms] + [make_alarm(r, r + n) for r, n in alarms]
    messages += [make_event(step, id=str(i), logged_at=float(at), retracted=gone) for step, i, at, gone in logged]
    messages += [
        make_feedback(random.choice(["real", "false-alarm"]), m.id, at=i % 3)
        for i, m in enumerate(messages[: len(alarms)])
    ]
    once = orjson.dumps(of(*messages).to_json())
    again = messages + random.choices(messages, k=len(messages)) if messages else []
    random.shuffle(again)
    assert orjson.dumps(of(*again).to_json()) == once


def test_what_was_asked_for_in_between_does_not_change_the_answer() -> None:
    ledger = Ledger()
    messages = [make_alarm(8), make_event(10), make_alarm(8, 10), make_feedback("real", make_alarm(8).id)]
    for message in messages:
        fill(ledger, message)
        report(ledger)
    assert report(ledger) == of(*messages)


def test_old_entries_can_be_forgotten() -> None:
    ledger = fill(Ledger(), make_alarm(8, 10), make_event(10), make_alarm(STEPS_A_DAY, STEPS_A_DAY + 2))
    report(ledger)
    ledger.forget_before(MIDNIGHT + 86_400)
    assert report(ledger).total.alarms == 1
    assert report(ledger).total.events == 0


def test_the_gauges_follow_the_ledger_and_a_correction_takes_back_what_was_shown() -> None:
    registry = CollectorRegistry()
    ledger = Ledger()
    gauges = LedgerGauges(ledger, LedgerMetrics(registry))

    def shown(name: str) -> float | None:
        return registry.get_sample_value(f"stream_detector_ledger_{name}", {"asset": "pm-1"})

    fill(ledger, make_alarm(8, 10), make_event(10, id="e1", logged_at=1.0))
    gauges.update({"pm-1"})
    assert (shown("events_caught"), shown("events_missed"), shown("saved")) == (1, 0, 95)
    fill(ledger, make_event(40, id="e1", logged_at=2.0))
    gauges.update({"pm-1"})
    assert (shown("events_caught"), shown("events_missed"), shown("alarms_false"), shown("cost")) == (0, 1, 1, 105)
    assert shown("never_alarm_cost") == 100
    assert shown("lead_seconds_count") == 1


def test_what_happens_while_a_machine_stands_is_no_missed_event_whatever_comes_first() -> None:
    stands = [make_event(5), make_event(30), make_event(33), make_change(0, True), make_change(20, False)]
    runs_again = make_change(32, True)
    for messages in permutations([*stands, runs_again]):
        ledger = fill(Ledger(), *messages)
        assert report(ledger).total.missed == 2
        assert [round(each.time - MIDNIGHT) for each in ledger.account("pm-1").events] == [600, 3_960]
    ledger = fill(Ledger(), *stands)
    assert report(ledger).total.missed == 1
    fill(ledger, runs_again)
    assert report(ledger).total.missed == 2, "what was asked before changes nothing"
    assert report(fill(Ledger(), *stands, make_change(0, False, asset="pm-2"))).total.missed == 1


def test_since_when_a_machine_stands_is_not_forgotten() -> None:
    ledger = fill(Ledger(), make_change(5, True), make_change(8, False))
    ledger.forget_before(MIDNIGHT + 100 * STEP_SECONDS)
    assert report(fill(ledger, make_event(200))).total.missed == 0


def test_a_change_whose_lead_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="lead_until_steps"):
        Ledger().add_operating(make_change(5, True).model_copy(update={"lead_from_steps": 3}))


def test_where_there_is_no_interval_its_gauges_say_that_nothing_is_known() -> None:
    registry, ledger = CollectorRegistry(), fill(Ledger(), make_alarm(8, 10), make_event(10))
    LedgerGauges(ledger, LedgerMetrics(registry)).update({"pm-1"})
    for name in ("saved_lower", "saved_upper"):
        value = registry.get_sample_value(f"stream_detector_ledger_{name}", {"asset": "pm-1"})
        assert value is not None
        assert math.isnan(value)


def test_gauges_are_bounded_however_many_assets_there_are() -> None:
    registry = CollectorRegistry()
    ledger = Ledger()
    gauges = LedgerGauges(ledger, LedgerMetrics(registry), max_assets=2)
    for number in range(5):
        ledger.add_alarm(make_alarm(8, asset=f"pm-{number}"))
    gauges.update(set(ledger.assets))
    assert (
        sum(sample.name == "stream_detector_ledger_cost" for metric in registry.collect() for sample in metric.samples)
        == 2
    )


def test_the_table_on_a_terminal_shows_every_day_whole() -> None:
    ledger = fill(Ledger(), make_alarm(8, 10), make_event(10), make_event(10 + STEPS_A_DAY))
    file = StringIO()
    console = Console(width=80, file=file)
    print_report(report(ledger), console)
    text = file.getvalue()
    for wanted in ("2026-05-01", "2026-05-02", "median 2 to 4 min", "never", "1 step 47.5% (1 caught)", "too little"):
        assert wanted in text
    print_report(report(Ledger()), console)
    assert "no alarms and no events" in file.getvalue()


def test_a_state_is_found_by_an_alarm_within_it_and_its_delay_told() -> None:
    state = make_event(100, id="s", until=at_step(130), logged_at=2.0)
    total = of(make_alarm(103, 110), make_alarm(140, 142), state).total
    assert (total.caught, total.false_alarms, total.lead_minutes, total.delay_minutes) == (1, 1, (), (6.0,))
    output = StringIO()
    print_report(of(make_alarm(103, 110), state), Console(file=output, width=200))
    assert "delay of found states: median 6 min" in output.getvalue()


def test_a_state_that_goes_on_makes_no_alarm_false() -> None:
    begun = make_event(100, id="s", ongoing=True, logged_at=1.0)
    ended = make_event(100, id="s", until=at_step(104), logged_at=2.0)
    assert of(make_alarm(150, 160), begun).total.false_alarms == 0
    assert of(make_alarm(150, 160), begun, ended).total.false_alarms == 1


def test_the_delay_of_states_has_a_histogram_of_its_own() -> None:
    registry = CollectorRegistry()
    ledger = fill(Ledger(), make_alarm(103, 110), make_event(100, until=at_step(130)))
    LedgerGauges(ledger, LedgerMetrics(registry)).update({"pm-1"})
    of = {"asset": "pm-1"}
    assert registry.get_sample_value("stream_detector_ledger_delay_seconds_sum", of) == 360.0
    assert registry.get_sample_value("stream_detector_ledger_lead_seconds_count", of) == 0


@pytest.mark.parametrize("name", ["Pump [/a]", "Pump [red]", "pump\x1b[2J", "pump\nall  9 9 9"])
def test_names_of_machines_are_data_in_the_table(name: str) -> None:
    output = StringIO()
    print_report(of(make_alarm(8, 10, asset=name), make_alarm(8, 10)), Console(file=output, width=200))
    assert "\x1b[2J" not in output.getvalue()
    assert len(output.getvalue().splitlines()) == 4
    assert name.encode("unicode_escape").decode() in output.getvalue()


def test_an_event_that_comes_sooner_than_the_least_warning_counts_as_missed() -> None:
    found = of(make_alarm(8, 10), make_event(9), make_alarm(98, 100), make_event(100), make_event(500))
    assert found.warnings == [(0.0, 2.0), (2.0, 4.0)]
    assert [(each["steps"], each["caught"]) for each in found.by_least_warning()] == [(1, 2), (2, 1), (3, 0)]
    assert [each["saving"] for each in found.by_least_warning()] == pytest.approx([190 / 300, 90 / 300, -10 / 300])
    assert found.by_least_warning()[0]["saving"] == found.total.saving


def test_there_is_an_interval_from_ten_events_on_eight_days_on_and_quiet_days_count_from_since_to_until() -> None:
    def found(events: int, days: float, since: float | None = None, until: float | None = None) -> LedgerReport:
        happened = [make_event(10 + round(number * days * STEPS_A_DAY / events)) for number in range(events)]
        return report(fill(Ledger(), make_alarm(8, 10), *happened), since, until, every_day=True)

    assert found(10, 9.5).total.saving_low is not None
    assert found(9, 9.5).total.saving_low is None
    assert found(10, 6).total.saving_low is None
    quiet = found(10, 6, since=MIDNIGHT - 3 * 86_400, until=MIDNIGHT + 10 * 86_400)
    assert quiet.total.saving_low is not None
    assert quiet.by_asset["pm-1"].saving_low is not None


def test_where_nothing_was_caught_the_table_bounds_what_could_have_been() -> None:
    output = StringIO()
    print_report(of(*(make_event(10 + day * STEPS_A_DAY) for day in range(12))), Console(file=output, width=200))
    assert "no event was caught; at most 22% of them would be in the long run" in output.getvalue()


def test_of_several_bundles_no_saving_is_told_for_a_silent_one_would_seem_the_best() -> None:
    """The new bundle raised nothing before ten breaks, which are booked on the old one, and then caught one."""
    alarms = [make_alarm(8, 10, bundle="old"), make_alarm(9_998, 10_000, bundle="new")]
    breaks = [make_event(10), *(make_event(1_000 + 500 * number) for number in range(10)), make_event(10_000)]
    found = of(*alarms, *breaks)
    assert found.total.saving is not None
    assert {name: tally.saving for name, tally in found.by_bundle.items()} == {"old": None, "new": None}
    assert (found.by_bundle["old"].missed, found.by_bundle["new"].caught) == (10, 1)
    assert of(alarms[0], *breaks).by_bundle["old"].saving is not None


def test_what_happens_in_planned_downtime_costs_nothing_and_saves_nothing() -> None:
    messages = (
        make_alarm(8, 10),
        make_event(10),
        make_alarm(11, 12),
        make_event(15),
        make_alarm(30, 31),
        make_event(32),
    )
    ledger = fill(Ledger(planner=planned_downtime(10, 20)), *messages)
    total = report(ledger).total
    assert (total.events, total.alarms, total.caught, total.false_alarms, total.cost) == (1, 2, 1, 0, 10.0)
    assert ledger.account("pm-1").planned == 3
    assert [alarm.useful for alarm in ledger.account("pm-1").alarms] == [True, True], "it was right about what came"
    others = fill(Ledger(planner=planned_downtime(10, 20, assets="boiler")), *messages)
    assert report(others).total == report(fill(Ledger(), *messages)).total


class StandsFrom:
    """The machine stands from a step on; the lead window of an event is the two steps before it."""

    def __init__(self, step: int) -> None:
        self._from = MIDNIGHT + (step + 2) * STEP_SECONDS

    def before(self, asset: str, time: float) -> bool:
        return asset == "pm-1" and time >= self._from


def test_an_event_before_which_the_machine_stood_costs_nothing_unless_it_was_foreseen() -> None:
    ledger = fill(Ledger(), make_alarm(8, 10), make_event(10), make_event(40), make_event(60, until=at_step(70)))
    other = ledger.without_alarms()
    assert report(ledger).total.missed == 2
    for book in (ledger, other):
        book.leave_out_standing(StandsFrom(8))
    account = ledger.account("pm-1")
    assert [round((event.time - MIDNIGHT) / STEP_SECONDS) for event in account.events] == [10, 60]
    assert (account.standing, other.account("pm-1").standing) == (1, 2)
    assert account.alarms[0].useful
