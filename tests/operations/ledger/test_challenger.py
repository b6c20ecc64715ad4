"""Both books over the same time, and the difference of what they saved, day by day."""

from io import StringIO
from random import Random

import orjson
import pytest
from rich.console import Console

from stream_detector.detection.block_bootstrap import saving_interval
from stream_detector.messages import Alarm, LoggedEvent
from stream_detector.operations.ledger.challenger import Challengers, Comparison
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.table import print_comparison
from tests.support.messages import MIDNIGHT, STEPS_A_DAY, make_alarm, make_event

DAYS = 12


def compared(
    champion: list[Alarm], challenger: list[Alarm], events: list[LoggedEvent], since: float | None = MIDNIGHT
) -> Comparison | None:
    ledger = Ledger()
    challengers = Challengers(ledger)
    for alarm in champion:
        ledger.add_alarm(alarm)
    for event in events[: len(events) // 2]:
        ledger.add_event("pm-1", event)
        challengers.add_event("pm-1", event)
    for alarm in challenger:
        challengers.add_alarm(alarm)
    for event in events[len(events) // 2 :]:
        ledger.add_event("pm-1", event)
        challengers.add_event("pm-1", event)
    return challengers.compare(since)


def caught_on(days: list[int], bundle: str) -> list[Alarm]:
    """An alarm before the break of each of these days."""
    return [make_alarm(day * STEPS_A_DAY + 98, day * STEPS_A_DAY + 100, bundle=bundle) for day in days]


def breaks() -> list[LoggedEvent]:
    return [make_event(day * STEPS_A_DAY + 100) for day in range(DAYS)]


def test_what_the_challenger_would_have_saved_is_told_with_a_paired_interval() -> None:
    found = compared(caught_on([0, 1], "old"), caught_on([0, 1, 2, 3], "new"), breaks())
    assert found is not None
    assert (found.bundle, found.champion.caught, found.challenger.caught) == ("new", 2, 4)
    # Two more breaks caught, each for an alarm: 2 x (100 - 5) of 1,200.
    assert found.difference.saved == 190.0
    assert found.difference.saving == pytest.approx(190 / 1200)
    expected = saving_interval([100, 100, 5, 5] + [100] * (DAYS - 4), [100] * DAYS)
    assert (found.difference.low, found.difference.high) == (expected.low, expected.high)
    assert [books[2].saved for books in found.by_day().values()] == [0, 0, 95, 95, *[0] * (DAYS - 4)]


def test_equal_books_have_a_difference_of_exactly_nothing() -> None:
    found = compared(caught_on([0, 1, 2], "old"), caught_on([0, 1, 2], "new"), breaks())
    assert found is not None
    assert (found.difference.saved, found.difference.low, found.difference.high) == (0.0, 0.0, 0.0)


def test_only_the_newest_challenger_is_compared_and_not_for_the_days_before_both_decided() -> None:
    older = caught_on([0, 1, 2, 3], "older")
    newest = caught_on([2, 4], "newest")
    found = compared(caught_on([0], "old"), [*newest, *older], breaks(), since=None)
    assert found is not None
    assert (found.bundle, found.since) == ("newest", MIDNIGHT + 3 * 86_400)
    assert (found.challenger.events, found.challenger.caught, found.champion.caught) == (DAYS - 3, 1, 0)


def test_without_a_challenger_there_is_nothing_to_compare() -> None:
    assert compared(caught_on([0], "old"), [], breaks()) is None


def test_the_order_in_which_messages_come_does_not_matter() -> None:
    champion, challenger, events = caught_on([0, 2], "old"), caught_on([1, 2, 3], "new"), breaks()
    wanted = compared(champion, challenger, events)
    for seed in range(5):
        rng = Random(seed)
        shuffled = [rng.sample(part, len(part)) for part in (champion, challenger, events)]
        assert compared(*shuffled) == wanted


def test_old_alarms_are_forgotten_with_their_books() -> None:
    ledger = Ledger()
    challengers = Challengers(ledger)
    for alarm in caught_on([0], "old"):
        challengers.add_alarm(alarm)
    challengers.forget_before(MIDNIGHT + 2 * 86_400)
    assert challengers.compare() is None


def test_both_books_are_told_in_words_and_as_json() -> None:
    found = compared(caught_on([0, 1], "old"), caught_on([0, 1, 2, 3], "new"), breaks())
    assert found is not None
    out = StringIO()
    print_comparison(found, Console(file=out, width=100))
    assert "challenger new against the champion, since 2026-05-01T00:00:00Z" in out.getvalue()
    assert "would have saved 15.8% more (+190), paired 90 % interval" in out.getvalue()
    told = orjson.loads(orjson.dumps(found.to_json()))
    assert told["difference"]["saved"] == 190.0
    assert [day["day"] for day in told["per_day"]][:2] == ["2026-05-01", "2026-05-02"]
    assert told["per_asset"][0]["challenger"]["caught"] == 4


def test_without_an_event_no_winner_is_named() -> None:
    found = compared(caught_on([0], "old"), caught_on([0, 1], "new"), [])
    assert found is not None
    out = StringIO()
    print_comparison(found, Console(file=out, width=100))
    assert "nothing can be said" in out.getvalue()
