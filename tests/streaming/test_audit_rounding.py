"""Rounding told from error."""

from typing import Any

import orjson
import pytest

from stream_detector.messages import to_bytes
from stream_detector.streaming.audit.rounding import compare_contents
from tests.support.messages import make_alarm

ALARM: dict[str, Any] = orjson.loads(to_bytes(make_alarm(3)))
ALARM["top_sensors"].append({"sensor": "x9", "share": 0.2, "value": None, "expected": None})


def altered(**changes: Any) -> bytes:
    return orjson.dumps({**ALARM, **changes})


def with_sensor(**changes: Any) -> bytes:
    return altered(top_sensors=[{**ALARM["top_sensors"][0], **changes}, *ALARM["top_sensors"][1:]])


def test_equal_bytes_are_the_same() -> None:
    assert compare_contents(altered(), altered()) == "same"


@pytest.mark.parametrize("name", ["score", "probability"])
def test_a_computed_number_may_round_otherwise(name: str) -> None:
    number = ALARM[name]
    assert compare_contents(altered(**{name: number * (1 + 1e-6)}), altered()) == "rounding"
    assert compare_contents(altered(**{name: number * 1.01}), altered()) == "different"
    assert compare_contents(altered(**{name: None}), altered()) == "different"


@pytest.mark.parametrize("name", ["share", "expected"])
def test_so_may_what_is_computed_of_a_sensor(name: str) -> None:
    number = ALARM["top_sensors"][0][name] or 0.5
    assert compare_contents(with_sensor(**{name: number * (1 + 1e-6)}), with_sensor(**{name: number})) == "rounding"
    assert compare_contents(with_sensor(**{name: number * 1.01}), with_sensor(**{name: number})) == "different"


def test_sensors_of_nearly_equal_shares_may_stand_in_another_order() -> None:
    assert compare_contents(altered(top_sensors=ALARM["top_sensors"][::-1]), altered()) == "rounding"


@pytest.mark.parametrize(
    "changes",
    [{"asset": "another"}, {"threshold": ALARM["threshold"] * (1 + 1e-9)}, {"raised_at": "2020-01-01T00:00:00Z"}],
)
def test_what_the_log_gives_exactly_may_not_differ_at_all(changes: dict[str, Any]) -> None:
    assert compare_contents(altered(**changes), altered()) == "different"


def test_a_value_that_was_read_may_not_differ_at_all() -> None:
    assert compare_contents(with_sensor(value=1.0), with_sensor(value=1.0 + 1e-9)) == "different"
