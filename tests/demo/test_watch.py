"""What the demo's screen shows: the fold over messages, the curve, the lines."""

from typing import Any

import pytest
from rich.console import Console

from stream_detector.demo.plain import PlainView, status_line, summary
from stream_detector.demo.screen import Frame, curve
from stream_detector.demo.watch import Point, Watch
from stream_detector.messages import Alarm, Costs, LoggedEvent, Score, TopSensor, from_iso, to_iso

START = from_iso("2026-02-01T00:00:00Z")
STEP = 120.0


def at(step: int) -> str:
    return to_iso(START + step * STEP)


def score(step: int, ratio: float = 0.5, alarm: bool = False, **changes: Any) -> Score:
    values: dict[str, Any] = {
        "asset": "pm",
        "time": at(step),
        "score": ratio * 2,
        "threshold": 2.0,
        "probability": None,
        "alarm": alarm,
        "degraded": 0,
        "bundle": "b",
    }
    return Score(**(values | changes))


def alarm(raised: int, cleared: int | None = None, **changes: Any) -> Alarm:
    values: dict[str, Any] = {
        "id": f"pm-{raised}",
        "asset": "pm",
        "state": "raised" if cleared is None else "cleared",
        "raised_at": at(raised),
        "cleared_at": None if cleared is None else at(cleared),
        "expected_from": at(raised + 1),
        "expected_until": at(raised + 2),
        "probability": None,
        "score": 3.0,
        "threshold": 2.0,
        "top_sensors": [TopSensor(sensor="press_draw", share=0.4, value=1.0, expected=2.0)],
        "bundle": "b",
        "recipe": "simulated",
        "costs": Costs(),
        "step_seconds": STEP,
    }
    return Alarm(**(values | changes))


def event(step: int) -> LoggedEvent:
    return LoggedEvent(time=at(step), event="break")


@pytest.fixture
def watch() -> Watch:
    return Watch("pm", STEP, 3 * STEP, Costs())


def test_a_break_with_an_alarm_up_before_it_is_caught_and_one_without_is_missed(watch: Watch) -> None:
    watch.add_alarm(alarm(10, 13))
    watch.add_event("pm", event(12))
    watch.add_event("pm", event(50))
    watch.add_score(score(50), 0.0)
    tally = watch.tally()
    assert (tally.caught, tally.missed, tally.false_alarms, tally.lead_seconds) == (1, 1, 0, 2 * STEP)
    assert (tally.cost, tally.never_cost, tally.saved) == (105.0, 200.0, 95.0)


def test_a_break_counts_as_missed_only_once_the_scores_have_passed_it(watch: Watch) -> None:
    watch.add_event("pm", event(12))
    watch.add_score(score(11), 0.0)
    assert watch.events()[0].pending
    assert (watch.tally().missed, watch.tally().never_cost) == (0, 0.0)
    watch.over = True
    assert not watch.events()[0].pending
    assert watch.tally().missed == 1


def test_an_alarm_is_false_only_once_its_lead_window_has_passed(watch: Watch) -> None:
    assert watch.add_alarm(alarm(10))
    watch.add_score(score(11), 0.0)
    assert watch.alarms()[0].verdict == "open"
    assert watch.add_alarm(alarm(10, 12))
    assert watch.alarms()[0].verdict == "waiting"
    watch.add_score(score(15), 0.0)
    assert watch.alarms()[0].verdict == "false"
    assert watch.tally().false_alarms == 1


def test_a_repeated_alarm_and_another_assets_are_no_news(watch: Watch) -> None:
    assert watch.add_alarm(alarm(10))
    assert not watch.add_alarm(alarm(10))
    assert not watch.add_alarm(alarm(10, asset="other"))
    assert watch.tally().alarms == 1


def test_the_delay_is_from_the_sending_of_a_row_to_its_score(watch: Watch) -> None:
    for step in range(5):
        watch.sent(START + step * STEP, 30 * (step + 1), now=step * 0.1)
        watch.add_score(score(step), now=step * 0.1 + 0.02)
    assert watch.delay_seconds == pytest.approx(0.02)
    assert watch.readings_per_second == pytest.approx(300)
    assert watch.readings == 150


def test_a_point_is_the_highest_score_of_its_steps_and_a_gap_has_none(watch: Watch) -> None:
    for step, ratio, up in ((0, 0.5, False), (1, 3.0, True), (6, 0.2, False)):
        watch.add_score(score(step, ratio, up), 0.0)
    watch.add_event("pm", event(2))
    points = list(watch.points(count=3, steps_each=2))
    assert [(p.ratio, p.alarm, p.event) for p in points] == [
        (None, False, True),
        (None, False, False),
        (0.2, False, False),
    ]
    assert next(iter(watch.points(count=4, steps_each=2))) == Point(3.0, True, False)


def test_a_probability_is_drawn_against_its_own_threshold(watch: Watch) -> None:
    watch.add_score(score(0, probability=0.2, threshold=0.05), 0.0)
    assert next(iter(watch.points(1, 1))).ratio == pytest.approx(4.0)


def test_the_curve_is_above_the_threshold_line_exactly_where_the_score_is() -> None:
    def column(ratio: float | None, height: int = 12) -> list[str]:
        rows = [str(row) for row in curve([Point(ratio, False, False)], 1, height).renderables]
        return rows[1:]

    line = next(i for i, text in enumerate(column(None)) if text == "─")
    assert column(0.3)[line] == "─"
    assert column(1.0)[line] == "─"
    assert column(1.0)[line + 1] == "█"
    assert column(1.001)[line] == "▁"
    assert column(3.0)[line] == "█"
    assert column(1e9)[0] == "█"


def filled(watch: Watch) -> Watch:
    watch.add_alarm(alarm(10, 13))
    watch.add_alarm(alarm(30, 32))
    watch.add_alarm(alarm(59))
    for step in range(60):
        watch.sent(START + step * STEP, 30 * (step + 1), step * 0.1)
        watch.add_score(
            score(step, 3.0 if step in (10, 11, 30, 59) else 0.6, step in (10, 11, 12, 30, 31, 59)), step * 0.1
        )
    watch.add_event("pm", event(12))
    return watch


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 36), (200, 60), (60, 15)])
def test_the_screen_fits_the_terminal_and_shows_what_matters(watch: Watch, width: int, height: int) -> None:
    import io

    text = io.StringIO()
    console = Console(width=width, height=height, file=text, legacy_windows=False)
    console.print(Frame(filled(watch), 3600.0, 0.5, "embedded broker"))
    lines = text.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    if width >= 80:
        for wanted in ("4 min ahead", "1 of 1 breaks", "85 (85%)", "1 alarms", "open", "right", "false", "press_draw"):
            assert wanted in text.getvalue()
    assert ("expected" in text.getvalue()) == (width >= 120)


def test_an_empty_screen_says_that_it_waits(watch: Watch) -> None:
    console = Console(width=120, height=36, record=True, quiet=False)
    with console.capture() as captured:
        console.print(Frame(watch, 3600.0, 0.0, "embedded broker"))
    assert "waiting for the first score" in captured.get()


def test_plain_lines_tell_alarms_as_they_come_and_breaks_once_it_is_certain(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    view = PlainView()
    watch.add_event("pm", event(12))
    watch.add_alarm(alarm(8))
    view.show(Frame(watch, 1.0, 0.1, "b"), [alarm(8), event(12)])
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["RAISED"]
    watch.add_alarm(alarm(8, 12))
    view.show(Frame(watch, 1.0, 0.1, "b"), [])
    view.show(Frame(watch, 1.0, 0.1, "b"), [])
    assert capsys.readouterr().out == "2026-02-01 00:24Z  BREAK    pm  caught 8 min ahead\n"


def test_the_summary_adds_up(watch: Watch) -> None:
    text = "\n".join(summary(filled(watch)))
    for wanted in (
        "1: 1 caught, 0 missed",
        "3: 1 right, 1 false, 1 open",
        "15 (a missed break 100, an alarm 5)",
        "85 (85%)",
    ):
        assert wanted in text
    assert "60 steps scored" in status_line(Frame(watch, 1.0, 0.5, "b"))


def test_the_summary_of_nothing_says_so(watch: Watch) -> None:
    assert any(line.split() == ["lead", "-"] for line in summary(watch))
