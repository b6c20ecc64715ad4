"""Rules for what raises nothing: direction, least deviation, and sensors that never speak by themselves."""

from typing import Any

import numpy as np
import pytest

from stream_detector.detection.config import SuppressionConfig

SENSORS = ("steam", "speed", "camera")
NAN = float("nan")


def suppressed(rules: list[dict[str, Any]], evidence: list[float], deviation: list[float], **changes: Any) -> bool:
    """Whether a step is, whose sensors deviate so from an expectation of 10."""
    found = SuppressionConfig(rules=tuple(rules), **changes).for_sensors(SENSORS)
    expected = np.full((1, 3), 10.0)
    return bool(found.suppressed(np.array([evidence]), expected + np.array([deviation]), expected)[0])


def test_a_sensor_that_never_speaks_by_itself_raises_nothing_alone_and_helps_others() -> None:
    rules = [{"sensors": "cam*"}]
    assert suppressed(rules, [1.0, 0.0, 9.0], [1, 1, 1])
    assert not suppressed(rules, [3.0, 0.0, 7.0], [1, 1, 1])
    assert not suppressed(rules, [1.0, 0.0, 9.0], [1, 1, 1], least_share=0.05)


@pytest.mark.parametrize(("direction", "deviation", "silent"), [("up", -1, True), ("up", 1, False), ("down", 1, True)])
def test_a_sensor_may_speak_in_one_direction_alone(direction: str, deviation: float, silent: bool) -> None:
    assert suppressed([{"sensors": "steam", "direction": direction}], [9.0, 0.0, 1.0], [deviation, 0, 0]) is silent


def test_a_sensor_speaks_from_a_least_deviation_on() -> None:
    rules = [{"sensors": "steam", "least_deviation": 2.0}]
    assert suppressed(rules, [9.0, 0.0, 1.0], [-1.9, 5, 5])
    assert not suppressed(rules, [9.0, 0.0, 1.0], [-2.0, 0, 0])


def test_of_several_rules_for_a_sensor_all_must_let_it_speak() -> None:
    rules = [{"sensors": "*", "least_deviation": 2.0}, {"sensors": "steam", "direction": "up", "least_deviation": 1.0}]
    assert suppressed(rules, [1.0, 0.0, 0.0], [1.5, 0, 0])
    assert suppressed(rules, [1.0, 0.0, 0.0], [-3, 0, 0])
    assert not suppressed(rules, [1.0, 0.0, 0.0], [3, 0, 0])


def test_where_nothing_is_expected_or_nothing_speaks_no_rule_holds() -> None:
    rules = [{"sensors": "*", "direction": "up", "least_deviation": 2.0}]
    assert not suppressed(rules, [1.0, 0.0, 0.0], [NAN, NAN, NAN])
    assert not suppressed(rules, [0.0, -1.0, NAN], [0, 0, 0])
    assert suppressed(rules, [1e308, 1e308, 1e308], [0, 0, 0])


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "rules"),
        ([{"sensors": "steam", "direction": "sideways"}], "direction"),
        ([{"sensors": "steam", "least_deviation": 0}], "least_deviation"),
        ([{"sensors": "stem"}], "names sensors 'stem', and none of the 3 is called so"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rules: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        suppressed(rules, [1.0, 1.0, 1.0], [1, 1, 1])
