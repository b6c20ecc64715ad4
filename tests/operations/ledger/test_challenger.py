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
from stream_detector.operations.ledger.scope import SCOPE, Scope, read_scope
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


def test_of_a_challenger_for_some_assets_those_alone_are_compared_and_its_bundles_share_a_book() -> None:
    ledger = Ledger()
    challengers = Challengers(ledger)
    scope = Scope("table-1", {"a": "*", "b": "*"}, (("pm-1", "a"), ("pm-[23]", "b")))
    for asset in ("pm-1", "pm-2", "pm-3", "pm-4"):
        for event in breaks():
            ledger.add_event(asset, event)
    for asset, bundle in (("pm-1", "a"), ("pm-2", "b")):
        ledger.add_alarm(make_alarm(98, 100, asset=asset, bundle="old"))
        for day in (0, 1, 2):
            begin = day * STEPS_A_DAY
            challengers.add_alarm(make_alarm(begin + 98, begin + 100, asset=asset, bundle=bundle), scope)
    found = challengers.compare(MIDNIGHT)
    assert found is not None
    assert found.bundle == "table-1"
    # The third is watched by the challenger, which said nothing of it; the fourth is not its business.
    saved = {asset: (mine.caught, other.caught) for asset, (mine, other, _) in found.by_asset().items()}
    assert saved == {"pm-1": (1, 3), "pm-2": (1, 3), "pm-3": (0, 0)}
    assert found.difference.saved == 4 * 95.0


def test_what_is_decided_about_goes_with_the_alarm_and_anything_else_is_passed_over() -> None:
    scope = Scope("table-1", {"a": "line*"}, (("*", "a"),), ("line1-*", "line2-*"))
    header = scope.to_header()
    assert header is not None
    assert read_scope([("term", b"0"), (SCOPE, header)]) == scope
    assert [asset for asset in ("line1-fan", "line3-fan", "oven") if scope.watches(asset)] == ["line1-fan"]
    for other in (b"", b"[]", b'{"lines": 7}', header.replace(b"lines", b"likes")):
        assert read_scope([(SCOPE, other)]) is None
    assert Scope("table-1", {"a": "*"}, tuple((f"{number}", "a") for number in range(2_000))).to_header() is None
