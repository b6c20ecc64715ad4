"""The metrics of renewal say what was decided last, also after a restart."""

import math

from prometheus_client import CollectorRegistry

from stream_detector.messages import RenewalDecision
from stream_detector.metrics import RenewalMetrics
from trainer.renewal.watched import Watched


def decision(outcome: str, **verdict: float | None) -> RenewalDecision:
    given = {"id": "champion/r", "alias": "champion", "round": "2026-05-02T00:00:00Z", "at": "2026-05-02T00:10:00Z"}
    rest = {"who": "trainer renew", "why": "", "trigger": "", "champion": None, "candidate": None}
    return RenewalDecision(**given, **rest, outcome=outcome, verdict=verdict)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"stream_detector_renewal_{name}", {"of": "champion", **labels})


def test_a_decision_and_its_interval_are_shown_and_the_one_before_is_not() -> None:
    registry = CollectorRegistry()
    watched = Watched(RenewalMetrics(registry), "champion", 100.0, decision("failed"))
    assert (value(registry, "last_outcome", outcome="failed"), value(registry, "look_timestamp_seconds")) == (1, 100)
    assert math.isnan(value(registry, "saving_difference") or 0.0)
    watched.looked(200.0, decision("proposed", difference=0.04, difference_low=-0.01, difference_high=0.09), waits=True)
    assert value(registry, "proposal_waits") == 1
    assert value(registry, "last_outcome", outcome="failed") == 0
    assert value(registry, "last_outcome", outcome="proposed") == 1
    assert value(registry, "rounds_total", outcome="proposed") == 1
    assert value(registry, "saving_difference_lower") == -0.01
    assert value(registry, "round_timestamp_seconds") == 1_777_680_000
    watched.looked(300.0, None, waits=False)
    assert value(registry, "last_outcome", outcome="proposed") == 1
    assert value(registry, "proposal_waits") == 0, "somebody has accepted it"


def test_a_look_that_failed_is_counted_and_is_no_look() -> None:
    registry = CollectorRegistry()
    watched = Watched(RenewalMetrics(registry), "champion", 100.0, None)
    watched.looked(200.0, None, waits=False)
    watched.failed()
    assert (value(registry, "look_timestamp_seconds"), value(registry, "failed_looks_total")) == (200, 1)
    assert value(registry, "saving_difference") is None
