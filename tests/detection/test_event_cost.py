from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detection.block_bootstrap import Interval, holding_interval, most_caught, saving_interval
from stream_detector.detection.config import CostConfig, LeadConfig
from stream_detector.detection.event_cost import (
    event_cost,
    match_events,
    warning_minutes,
    while_running,
    with_least_warning,
)

PAPER_MILL = CostConfig(tn=0, fp=5, fn=100, tp=5)
NEXT_TWO = LeadConfig(from_steps=1, until_steps=2)

alarms = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)).map(lambda a: (a[0], a[0] + a[1])), max_size=12)
events = st.lists(st.integers(0, 50), max_size=12)
leads = st.tuples(st.integers(0, 3), st.integers(0, 4)).map(
    lambda a: LeadConfig(from_steps=a[0], until_steps=a[0] + a[1])
)


def naive_match(
    alarms: list[tuple[int, int]], events: list[int], lead: LeadConfig, lengths: list[int] | None = None
) -> tuple[list[int], list[int], list[bool]]:
    """The rule as it is written: look at every lead step of every event, and at every step of a state."""
    caught_by, lead_steps, useful = [], [], [False] * len(alarms)
    for event, length in zip(events, lengths or [0] * len(events), strict=True):
        lead_window = {*range(event - lead.until_steps, event - lead.from_steps + 1)}
        if length:
            lead_window |= {*range(event - lead.until_steps, event + length + 1)}
        catching = [i for i, (raised, cleared) in enumerate(alarms) if any(raised <= s < cleared for s in lead_window)]
        for i in catching:
            useful[i] = True
        first = min(catching, key=lambda i: alarms[i][0], default=-1)
        caught_by.append(first)
        lead_steps.append(-1 if first < 0 else event - alarms[first][0])
    return caught_by, lead_steps, useful


@given(alarms, events, leads)
def test_the_fast_match_agrees_with_looking_at_every_lead_step(
    alarms: list[tuple[int, int]], events: list[int], lead: LeadConfig
) -> None:
    match = match_events(np.array(alarms).reshape(-1, 2), events, lead)
    caught_by, lead_steps, useful = naive_match(alarms, events, lead)
    assert match.caught.tolist() == [i >= 0 for i in caught_by]
    assert match.lead_steps.tolist() == lead_steps
    assert match.useful.tolist() == useful
    # Which of two alarms raised at the same step is named does not matter, as long as it is one of those.
    assert [alarms[i][0] for i in match.caught_by if i >= 0] == [alarms[i][0] for i in caught_by if i >= 0]


@given(alarms, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=8), leads)
def test_a_state_is_found_by_an_alarm_before_or_within_it(
    alarms: list[tuple[int, int]], states: list[tuple[int, int]], lead: LeadConfig
) -> None:
    begins, lengths = [begin for begin, _ in states], [length for _, length in states]
    lasts = [begin + length for begin, length in states]
    match = match_events(np.array(alarms).reshape(-1, 2), begins, lead, lasts)
    caught_by, lead_steps, useful = naive_match(alarms, begins, lead, lengths)
    assert match.caught.tolist() == [i >= 0 for i in caught_by]
    assert match.useful.tolist() == useful
    assert match.lead_steps[match.caught].tolist() == [
        step for step, i in zip(lead_steps, caught_by, strict=True) if i >= 0
    ]


@given(alarms, events, leads, st.randoms())
def test_the_order_of_alarms_and_events_does_not_change_the_cost(
    alarms: list[tuple[int, int]], events: list[int], lead: LeadConfig, random: Random
) -> None:
    cost = event_cost(alarms, events, lead, PAPER_MILL).cost
    random.shuffle(alarms)
    random.shuffle(events)
    assert event_cost(alarms, events, lead, PAPER_MILL).cost == cost


def test_an_alarm_two_steps_ahead_turns_a_hundred_into_five() -> None:
    cost = event_cost([(8, 10)], [10], NEXT_TWO, PAPER_MILL)
    assert (cost.never_cost, cost.cost) == (100.0, 5.0)
    assert cost.match.lead_steps.tolist() == [2]


@pytest.mark.parametrize(("raised", "cleared"), [(7, 8), (10, 12)])
def test_an_alarm_that_ended_before_the_lead_steps_or_began_after_them_catches_nothing(
    raised: int, cleared: int
) -> None:
    cost = event_cost([(raised, cleared)], [10], NEXT_TWO, PAPER_MILL)
    assert cost.cost == 105.0


def test_a_long_alarm_is_paid_once_and_one_raised_anew_is_paid_again() -> None:
    assert event_cost([(0, 30)], [10], NEXT_TWO, PAPER_MILL).cost == 5.0
    assert event_cost([(4, 6), (6, 8), (8, 10)], [10], NEXT_TWO, PAPER_MILL).cost == 15.0


def test_one_alarm_may_catch_two_events() -> None:
    assert event_cost([(8, 12)], [10, 12], NEXT_TWO, PAPER_MILL).cost == 5.0


def test_a_useful_alarm_may_have_another_price_than_a_false_one() -> None:
    costs = CostConfig(tn=0, fp=5, fn=100, tp=20)
    assert event_cost([(8, 10), (30, 32)], [10], NEXT_TWO, costs).alarm_costs.tolist() == [20.0, 5.0]


def test_without_alarms_the_cost_is_that_of_never_alarming() -> None:
    cost = event_cost([], [3, 9], NEXT_TWO, PAPER_MILL)
    assert cost.cost == cost.never_cost == 200.0


def test_an_alarm_that_is_never_up_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        match_events([(5, 5)], [6], NEXT_TWO)


def test_the_interval_holds_the_saving_and_repeats_with_its_seed() -> None:
    cost, never = [100, 60, 20, 90, 40, 70], [100, 100, 100, 100, 100, 100]
    interval = saving_interval(cost, never)
    assert interval == saving_interval(cost, never)
    assert interval != saving_interval(cost, never, replicates=10)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < 1 - sum(cost) / sum(never) < interval.high


def test_days_that_are_all_alike_leave_no_doubt() -> None:
    interval = saving_interval([50, 50, 50], [100, 100, 100])
    assert interval == Interval(0.5, 0.5)


@pytest.mark.parametrize(("cost", "never"), [([], []), ([5.0], [100.0]), ([5.0, 5.0], [0.0, 0.0])])
def test_there_is_no_interval_without_two_days_and_an_event(cost: list[float], never: list[float]) -> None:
    assert saving_interval(cost, never) == Interval(None, None)


@pytest.mark.parametrize(
    ("events", "caught", "days", "there"), [(10, 1, 8, True), (9, 1, 8, False), (10, 1, 7, False), (50, 0, 30, False)]
)
def test_there_is_no_interval_where_one_could_not_hold(events: int, caught: int, days: int, there: bool) -> None:
    cost, never = np.full(days, 90.0), np.full(days, 100.0)
    cost[0] = 20.0
    found = holding_interval(cost, never, events=events, caught=caught)
    assert (found.low is not None) == there
    assert holding_interval(cost[:4], never[:4], events=events, caught=caught, quiet_days=days - 4).low is None or there


def test_what_was_never_caught_is_bounded_by_the_rule_of_three() -> None:
    assert most_caught(30) == pytest.approx(3 / 30, rel=0.05)
    assert most_caught(0) is None
    assert (1 - most_caught(12)) ** 12 == pytest.approx(0.05)


def test_an_alarm_that_comes_too_late_for_its_event_is_paid_for_as_a_false_one() -> None:
    costs = CostConfig(tn=0, fp=5, fn=100, tp=20)
    priced = event_cost([(8, 10), (18, 20), (40, 42)], [9, 20, 60], NEXT_TWO, costs)
    assert [with_least_warning(priced, steps, costs).cost for steps in (1, 2, 3)] == [145.0, 230.0, 315.0]
    assert with_least_warning(priced, 1, costs).match.useful.tolist() == priced.match.useful.tolist()
    assert [warning_minutes(steps, 120.0) for steps in (0, 1, 2)] == [(0.0, 0.0), (0.0, 2.0), (2.0, 4.0)]


def test_an_event_counts_where_the_machine_ran_in_a_step_of_its_lead_window() -> None:
    standing = range(10, 20)
    assert while_running([9, 10, 11, 12, 15, 20, 21, 22], standing, NEXT_TWO).tolist() == [
        True, True, True, False, False, False, True, True,
    ]  # fmt: skip
    assert while_running([5], [], NEXT_TWO).tolist() == [True]
    assert while_running([], standing, NEXT_TWO).tolist() == []
