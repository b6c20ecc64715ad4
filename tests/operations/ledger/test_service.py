"""The ledger by bundle, where it is known which one was in service: silence belongs to whoever was silent."""

from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import LedgerReport, report
from stream_detector.operations.ledger.service import Service
from tests.support.messages import MIDNIGHT, STEP_SECONDS, Message, fill, make_alarm, make_event


def since(step: float) -> float:
    return MIDNIGHT + step * STEP_SECONDS


def found(service: Service | None, *messages: Message, begin: float | None = None) -> LedgerReport:
    ledger = fill(Ledger(), *messages)
    ledger.service = service
    return report(ledger, begin)


ALARMS = (make_alarm(8, 10, bundle="old"), make_alarm(9_998, 10_000, bundle="new"))
BREAKS = (make_event(10), *(make_event(1_000 + 500 * number) for number in range(10)), make_event(10_000))
SWITCHED = Service({0: [(since(0), "old"), (since(900), "new")]})


def test_what_a_silent_bundle_missed_is_booked_on_it_and_so_both_savings_are_told() -> None:
    by_bundle = found(SWITCHED, *ALARMS, *BREAKS).by_bundle
    assert {name: (tally.caught, tally.missed) for name, tally in by_bundle.items()} == {"old": (1, 0), "new": (1, 10)}
    assert (by_bundle["old"].saving, by_bundle["new"].saving) == (0.95, 1 - (10 * 100 + 5) / 1100)
    assert {name: tally.saving for name, tally in found(None, *ALARMS, *BREAKS).by_bundle.items()} == {
        "old": None,
        "new": None,
    }


def test_a_bundle_that_decided_and_never_spoke_has_its_misses_and_a_quiet_one_a_line_of_noughts() -> None:
    service = Service({0: [(since(0), "old"), (since(900), "mute"), (since(20_000), "quiet")]})
    by_bundle = found(service, ALARMS[0], *BREAKS).by_bundle
    assert {name: (tally.events, tally.missed) for name, tally in by_bundle.items()} == {
        "old": (1, 0), "mute": (11, 11), "quiet": (0, 0),
    }  # fmt: skip
    assert (by_bundle["mute"].cost, by_bundle["mute"].saving, by_bundle["quiet"].saving) == (1100.0, 0.0, None)
    later = found(service, ALARMS[0], *BREAKS, begin=since(20_000)).by_bundle
    assert list(later) == ["quiet"]


def test_where_an_event_is_older_than_what_is_known_no_saving_by_bundle_is_told() -> None:
    late = Service({0: [(since(1_100), "old"), (since(1_600), "new")]})
    by_bundle = found(late, *ALARMS, *BREAKS).by_bundle
    assert {tally.saving for tally in by_bundle.values()} == {None}
    assert (by_bundle["old"].missed, by_bundle["new"].missed) == (2, 8)


def test_the_bundle_that_raised_the_alarm_has_the_catch_whoever_decided_when_the_event_came() -> None:
    switched_meanwhile = Service({0: [(since(0), "old"), (since(9), "new")]})
    assert list(found(switched_meanwhile, ALARMS[0], make_event(9)).by_bundle) == ["new", "old"]
    assert found(switched_meanwhile, ALARMS[0], make_event(9)).by_bundle["old"].caught == 1


def test_a_partition_that_is_behind_does_not_speak_for_the_others() -> None:
    service = Service({
        0: [(since(0), "old"), (since(10), "new")],
        1: [(since(0), "old"), (since(11), "new")],
        2: [(since(5), "old")],
    })  # fmt: skip
    assert [service.at(since(step)) for step in (-1, 0, 10, 11, 500)] == [None, "old", "old", "new", "new"]


def test_clocks_that_go_back_change_nothing_of_the_order_of_the_log() -> None:
    service = Service({0: [(since(5), "a"), (since(2), "b"), (since(9), "a")]})
    assert [service.at(since(step)) for step in (2, 5, 8, 9)] == [None, "b", "b", "a"]
    assert service.between(since(6), since(8)) == ["b"]
    assert service.between(since(6), None) == ["a", "b"]


def test_while_a_table_decides_the_alarms_alone_say_whose_an_event_was() -> None:
    service = Service({0: [(since(0), "old"), (since(1_000), "table-0123456789abcdef")]})
    assert (service.at(since(999)), service.at(since(1_000))) == ("old", None)
    assert service.between(since(0), None) == ["old"]
    by_bundle = found(service, *ALARMS, *BREAKS).by_bundle
    assert set(by_bundle) == {"old", "new"}
    assert {tally.saving for tally in by_bundle.values()} == {None}
