"""Whether two alarms of one id say the same, or the same but for rounding."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from stream_detector.bundle.bundle import PROBE_ABSOLUTE, PROBE_RELATIVE

COMPUTED = ("score", "probability")
"""What the model or the head computes; all else in an alarm follows from the log and the bundle exactly."""
COMPUTED_OF_SENSOR = ("share", "expected")

Verdict = Literal["same", "rounding", "different"]


def compare_contents(found: bytes, wanted: bytes) -> Verdict:
    """Rounding is where computed numbers alone differ, by no more than a bundle's probe may from the one written.

    So do the alarms of another processor, or of other versions of libraries. Sensors of nearly equal shares may then
    stand in another order.
    """
    if found == wanted:
        return "same"
    (one, of_one), (other, of_other) = (_parts(orjson.loads(body)) for body in (found, wanted))
    if one != other or of_one.keys() != of_other.keys():
        return "different"
    return "rounding" if all(_close(number, of_other[name]) for name, number in of_one.items()) else "different"


def best(verdicts: Sequence[Verdict]) -> Verdict:
    """The one that speaks most for an alarm; "different" without any.

    >>> best(["different", "rounding"]), best([])
    ('rounding', 'different')
    """
    order: tuple[Verdict, ...] = ("same", "rounding", "different")
    return min(verdicts, key=order.index, default="different")


def _parts(alarm: dict[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What has to be equal, and the computed numbers by name."""
    sensors = {sensor["sensor"]: dict(sensor) for sensor in alarm["top_sensors"]}
    numbers = {name: alarm[name] for name in COMPUTED}
    for name, sensor in sensors.items():
        numbers |= {f"{part} of {name}": sensor.pop(part) for part in COMPUTED_OF_SENSOR}
    return {**alarm, **dict.fromkeys(COMPUTED), "top_sensors": sensors}, numbers


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= PROBE_ABSOLUTE + PROBE_RELATIVE * abs(other)
