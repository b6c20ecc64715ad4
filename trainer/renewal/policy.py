"""Whether a round is due, and what becomes of a candidate: rules alone, no file and no clock."""

from dataclasses import dataclass
from typing import Literal

from stream_detector.detection.block_bootstrap import LEAST_DAYS, LEAST_EVENTS
from stream_detector.detection.drift import LIMIT
from trainer.renewal.judging import Verdict

Policy = Literal["manual", "managed", "never"]
Outcome = Literal["promoted", "proposed", "kept", "failed"]


@dataclass(frozen=True)
class Rules:
    """How renewal is done.

    Attributes:
        policy: `managed` promotes what is at least as good, `manual` proposes it, `never` only registers it.
        every_seconds: between fits on schedule.
        least_days, least_events: in the judged time, or nothing is concluded from it.
        least_saving: the champion's saving in the judged time below which a round is due at once; None = not looked at.
    """

    policy: Policy = "manual"
    every_seconds: float = 7 * 86_400.0
    least_days: int = LEAST_DAYS
    least_events: int = LEAST_EVENTS
    least_saving: float | None = None


def why_due(
    rules: Rules, cutoff: float, last_round: float | None, drift: float | None, saving: float | None
) -> str | None:
    """Why a candidate is to be fitted now, in words; None = it is not due. Times are event time, epoch seconds."""
    if last_round is None:
        return "the first round"
    if cutoff - last_round >= rules.every_seconds:
        return f"on schedule, every {rules.every_seconds / 86_400:g} days"
    if drift is not None and drift > LIMIT:
        return f"drift: the champion's scores have shifted by {drift:.2f}, above {LIMIT:g}"
    if rules.least_saving is not None and saving is not None and saving < rules.least_saving:
        return f"the champion saves {saving:.1%}, below {rules.least_saving:.1%}"
    return None


def decide(rules: Rules, champion: str | None, verdict: Verdict | None) -> tuple[Outcome, str]:
    """What becomes of the candidate, and why, in a sentence. `champion`: id of the bundle in service."""
    if champion is None:
        return _put_forward(rules, "there is no champion yet")
    if verdict is None or verdict.difference is None:
        return "kept", "no event since the champion was fitted: nothing can be said about which is better"
    if verdict.days < rules.least_days or verdict.events < rules.least_events:
        return "kept", (
            f"only {verdict.events} events on {verdict.days} days since the champion was fitted; "
            f"{rules.least_events} on {rules.least_days} are needed"
        )
    known = verdict.low is not None and verdict.high is not None
    interval = f", paired 90 % interval {verdict.low:+.1%} to {verdict.high:+.1%}" if known else ""
    found = (
        f"refitted it saves {verdict.difference:+.1%} more than the champion "
        f"({verdict.events} events on {verdict.days} days{interval})"
    )
    if verdict.difference < 0:
        return "kept", f"{found}: the champion stays"
    return _put_forward(rules, found)


def _put_forward(rules: Rules, why: str) -> tuple[Outcome, str]:
    if rules.policy == "never":
        return "kept", f"{why}; policy never"
    return ("promoted" if rules.policy == "managed" else "proposed"), why
