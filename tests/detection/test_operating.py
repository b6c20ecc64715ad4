"""When a machine runs: conditions are read by a grammar, and what is missing decides nothing."""

import numpy as np
import pytest

from stream_detector.detection.config import OperatingConfig
from stream_detector.detection.operating import Condition

NAN = float("nan")


def known(text: str, **values: float) -> bool | None:
    """Whether a machine runs whose sensors read this; None: that is not known."""
    sensors = tuple(values)
    rule = OperatingConfig(when=text).rule(sensors)
    row = np.array([[values[sensors[column]] for column in rule.columns]])
    found = rule.known(row)
    assert not (found.true & found.false).any()
    return True if found.true[0] else False if found.false[0] else None


@pytest.mark.parametrize(
    ("text", "running", "standing"),
    [
        ("speed > 200", {"speed": 201}, {"speed": 200}),
        ("speed >= 200 and state == 1", {"speed": 200, "state": 1}, {"speed": 500, "state": 2}),
        ("speed > 200 or state != 0", {"speed": 0, "state": 1}, {"speed": 0, "state": 0}),
        ("not (speed < 20 or state == 9)", {"speed": 20, "state": 1}, {"speed": 20, "state": 9}),
        ("-5 < load <= 3.5e1", {"load": 35}, {"load": -5}),
        ("inlet > outlet", {"inlet": 2, "outlet": 1}, {"inlet": 1, "outlet": 1}),
    ],
)
def test_a_condition_is_what_it_says(text: str, running: dict[str, float], standing: dict[str, float]) -> None:
    assert known(text, **running) is True
    assert known(text, **standing) is False


def test_a_tag_of_any_name_stands_in_quotes_and_dots_need_none() -> None:
    condition = Condition('PM3.DRY.SPEED > 200 and "PM3/STATE 1" == 1')
    assert condition.sensors == ("PM3.DRY.SPEED", "PM3/STATE 1")


def test_what_is_missing_decides_nothing_and_the_rest_may() -> None:
    assert known("speed > 200", speed=NAN) is None
    assert known("not speed > 200", speed=NAN) is None
    assert known("speed != 200", speed=NAN) is None
    assert known("speed > 200 and state == 1", speed=NAN, state=1) is None
    assert known("speed > 200 and state == 1", speed=NAN, state=0) is False
    assert known("speed > 200 or state == 1", speed=0, state=NAN) is None
    assert known("speed > 200 or state == 1", speed=NAN, state=1) is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("speed >> 200", "'speed >> 200' is not a comparison"),
        ("speed > 200 &", "cannot be read"),
        ("speed", "'speed' is not a comparison; compare it with a number, as in speed > 0"),
        ("speed > 200 and state", "'state' is not a comparison"),
        ("speed + 1 > 200", r"'speed \+ 1' is neither a sensor nor a number"),
        ("abs(speed) > 200", r"'abs\(speed\)' is neither a sensor nor a number"),
        ("speed in (1, 2)", "compares in a way that is not known"),
        ("speed is 1", "compares in a way that is not known"),
        ("speed > True", "'True' is neither"),
        ("speed > 1e999", "'1e999' is neither"),
        ("1 < 2", "names no sensor"),
        ("__import__('os').system('true') > 0", "is neither a sensor nor a number"),
        ("lambda: 1", "is not a comparison"),
        ("(" * 400 + "a > 1" + ")" * 400, "cannot be read"),
        ("a > 1\nb > 2", "cannot be read"),
        ("a > 1\x00", "cannot be read"),
    ],
)
def test_whatever_is_no_comparison_is_refused_and_shown(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Condition(text)


def test_a_sensor_that_is_not_there_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="'reel_sped', which is none of the 2 sensors; is it 'reel_speed'"):
        OperatingConfig(when="reel_sped > 1").rule(("reel_speed", "load"))


def test_a_condition_of_a_thousand_characters_is_the_longest() -> None:
    with pytest.raises(ValueError, match="at most 1000 characters"):
        OperatingConfig(when="not " * 300 + "a > 1")
    assert known("not " * 95 + "a > 1", a=2) is False


@pytest.mark.parametrize("text", ["not " * 240 + "a > 1", "a > " + "-" * 900 + "1", "a" + ".b" * 490 + " > 1"])
def test_a_condition_that_nests_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nests deeper|cannot be read"):
        Condition(text)
