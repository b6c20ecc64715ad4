"""Priority of an alarm, from the cost at stake (ISA-18.2 / IEC 62682 ask for a consequence, not a feeling)."""

from stream_detector.messages import Alarm, Priority

SEVERITIES: dict[Priority, str] = {"low": "info", "medium": "warning", "high": "critical"}
"""Prometheus' and Alertmanager's usual words for the three priorities."""


def expected_loss(alarm: Alarm) -> float | None:
    """Expected cost of doing nothing, `P(event) * fn`, in currency units; None where P is not calibrated."""
    return None if alarm.probability is None else alarm.probability * alarm.costs.fn


def priority_of(alarm: Alarm, medium_from: float = 2.0, high_from: float = 4.0) -> Priority:
    """`low`, `medium` or `high`: how many times the price of acting the expected loss is.

    At 1 the alarm just pays for itself. Without a calibrated probability the loss is unknown and the answer `medium`.

    Args:
        alarm: in its raised form; the priority of an alarm does not change while it is up.
        medium_from: expected loss over cost of acting from which an alarm is medium.
        high_from: the same for high.
    """
    loss = expected_loss(alarm)
    if loss is None:
        return "medium"
    ratio = loss / alarm.costs.fp if alarm.costs.fp > 0 else high_from
    return "high" if ratio >= high_from else "medium" if ratio >= medium_from else "low"
