"""Whether a round is due, and what becomes of a candidate: rules alone, no file and no clock."""

from dataclasses import dataclass, replace
from typing import Literal

from stream_detector.detection.block_bootstrap import LEAST_DAYS, LEAST_EVENTS
from stream_detector.detection.drift import LIMIT
from trainer.renewal.judging import Verdict

Policy = Literal["manual", "managed", "never"]
MOST_TRIALS = 4
"""A trial whose book does not fill ends after so many times the days that it was to take."""

Outcome = Literal["promoted", "proposed", "trial", "kept", "failed"]


@dataclass(frozen=True)
class Rules:
    """How renewal is done.

    Attributes:
        policy: `managed` promotes what is at least as good, `manual` proposes it, `never` only registers it.
        trial_days: under `managed`, how long a candidate decides beside the champion before it may be promoted; 0 = the
            judged time is enough.
        trial_events: that both books have to hold by then.
        every_seconds: between fits on schedule.
        least_days, least_events: in the judged time, or nothing is concluded from it.
        least_saving: the champion's saving in the judged time below which a round is due at once; None = not looked at.
    """

    policy: Policy = "manual"
    every_seconds: float = 7 * 86_400.0
    least_days: int = LEAST_DAYS
    least_events: int = LEAST_EVENTS
    least_saving: float | None = None
    trial_days: int = 0
    trial_events: int = LEAST_EVENTS


def why_due(
    rules: Rules,
    cutoff: float,
    last_round: float | None,
    drift: float | None,
    saving: float | None,
    *,
    failed: bool = False,
) -> str | None:
    """Why a candidate is to be fitted now, in words; None = it is not due. Times are event time, epoch seconds.

    `failed`: the last round came to nothing. What was in its way may be mended long before the next one on schedule.
    """
    if last_round is None:
        return "the first round"
    if failed:
        return "the last round failed"
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
        return _put_forward(rules, "there is no champion yet", champion=False)
    if verdict is None or verdict.difference is None:
        return "kept", "no event since the champion was fitted: nothing can be said about which is better"
    if verdict.days < rules.least_days or verdict.events < rules.least_events:
        return "kept", (
            f"only {verdict.events} events on {verdict.days} days since the champion was fitted; "
            f"{rules.least_events} on {rules.least_days} are needed"
        )
    found = f"refitted it saves {verdict.difference:+.1%} more than the champion ({_from(verdict)})"
    if verdict.difference < 0:
        return "kept", f"{found}: the champion stays"
    return _put_forward(rules, found)


def decide_by_book(rules: Rules, book: Verdict | None, elapsed_days: float) -> tuple[Outcome, str] | None:
    """What becomes of a candidate on trial; None = the trial goes on.

    Args:
        rules: `trial_days` and `trial_events` are the least that says something.
        book: what the alarms of both were worth, as they were raised; None where the candidate raised none.
        elapsed_days: of event time, since the trial began.
    """
    if book is None or book.difference is None or book.days < rules.trial_days or book.events < rules.trial_events:
        if elapsed_days < MOST_TRIALS * rules.trial_days:
            return None
        held = "no alarm of it" if book is None else f"{book.events} events on {book.days} days"
        return "kept", (
            f"its book holds {held} after {elapsed_days:.0f} days on trial; {rules.trial_events} events on "
            f"{rules.trial_days} days are needed: does a worker with --role challenger run?"
        )
    found = f"beside the champion it saved {book.difference:+.1%} more ({_from(book)})"
    if book.difference < 0:
        return "kept", f"{found}: the champion stays"
    # Who has changed the policy meanwhile wants that one.
    return _put_forward(replace(rules, trial_days=0), found)


def _from(verdict: Verdict) -> str:
    known = verdict.low is not None and verdict.high is not None
    interval = f", paired 90 % interval {verdict.low:+.1%} to {verdict.high:+.1%}" if known else ""
    return f"{verdict.events} events on {verdict.days} days{interval}"


def _put_forward(rules: Rules, why: str, *, champion: bool = True) -> tuple[Outcome, str]:
    if rules.policy == "never":
        return "kept", f"{why}; policy never"
    if rules.policy == "manual":
        return "proposed", why
    if champion and rules.trial_days:
        return "trial", f"{why}; its own book decides, over {rules.trial_days} days and {rules.trial_events} events"
    return "promoted", why
