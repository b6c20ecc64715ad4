"""Judges a detector's decisions on labelled rows: errors of both kinds, and money."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.manifest import Manifest
from stream_detector.detection.config import CostConfig
from stream_detector.operations.notify.alarm_text import span
from trainer.evaluation.scored import ScoredRows
from trainer.evaluation.states import StateFigures, judge


@dataclass(frozen=True)
class Evaluation:
    """Figures of N scored rows; None where one does not apply (no labels, no positives, no alarms).

    Higher scores are more anomalous and a positive is a row on which an alarm is right.

    Attributes:
        frr: false-alarm rate FP / (FP + TN): normal rows that were rejected.
        far: missed rate FN / (FN + TP): anomalous rows that were accepted.
        ie: (frr + far) / 2.
        auroc: of the score (with a head: of the probability); `auroc_of_decisions` of the alarms alone, 1 - ie.
        confusion: [[tn, fp], [fn, tp]].
        threshold: infinite where no threshold pays, so that nothing is raised; null in JSON.
        cost, never_cost: of these decisions, and of never alarming; saving: 1 - cost / never_cost.
        not_running: rows among those to judge in which the machine does not run: neither scored nor priced.
        states: which labelled states were found, as the ledger counts them; None where labels mark none.
    """

    rows: int
    auroc: float | None
    auroc_of_decisions: float | None
    average_precision: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    frr: float | None
    far: float | None
    ie: float | None
    threshold: float
    threshold_policy: str
    confusion: list[list[int]] | None
    cost: float | None
    never_cost: float | None
    saving: float | None
    states: StateFigures | None = None
    not_running: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values under the attributes' names."""
        return asdict(self)


def evaluate_rows(scored: ScoredRows, manifest: Manifest, not_running: int = 0) -> Evaluation:
    """Judge the decisions of a bundle on the rows of a file. `not_running`: as there; they are counted alone."""
    threshold, policy = manifest.alarm_threshold, str(manifest.threshold.policy)
    if scored.positive is None or not len(scored):
        nothing: dict[str, Any] = dict.fromkeys(Evaluation.__dataclass_fields__)
        known = {"rows": len(scored), "threshold": threshold, "threshold_policy": policy, "not_running": not_running}
        return Evaluation(**{**nothing, **known})
    positive, above = scored.positive, scored.above
    tp, fp = int((above & positive).sum()), int((above & ~positive).sum())
    fn, tn = int((~above & positive).sum()), int((~above & ~positive).sum())
    both = 0 < tp + fn < len(scored)
    false_alarm_rate, missed_rate = _ratio(fp, fp + tn), _ratio(fn, fn + tp)
    ie = None if false_alarm_rate is None or missed_rate is None else (false_alarm_rate + missed_rate) / 2
    cost, never = total_cost(manifest.costs, tn, fp, fn, tp), total_cost(manifest.costs, tn + fp, 0, fn + tp, 0)
    return Evaluation(
        rows=len(scored),
        auroc=area_under_roc(scored.level, positive) if both else None,
        auroc_of_decisions=None if ie is None else 1 - ie,
        average_precision=average_precision(scored.level, positive) if both else None,
        accuracy=(tp + tn) / len(scored),
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        frr=false_alarm_rate,
        far=missed_rate,
        ie=ie,
        threshold=threshold,
        threshold_policy=policy,
        confusion=[[tn, fp], [fn, tp]],
        cost=cost,
        never_cost=never,
        saving=None if never <= 0 else 1 - cost / never,
        states=_judged_states(scored),
        not_running=not_running,
    )


def _judged_states(scored: ScoredRows) -> StateFigures | None:
    if scored.states is None or scored.times is None or scored.assets is None:
        return None
    spans = {}
    for asset in np.unique(scored.assets):
        own = scored.times[scored.assets == asset]
        spans[str(asset)] = (float(own.min()), float(own.max()))
    return judge(scored.states, scored.alarms, spans)


def total_cost(costs: CostConfig, tn: int, fp: int, fn: int, tp: int) -> float:
    """Cost of so many rows of each outcome."""
    return costs.tn * tn + costs.fp * fp + costs.fn * fn + costs.tp * tp


def area_under_roc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """P(a positive row scores above a normal one), ties counting half (Hanley and McNeil 1982).

    score, positive: (N,).
    """
    from scipy.stats import rankdata

    ranks = rankdata(score)
    positives = int(positive.sum())
    above = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(score) - positives)))


def average_precision(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mean precision over the steps of recall, as sklearn defines it. score, positive: (N,)."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(positive, score))


def in_words(evaluation: Evaluation) -> list[str]:
    """An honest reading, one sentence a line."""
    return [*_judged_in_words(evaluation), *_not_running(evaluation.not_running)]


def _not_running(rows: int) -> list[str]:
    if not rows:
        return []
    return [f"In {rows:,} rows more the machine did not run ([operating]): they are neither scored nor priced."]


def _judged_in_words(evaluation: Evaluation) -> list[str]:
    if not evaluation.rows:
        return ["No rows were kept aside to judge on; `trainer backtest` says what the recipe is worth on new days."]
    if evaluation.confusion is None:
        return [f"{evaluation.rows:,} rows scored; without labels nothing can be said about how good the alarms are."]
    (_, fp), (fn, tp) = evaluation.confusion
    lines = [
        f"{evaluation.rows:,} rows scored, {tp + fn:,} of them call for an alarm.",
        f"{tp + fp:,} rows in alarm, {_limit(evaluation)}.",
        f"{tp:,} right, {fp:,} wrong: {_percent(evaluation.frr)} of the normal rows.",
        f"{fn:,} missed: {_percent(evaluation.far)} of the rows that call for one.",
    ]
    if evaluation.auroc is not None:
        lines.append(
            f"Area under ROC {evaluation.auroc:.3f} (chance: 0.5), average precision "
            f"{evaluation.average_precision:.3f} (chance: {(tp + fn) / evaluation.rows:.3f})."
        )
    if evaluation.states is not None:
        lines += _states(evaluation.states)
    elif evaluation.saving is not None and evaluation.cost is not None and evaluation.never_cost is not None:
        lines.append(_money(evaluation.cost, evaluation.never_cost, evaluation.saving, tp + fp, evaluation.threshold))
    return lines


def _states(found: StateFigures) -> list[str]:
    """As the ledger counts: a state is found once, and an alarm is paid for once."""
    delay = found.median_delay_seconds
    when = "" if delay is None else f", half of them within {span(max(0.0, delay))} of their beginning"
    counts = f"{found.alarms:,} alarms, {found.false_alarms:,} of them outside of any state"
    words = [f"{found.found:,} of {found.states:,} labelled states found{when}; {counts}."]
    if found.never_cost > 0:
        sums = f"cost {found.cost:,.0f} against {found.never_cost:,.0f} without alarms"
        saving = 1 - found.cost / found.never_cost
        words.append(f"By states it {'saves' if saving > 0 else 'does not pay:'} {saving:.1%}: {sums}.")
    return words


def _limit(evaluation: Evaluation) -> str:
    limit = "for no threshold pays" if math.isinf(evaluation.threshold) else f"above {evaluation.threshold:.6g}"
    return f"{limit} ({evaluation.threshold_policy})"


def _money(cost: float, never: float, saving: float, alarms: int, threshold: float) -> str:
    sums = f"cost {cost:,.0f} against {never:,.0f} without alarms"
    if math.isinf(threshold):
        return f"No threshold was shown to pay, so it raises nothing: {sums}."
    if not alarms:
        return f"It never alarms here, so it saves nothing: {sums}."
    if saving <= 0:
        return f"It does not pay: {sums}. Doing without these alarms is {'cheaper' if saving < 0 else 'as cheap'}."
    return f"It saves {saving:.1%} by rows: {sums}. `trainer backtest` says how sure that is."


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.1%}"
