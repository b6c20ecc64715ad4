"""The book of a candidate on trial holds whole days in which both decided, and none that it may have learnt from."""

import pytest

from stream_detector.operations.ledger.challenger import Challengers
from stream_detector.operations.ledger.ledger import Ledger
from tests.support.messages import MIDNIGHT, STEPS_A_DAY, make_alarm, make_event
from trainer.renewal.book import verdict_of

DAY = 86_400.0


@pytest.fixture
def books() -> Challengers:
    """Ten days with a break each; the champion misses all, the candidate catches all from the second day on."""
    champion = Ledger()
    found = Challengers(champion)
    champion.add_alarm(make_alarm(2, 4, bundle="old"))
    for day in range(1, 10):
        found.add_alarm(make_alarm(day * STEPS_A_DAY + 98, day * STEPS_A_DAY + 100, bundle="new"))
    found.add_alarm(make_alarm(9 * STEPS_A_DAY + 200, 9 * STEPS_A_DAY + 210, bundle="newer"))
    for day in range(10):
        event = make_event(day * STEPS_A_DAY + 100)
        champion.add_event("pm-1", event)
        found.add_event("pm-1", event)
    return found


def test_days_count_after_both_have_decided_and_the_candidate_had_learnt_its_last(books: Challengers) -> None:
    early = verdict_of(books, "new", MIDNIGHT, MIDNIGHT + 9.5 * DAY)
    late = verdict_of(books, "new", MIDNIGHT + 4.5 * DAY, MIDNIGHT + 9.5 * DAY)
    assert early is not None
    assert late is not None
    assert (early.days, early.events, early.champion) == (7, 7, 0.0)
    assert (late.days, late.events) == (4, 4)
    assert late.difference is not None
    assert late.difference > 0.9


def test_of_a_line_of_a_table_its_assets_alone_count(books: Challengers) -> None:
    mine = verdict_of(books, "new", MIDNIGHT, MIDNIGHT + 9.5 * DAY, decides=lambda asset: asset == "pm-1")
    others = verdict_of(books, "new", MIDNIGHT, MIDNIGHT + 9.5 * DAY, decides=lambda asset: asset != "pm-1")
    assert mine == verdict_of(books, "new", MIDNIGHT, MIDNIGHT + 9.5 * DAY)
    assert others is not None
    assert (others.events, others.difference) == (0, None)


def test_there_is_no_book_of_who_raised_no_alarm_or_before_a_whole_day(books: Challengers) -> None:
    assert verdict_of(books, "silent", MIDNIGHT, MIDNIGHT + 9.5 * DAY) is None
    assert verdict_of(books, "new", MIDNIGHT, MIDNIGHT + 2.9 * DAY) is None
