"""The bounded ledger against the plain one: the same totals, in memory that does not grow."""

import gc
import tracemalloc
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.messages import Alarm, Feedback, LoggedEvent, to_epoch_seconds
from stream_detector.operations.ledger.bounded_ledger import BoundedLedger
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import Tally, report, tally
from tests.support.messages import STEPS_A_DAY, Message, fill, make_alarm, make_event, make_feedback


def time_of(message: Message) -> float:
    match message:
        case Alarm():
            return to_epoch_seconds(message.raised_at)
        case LoggedEvent():
            return to_epoch_seconds(message.time)
        case Feedback():
            return to_epoch_seconds(message.at)


def plain(found: Tally) -> dict[str, object]:
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {name: pytest.approx(value) if isinstance(value, float) else value for name, value in values.items()}


def totals(ledger: Ledger) -> dict[str, object]:
    """By asset, without the intervals, which take long."""
    accounts = {asset: ledger.account(asset) for asset in ledger.assets}
    return {
        asset: (
            account.events,
            plain(tally(account.events, account.alarms, tuple(ledger.sums(asset)), with_interval=False)),
        )
        for asset, account in accounts.items()
    }


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """A plant's messages in order of time: alarms of two bundles, events and judgements as soon as they happen."""
    messages: list[Message] = []
    step = {"pm-1": 0, "pm-2": 0}
    raised: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 60))):
        asset = draw(st.sampled_from(["pm-1", "pm-2"]))
        step[asset] += draw(st.sampled_from([1, 2, 3, 10, STEPS_A_DAY]))
        kind = draw(st.sampled_from(["alarm", "alarm", "alarm", "open", "event", "feedback"]))
        now = step[asset]
        bundle = draw(st.sampled_from(["b1", "b1", "b1", "b2"]))
        if kind in ("alarm", "open"):
            messages.append(make_alarm(now, asset=asset, bundle=bundle))
            raised.append((asset, f"{asset}/{now}/{bundle}"))
            if kind == "alarm":
                step[asset] += draw(st.integers(1, 3))
                messages.append(make_alarm(now, step[asset], asset=asset, bundle=bundle))
        elif kind == "event":
            messages.append(make_event(now + draw(st.sampled_from([0.0, 0.5])), asset=asset))
        elif raised:
            judged, identity = raised[-1]
            action = draw(st.sampled_from(["real", "false-alarm"]))
            messages.append(make_feedback(action, identity, at=now, asset=judged))
    return messages


@given(messages=histories(), most=st.integers(1, 6))
def test_totals_are_those_of_a_ledger_that_keeps_everything(messages: list[Message], most: int) -> None:
    bounded = BoundedLedger(most)
    fill(bounded, *messages)
    if not bounded.outdated:
        assert totals(bounded) == totals(fill(Ledger(), *messages))
    assert bounded.detailed <= 2 * most + 1


@given(messages=histories(), most=st.integers(1, 6))
def test_a_ledger_is_right_or_says_that_it_is_not_and_a_second_reading_mends_it(
    messages: list[Message], most: int
) -> None:
    alarms = [message for message in messages if isinstance(message, Alarm)]
    others = [message for message in messages if not isinstance(message, Alarm)]
    expected = totals(fill(Ledger(), *messages))
    late = BoundedLedger(most)
    fill(late, *alarms, *others)
    assert late.outdated or totals(late) == expected
    again = BoundedLedger(most)
    fill(again, *others, *alarms, *others)
    assert not again.outdated
    assert totals(again) == expected


@given(messages=histories(), most=st.integers(1, 4))
def test_what_comes_twice_counts_once(messages: list[Message], most: int) -> None:
    alarms = [message for message in messages if isinstance(message, Alarm)]
    others = [message for message in messages if not isinstance(message, Alarm)]
    twice = BoundedLedger(most)
    fill(twice, *others, *alarms, *alarms, *others)
    assert not twice.outdated
    assert totals(twice) == totals(fill(Ledger(), *messages))


def test_the_whole_report_is_the_same_by_bundle_and_day_and_with_intervals() -> None:
    messages: list[Message] = [
        make_alarm(100 * number, 100 * number + 2, bundle=f"b{number // 20}") for number in range(1, 40)
    ]
    messages += [make_event(100 * number + 2.5) for number in (3, 14, 30)] + [make_event(55)]
    messages.sort(key=time_of)
    found, expected = report(fill(BoundedLedger(2), *messages)), report(fill(Ledger(), *messages))
    assert expected.total.saving_low is not None
    assert plain(found.total) == plain(expected.total)
    for mine, theirs in ((found.by_bundle, expected.by_bundle), (found.by_day, expected.by_day)):
        assert {name: plain(part) for name, part in mine.items()} == {n: plain(part) for n, part in theirs.items()}


def test_an_event_about_a_folded_alarm_makes_the_ledger_outdated() -> None:
    ledger = BoundedLedger(1)
    fill(ledger, *(make_alarm(10 * number, 10 * number + 2) for number in range(1, 5)))
    assert not ledger.outdated
    ledger.add_event("pm-1", make_event(12))
    assert ledger.outdated


def test_a_new_event_does_not_make_it_outdated() -> None:
    ledger = BoundedLedger(1)
    fill(ledger, *(make_alarm(10 * number, 10 * number + 2) for number in range(1, 5)))
    ledger.add_event("pm-1", make_event(42))
    assert not ledger.outdated
    assert report(ledger).total.caught == 1


def test_alarms_that_were_added_up_cannot_be_cut_by_time() -> None:
    ledger = BoundedLedger(1)
    fill(ledger, *(make_alarm(10 * number, 10 * number + 2) for number in range(1, 5)))
    with pytest.raises(ValueError, match="part of the time"):
        report(ledger, since=0.0)


def test_memory_stays_flat_while_alarms_come_for_ever() -> None:
    ledger = BoundedLedger(100)

    def send(first: int, last: int) -> int:
        for number in range(first, last):
            for cleared in (None, 3 * number + 1):
                ledger.add_alarm(make_alarm(3 * number, cleared, top_sensors=[]))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        send(0, 201)  # one less than makes it fold again
        full = send(201, 400)
        later = send(400, 1600)
    finally:
        tracemalloc.stop()
    assert report(ledger).total.alarms == 1600
    assert ledger.detailed <= 200
    # A day and its sums are all that is new.
    assert later - full < 50_000, f"{later - full} bytes more for 1200 alarms"


def test_an_alarm_that_was_added_up_while_it_was_up_is_false_once_it_is_cleared() -> None:
    ledger = BoundedLedger(1)
    ledger.add_alarm(make_alarm(1, bundle="slow"))
    fill(ledger, *(make_alarm(10 * number, 10 * number + 2) for number in range(1, 6)))
    assert (report(ledger).total.open_alarms, report(ledger).total.false_alarms) == (1, 5)
    for _ in range(2):
        ledger.add_alarm(make_alarm(1, 90, bundle="slow"))
        assert (report(ledger).total.open_alarms, report(ledger).total.false_alarms) == (0, 6)
