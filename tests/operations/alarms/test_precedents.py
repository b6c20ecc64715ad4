"""What it was last time."""

from stream_detector.messages import Alarm, TopSensor
from stream_detector.operations.alarms.precedents import MOST, Outcome, precedents
from tests.support.messages import make_alarm


def alarm(step: int, shares: dict[str, float], cleared: bool = True, below: bool = False) -> Alarm:
    tops = [
        TopSensor(sensor=sensor, share=share, value=1.0, expected=2.0 if below else 0.0)
        for sensor, share in shares.items()
    ]
    made = make_alarm(step, step + 2) if cleared else make_alarm(step)
    return made.model_copy(update={"top_sensors": tops})


def test_the_likest_alarms_come_first_with_what_became_of_them() -> None:
    same, near = alarm(10, {"x7": 0.6, "x3": 0.2}), alarm(20, {"x7": 0.5, "x3": 0.5})
    other = alarm(30, {"x9": 0.9})
    now = alarm(100, {"x7": 0.6, "x3": 0.2}, cleared=False)
    found = precedents(now, [other, near, same, now], {same.id: Outcome(240.0, "real")})
    assert [(one.id, one.lead_seconds, one.judgement) for one in found] == [
        (same.id, 240.0, "real"),
        (near.id, None, None),
    ]


def test_a_sensor_that_was_too_low_is_no_precedent_of_one_that_is_too_high() -> None:
    assert precedents(alarm(100, {"x7": 0.6}), [alarm(10, {"x7": 0.6}, below=True)], {}) == []


def test_what_is_up_what_came_later_and_other_recipes_are_no_precedents_and_few_are_named() -> None:
    now = alarm(100, {"x7": 0.6})
    up, later = alarm(10, {"x7": 0.6}, cleared=False), alarm(200, {"x7": 0.6})
    foreign = alarm(20, {"x7": 0.6}).model_copy(update={"recipe": "another"})
    assert precedents(now, [up, later, foreign], {}) == []
    assert len(precedents(now, [alarm(step, {"x7": 0.6}) for step in range(10, 90, 5)], {})) == MOST
