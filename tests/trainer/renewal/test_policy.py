"""Whether a round is due, and what becomes of a candidate."""

from dataclasses import replace

import pytest

from trainer.renewal.judging import Verdict
from trainer.renewal.policy import Policy, Rules, decide, decide_by_book, why_due

DAY = 86_400.0


def verdict(difference: float | None, events: int = 12, days: int = 9) -> Verdict:
    return Verdict(0.0, days * DAY, days, events, 0.2, 0.1, difference, None, None)


@pytest.mark.parametrize(("policy", "outcome"), [("managed", "promoted"), ("manual", "proposed"), ("never", "kept")])
def test_what_is_at_least_as_good_is_promoted_proposed_or_only_kept(policy: str, outcome: str) -> None:
    assert decide(Rules(policy), "a" * 16, verdict(0.0))[0] == outcome
    assert decide(Rules(policy), None, None)[0] == outcome


@pytest.mark.parametrize("policy", ["managed", "manual", "never"])
def test_a_worse_candidate_is_put_forward_under_no_policy(policy: str) -> None:
    outcome, why = decide(Rules(policy), "a" * 16, verdict(-0.01))
    assert outcome == "kept"
    assert "-1.0%" in why


@pytest.mark.parametrize("few", [verdict(0.3, events=9), verdict(0.3, days=7), verdict(None), None])
def test_nothing_is_concluded_from_too_little(few: Verdict | None) -> None:
    assert decide(Rules("managed"), "a" * 16, few)[0] == "kept"


def test_a_round_is_due_first_on_schedule_after_drift_and_when_the_saving_falls() -> None:
    rules = Rules(every_seconds=7 * DAY, least_saving=0.05)
    assert why_due(rules, 10 * DAY, None, None, None) == "the first round"
    assert why_due(rules, 10 * DAY, 4 * DAY, 0.1, 0.2) is None
    assert "schedule" in (why_due(rules, 11 * DAY, 4 * DAY, None, None) or "")
    assert "drift" in (why_due(rules, 10 * DAY, 4 * DAY, 0.3, 0.2) or "")
    assert "saves 4.0%" in (why_due(rules, 10 * DAY, 4 * DAY, 0.1, 0.04) or "")
    assert why_due(Rules(), 10 * DAY, 4 * DAY, None, -1.0) is None


TRIAL = Rules("managed", trial_days=8, trial_events=10)


def test_a_managed_candidate_is_put_on_trial_where_there_is_a_champion_to_be_beside() -> None:
    assert decide(TRIAL, "a" * 16, verdict(0.0))[0] == "trial"
    assert decide(TRIAL, "a" * 16, verdict(-0.01))[0] == "kept"
    assert decide(TRIAL, None, None)[0] == "promoted"


@pytest.mark.parametrize("few", [verdict(0.3, events=9), verdict(0.3, days=7), verdict(None), None])
def test_a_trial_goes_on_until_its_book_says_something_and_not_for_ever(few: Verdict | None) -> None:
    assert decide_by_book(TRIAL, few, 31.9) is None
    found = decide_by_book(TRIAL, few, 32.0)
    assert found is not None
    assert found[0] == "kept"


@pytest.mark.parametrize(
    ("difference", "policy", "outcome"),
    [(0.0, "managed", "promoted"), (-0.01, "managed", "kept"), (0.1, "manual", "proposed"), (0.1, "never", "kept")],
)
def test_the_book_promotes_what_cost_no_more_as_the_policy_of_today_has_it(
    difference: float, policy: Policy, outcome: str
) -> None:
    found = decide_by_book(replace(TRIAL, policy=policy), verdict(difference), 9.0)
    assert found is not None
    assert found[0] == outcome
