"""People act on alarms: what that prevented, what is false, and what the next fit may learn."""

from io import StringIO

import numpy as np
import orjson
import pytest
from pydantic import ValidationError
from rich.console import Console

from benchmarks.acting import one_run, refits
from stream_detector.engine.alarm_messages import is_held_back
from stream_detector.messages import Alarm, Feedback, LoggedEvent, to_bytes
from stream_detector.operations.ledger.ledger import Ledger
from stream_detector.operations.ledger.report import LedgerReport, report
from stream_detector.operations.ledger.table import print_report
from tests.support.messages import fill, make_alarm, make_event, make_feedback


def of(*messages: Alarm | Feedback | LoggedEvent) -> LedgerReport:
    return report(fill(Ledger(), *messages))


def printed(found: LedgerReport) -> str:
    text = StringIO()
    print_report(found, Console(file=text, width=200))
    return text.getvalue()


def test_an_alarm_that_somebody_acted_on_is_not_false_without_an_event() -> None:
    alarm = make_alarm(8, 10)
    assert of(alarm).total.false_alarms == 1
    found = of(alarm, make_feedback("acted", alarm.id, at=9))
    assert (found.total.false_alarms, found.total.acted, found.alarms[0].cost) == (0, 1, alarm.costs.tp)
    assert found.to_json()["alarm_list"][0]["outcome"] == "acted"


@pytest.mark.parametrize(("at", "acted"), [(7.9, False), (8, True), (11.9, True), (12, False)])
def test_a_signal_of_the_plant_means_the_alarms_that_speak_of_its_time(at: float, acted: bool) -> None:
    # Up on steps 8 and 9, for events up to the end of step 11.
    found = of(make_alarm(8, 10), make_feedback("acted", at=at))
    assert found.alarms[0].acted is acted


def test_a_signal_of_another_machine_means_nothing_here() -> None:
    assert not of(make_alarm(8, 10), make_feedback("acted", at=9, asset="pm-2")).alarms[0].acted


def test_an_alarm_that_was_held_back_costs_and_catches_nothing() -> None:
    found = of(make_alarm(8, 10, held_back=True), make_event(10))
    total = found.total
    assert (total.caught, total.missed, total.cost, total.held_back, total.false_alarms) == (0, 1, 100.0, 1, 0)
    assert found.events[0].foreseen_by == found.alarms[0].id


def test_those_held_back_price_those_that_were_told() -> None:
    held = [make_alarm(100 * n, 100 * n + 2, held_back=True) for n in range(10)]
    told = [make_alarm(100 * n + 50, 100 * n + 52) for n in range(10)]
    broke = [make_event(100 * n + 2) for n in range(6)]
    found = of(*held, *told, *broke, make_event(52)).prevented
    assert found is not None
    # Six of ten are followed by a break if nobody knows, one of ten if somebody does.
    assert (found.held_back, found.foreseen, found.told, found.followed) == (10, 6, 10, 1)
    assert found.events == pytest.approx(5.0)
    assert found.saved == pytest.approx(500.0 - 50.0)
    assert found.events_low < 5.0 < found.events_high
    assert found.saving == pytest.approx(450.0 / 1200.0)


def test_without_a_word_on_acting_the_headline_says_what_its_saving_means() -> None:
    assert "if nobody had acted" in printed(of(make_alarm(8, 10), make_event(10)))
    acted = of(make_alarm(8, 10), make_feedback("acted", at=9))
    assert "if nobody had acted" not in printed(acted)
    assert "acted on: 1 alarms" in printed(acted)
    assert "held back: 1 alarms" in printed(of(make_alarm(8, 10, held_back=True), make_alarm(50, 52)))
    orjson.dumps(acted.to_json())


def test_the_bytes_of_an_alarm_that_is_told_are_what_they_were() -> None:
    assert b"held_back" not in to_bytes(make_alarm(8))
    assert Alarm.model_validate_json(to_bytes(make_alarm(8, held_back=True))).held_back


def test_the_lot_falls_on_the_share_that_was_asked_for_and_always_on_the_same() -> None:
    ids = [f"{number:x}" for number in range(4_000)]
    drawn = {share: {each for each in ids if is_held_back(each, share)} for share in (0.0, 0.1, 0.3)}
    assert not drawn[0.0]
    assert len(drawn[0.1]) == pytest.approx(400, abs=60)
    assert drawn[0.1] < drawn[0.3]


def test_judging_still_needs_the_id_of_an_alarm_and_acting_does_not() -> None:
    make_feedback("acted", None)
    with pytest.raises(ValidationError, match="needs the id of the alarm"):
        make_feedback("real", None)


@pytest.mark.slow
def test_what_acting_really_saved_lies_within_its_interval_in_most_short_runs() -> None:
    runs = [run for seed in range(1_000, 1_030) if (run := one_run(seed)) is not None]
    # Nine of ten are to; 23 or fewer of 30 would come by chance once in fifty times.
    assert sum(run.within for run in runs) >= 24
    truth, said = np.mean([run.saved for run in runs]), np.mean([run.found.saved for run in runs])
    assert said == pytest.approx(truth, rel=0.15)


@pytest.mark.slow
def test_a_refit_on_what_alarms_left_over_is_as_good_as_the_first_fit() -> None:
    first, second = refits(rounds=1, leave_out=True, seed=0, days=25)
    assert second > 0.9 * first > 0.5
    # Learnt as normal, the rows that people acted on leave nothing that pays.
    assert refits(rounds=1, leave_out=False, seed=0, days=25)[1] < 0.5 * first
