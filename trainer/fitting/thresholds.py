"""Chooses a threshold on scores of the validation part, never on the rows that are reported.

All policies take scores (N,) of scored validation steps, higher = more anomalous, and positives (N,), True = a step on
which an alarm is right. An alarm needs a score *above* the threshold.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.manifest import ThresholdRecord
from stream_detector.detection.config import CostConfig, ThresholdConfig
from stream_detector.errors import DataError

Scores = NDArray[np.float64]
Positives = NDArray[np.bool_]

F1_GRID = 1000
SECONDS_PER_DAY = 86_400.0

TINY, LARGEST_LOG = 1e-300, 700.0
"""A score may be 0; and the exponential of a logarithm stays a number."""

WEAK_PENALTY = 1e4
"""C of the logistic regression: keeps its slope finite where one score parts the classes."""


@dataclass(frozen=True)
class Curve:
    """Outcome of every threshold. thresholds: (K,) descending, the first raises no alarm; tp, fp: (K,) counts."""

    thresholds: Scores
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    positives: int
    negatives: int

    def cost(self, costs: CostConfig) -> Scores:
        """(K,) total cost over all steps."""
        missed, quiet = self.positives - self.tp, self.negatives - self.fp
        total: Scores = costs.tn * quiet + costs.fp * self.fp + costs.fn * missed + costs.tp * self.tp
        return total

    def precision(self) -> Scores:
        """(K,) 1 where there is no alarm: none of them was wrong."""
        alarms = self.tp + self.fp
        return np.where(alarms > 0, self.tp / np.maximum(alarms, 1), 1.0)

    def recall(self) -> Scores:
        """(K,) of a part that has positives."""
        return self.tp / max(self.positives, 1)


def operating_curve(scores: Scores, positives: Positives) -> Curve:
    """Counts for every distinct score as threshold, and for one below all of them (always alarm)."""
    order = np.argsort(-scores, kind="stable")
    descending, hits = scores[order], positives[order].astype(np.int64)
    last_of_value = np.append(descending[1:] < descending[:-1], True)
    tp = np.cumsum(hits)[last_of_value]
    alarms = np.flatnonzero(last_of_value) + 1
    # Alarms at threshold descending[k] are the scores above it, that is, those counted up to the value before.
    thresholds = np.append(descending[last_of_value], np.nextafter(descending[-1], -np.inf))
    return Curve(
        thresholds,
        np.append(0, tp),
        np.append(0, alarms - tp),
        int(positives.sum()),
        int((~positives).sum()),
    )


def choose_threshold(
    config: ThresholdConfig,
    costs: CostConfig,
    scores: Scores,
    positives: Positives | None,
    step_seconds: float,
) -> ThresholdRecord:
    """The threshold of the recipe's policy.

    positives: None where the validation part has no labels; then only policies that need none can be used, and every
    step counts as normal. Raises DataError where the part lacks what the policy needs.
    """
    if config.policy == "probability":
        return ThresholdRecord(
            value=costs.probability_threshold,
            policy=config.policy,
            how=f"exact for a calibrated probability at these costs: alarm iff P > {costs.probability_threshold:.4g}",
        )
    if config.policy == "fixed":
        assert config.value is not None  # the recipe's validation demands it
        return ThresholdRecord(value=config.value, policy=config.policy, how="given in the recipe")
    if not len(scores):
        raise DataError(
            "the validation part has no full window to choose the threshold on; give a longer file, a --validation "
            "file, or a shorter window"
        )
    normal = scores if positives is None else scores[~positives]
    if config.policy in ("mean-plus-std", "quantile"):
        if not len(normal):
            raise DataError(f"threshold policy {config.policy!r} needs normal steps in the validation part, found none")
        return (
            _mean_plus_std(config, normal)
            if config.policy == "mean-plus-std"
            else _quantile(config, normal, len(scores) > len(normal), step_seconds)
        )
    if positives is None or not positives.any() or positives.all():
        found = (
            "no labels" if positives is None else f"{int(positives.sum())} of {len(positives)} scored steps positive"
        )
        raise DataError(
            f"threshold policy {config.policy!r} needs normal and anomalous steps in the validation part, found "
            f"{found}; label some of it (`trainer fit` also takes a labelled --validation file), "
            'or choose the policy "quantile"'
        )
    if config.policy == "max-f1":
        return _max_f1(scores, positives)
    if config.policy == "precision-equals-recall":
        return _precision_equals_recall(operating_curve(scores, positives))
    return cost_optimal(config, costs, scores, positives)


def cost_optimal(config: ThresholdConfig, costs: CostConfig, scores: Scores, positives: Positives) -> ThresholdRecord:
    """The policy of that name, on scores (N,) of which some are positive."""
    if config.calibration == "logistic":
        return _by_probability(costs, scores, positives)
    return _cheapest(operating_curve(scores, positives), costs)


def own_by_machine(
    config: ThresholdConfig, costs: CostConfig, scores: Scores, positives: Positives, machines: NDArray[np.str_]
) -> dict[str, float]:
    """The cost-optimal thresholds of the machines that have `config.own_least_events` events; the others have none.

    machines: (N,) of each step, a machine's steps in the order of time. Events whose lead windows overlap count as one.
    """
    found = {}
    for machine in np.unique(machines).tolist():
        own = machines == machine
        events = int((np.diff(positives[own].astype(np.int64), prepend=0) > 0).sum())
        if config.own_least_events is None or events < config.own_least_events or positives[own].all():
            continue
        chosen = cost_optimal(config, costs, scores[own], positives[own])
        if chosen.pays:
            found[machine] = chosen.value
    return found


def _by_probability(costs: CostConfig, scores: Scores, positives: Positives) -> ThresholdRecord:
    """Where P(an alarm is right) reaches the threshold of these costs (Platt 1999, "Probabilistic outputs").

    Two numbers are learnt from the part; the cheapest of all its scores may be the luck of one of them.
    """
    from sklearn.linear_model import LogisticRegression

    logs = np.log(np.maximum(scores, TINY))
    centre, spread = float(logs.mean()), float(logs.std()) or 1.0
    found = LogisticRegression(C=WEAK_PENALTY).fit(((logs - centre) / spread)[:, None], positives)
    slope, intercept = float(found.coef_[0, 0]), float(found.intercept_[0])
    wanted = costs.probability_threshold
    highest = float(scores.max())
    needed = (np.log(wanted / (1 - wanted)) - intercept) / slope if slope > 0 else np.inf
    value = float(np.exp(min(needed * spread + centre, LARGEST_LOG)))
    if value >= highest:
        how = f"at no score of the validation part is an alarm right with P > {wanted:.4g} (logistic regression)"
        return ThresholdRecord(value=highest, policy="cost-optimal", how=how, pays=False)
    how = f"an alarm is right with P > {wanted:.4g} from there on, by logistic regression on the validation part"
    return ThresholdRecord(value=value, policy="cost-optimal", how=how)


def _cheapest(curve: Curve, costs: CostConfig) -> ThresholdRecord:
    """The cheapest threshold (Drummond and Holte 2006, "Cost curves"); of equally cheap ones the highest."""
    cost = curve.cost(costs)
    best = int(np.argmin(cost))
    how = (
        f"cheapest on the validation part: {cost[best]:,.0f} there against {cost[0]:,.0f} without alarms "
        f"({curve.tp[best]} right and {curve.fp[best]} wrong alarms, {curve.positives - curve.tp[best]} missed)"
    )
    if best == 0:
        how = (
            f"no alarm at all was cheapest on the validation part ({cost[0]:,.0f}), so only a score above all "
            "that were seen there raises one"
        )
    return ThresholdRecord(value=float(curve.thresholds[best]), policy="cost-optimal", how=how)


def _mean_plus_std(config: ThresholdConfig, normal: Scores) -> ThresholdRecord:
    """Chandola et al. 2009, "Anomaly detection: a survey", section 7.1: the k-sigma rule on the normal scores."""
    return ThresholdRecord(
        value=float(normal.mean() + config.k * normal.std()),
        policy="mean-plus-std",
        how=f"mean + {config.k:g} standard deviations of {len(normal)} normal scores",
    )


def _max_f1(scores: Scores, positives: Positives) -> ThresholdRecord:
    """The best F1 of 1,000 thresholds from the lowest to the highest score, as is usual for recurrent autoencoders."""
    grid = np.linspace(scores.min(), scores.max(), F1_GRID)
    ascending, hits = np.sort(scores), np.sort(scores[positives])
    alarms = len(scores) - np.searchsorted(ascending, grid, side="right")
    tp = len(hits) - np.searchsorted(hits, grid, side="right")
    f1 = 2 * tp / (alarms + len(hits))
    best = int(np.argmax(f1))
    return ThresholdRecord(
        value=float(grid[best]),
        policy="max-f1",
        how=f"highest F1 ({f1[best]:.3f}) of {F1_GRID} thresholds on the validation part",
    )


def _precision_equals_recall(curve: Curve) -> ThresholdRecord:
    """Where the two curves cross (the break-even point of Joachims 1998), or come nearest; the highest such threshold.

    Thresholds without a right alarm are left out: there both are 0 (or precision is a convention), and meet in vain.
    """
    useful = curve.tp > 0
    precision, recall = curve.precision()[useful], curve.recall()[useful]
    best = int(np.argmin(np.abs(precision - recall)))
    return ThresholdRecord(
        value=float(curve.thresholds[useful][best]),
        policy="precision-equals-recall",
        how=f"precision {precision[best]:.3f} meets recall {recall[best]:.3f} on the validation part",
    )


def _quantile(config: ThresholdConfig, normal: Scores, labelled: bool, step_seconds: float) -> ThresholdRecord:
    """A quantile of the normal scores times a factor, or the lowest threshold that keeps to a rate of false alarms."""
    if config.labelled_quantile is not None and labelled:
        return ThresholdRecord(
            value=float(np.quantile(normal, config.labelled_quantile)),
            policy="quantile",
            how=f"the {config.labelled_quantile:g} quantile of {len(normal)} normal scores of labelled validation data",
        )
    if config.false_alarms_per_day is None:
        return ThresholdRecord(
            value=float(np.quantile(normal, config.quantile) * config.factor),
            policy="quantile",
            how=f"{config.factor:g} times the {config.quantile:g} quantile of {len(normal)} normal scores",
        )
    days = len(normal) * step_seconds / SECONDS_PER_DAY
    allowed = min(int(config.false_alarms_per_day * days), len(normal) - 1)
    return ThresholdRecord(
        value=float(np.sort(normal)[::-1][allowed]),
        policy="quantile",
        how=f"{allowed} of {len(normal)} normal validation steps ({days:.1f} days) lie above, "
        f"for at most {config.false_alarms_per_day:g} false alarms a day",
    )
