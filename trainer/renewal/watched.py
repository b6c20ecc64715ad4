"""What a renewal that runs for ever shows in its metrics; a restart shows again what was decided last."""

from typing import get_args

from stream_detector.messages import RenewalDecision, from_iso
from stream_detector.metrics import RenewalMetrics
from trainer.renewal.policy import Outcome


class Watched:
    """Keeps the metrics true. Times are epoch seconds, wall clock. `of`: what is renewed (`RenewalDecision.of`)."""

    def __init__(self, metrics: RenewalMetrics, of: str, now: float, last: RenewalDecision | None) -> None:
        self._metrics = metrics
        self._of = of
        metrics.failed_looks.labels(of)
        for outcome in get_args(Outcome):
            metrics.rounds.labels(of, outcome)
            metrics.last_outcome.labels(of, outcome).set(0.0)
        # One that never looks is late from its start on.
        metrics.looked.labels(of).set(now)
        metrics.proposal_waits.labels(of).set(0.0)
        if last is not None:
            self._show(last)

    def looked(self, now: float, decision: RenewalDecision | None, *, waits: bool) -> None:
        """It has looked; `decision`: of the round, None where none was due. `waits`: a proposal, for an answer."""
        self._metrics.looked.labels(self._of).set(now)
        self._metrics.proposal_waits.labels(self._of).set(float(waits))
        if decision is not None:
            self._metrics.rounds.labels(self._of, decision.outcome).inc()
            self._show(decision)

    def failed(self) -> None:
        """It could not look."""
        self._metrics.failed_looks.labels(self._of).inc()

    def _show(self, decision: RenewalDecision) -> None:
        metrics = self._metrics
        for outcome in get_args(Outcome):
            metrics.last_outcome.labels(self._of, outcome).set(float(outcome == decision.outcome))
        metrics.round.labels(self._of).set(from_iso(decision.round))
        for gauge, key in (
            (metrics.difference, "difference"),
            (metrics.difference_lower, "difference_low"),
            (metrics.difference_upper, "difference_high"),
        ):
            value = decision.verdict.get(key)
            gauge.labels(self._of).set(float("nan") if value is None else float(value))
