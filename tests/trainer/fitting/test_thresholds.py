"""Threshold policies, each against a twin that tries every threshold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_detector.bundle.manifest import ThresholdRecord
from stream_detector.detection.config import CostConfig, ThresholdConfig
from stream_detector.errors import DataError
from trainer.fitting.thresholds import F1_GRID, choose_threshold, operating_curve

COSTS = CostConfig(tn=0, fp=5, fn=100, tp=5)
DAY_OF_STEPS = 720
STEP_SECONDS = 120.0


@st.composite
def labelled_scores(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Few distinct scores, so that ties are common; both classes are there."""
    count = draw(st.integers(2, 40))
    scores = np.array(draw(st.lists(st.integers(0, 12), min_size=count, max_size=count)), dtype=np.float64) / 4
    positives = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    positives[0], positives[1] = True, False
    return scores, positives


def choose(
    policy: str, scores: NDArray[np.float64], positives: NDArray[np.bool_] | None, **options: Any
) -> ThresholdRecord | None:
    return choose_threshold(ThresholdConfig(policy=policy, **options), COSTS, scores, positives, STEP_SECONDS)


def counts(scores: NDArray[np.float64], positives: NDArray[np.bool_], threshold: np.float64) -> tuple[int, ...]:
    alarm = scores > threshold
    return (
        int((alarm & positives).sum()),
        int((alarm & ~positives).sum()),
        int((~alarm & positives).sum()),
        int((~alarm & ~positives).sum()),
    )


def naive_cost(scores: NDArray[np.float64], positives: NDArray[np.bool_], threshold: np.float64) -> float:
    tp, fp, fn, tn = counts(scores, positives, threshold)
    return COSTS.tp * tp + COSTS.fp * fp + COSTS.fn * fn + COSTS.tn * tn


def every_threshold(scores: NDArray[np.float64]) -> list[float | np.float64]:
    return [*scores.tolist(), scores.min() - 1]


@given(labelled_scores())
def test_the_curve_counts_what_each_threshold_does(data: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    scores, positives = data
    curve = operating_curve(scores, positives)
    for threshold, tp, fp, cost in zip(curve.thresholds, curve.tp, curve.fp, curve.cost(COSTS), strict=True):
        assert (tp, fp) == counts(scores, positives, threshold)[:2]
        assert cost == naive_cost(scores, positives, threshold)
    assert set(curve.thresholds[:-1]) == set(scores)


@given(labelled_scores())
def test_cost_optimal_is_the_cheapest_of_all_and_of_equals_the_highest(
    data: tuple[NDArray[np.float64], NDArray[np.bool_]],
) -> None:
    scores, positives = data
    found = choose("cost-optimal", scores, positives).value
    costs = {threshold: naive_cost(scores, positives, threshold) for threshold in every_threshold(scores)}
    cheapest = min(costs.values())
    assert naive_cost(scores, positives, found) == cheapest
    assert all(
        threshold <= found for threshold, cost in costs.items() if cost == cheapest and threshold >= scores.min()
    )


def test_where_no_alarm_pays_cost_optimal_raises_none_and_says_so() -> None:
    scores = np.arange(1000.0)
    positives = scores == 0
    record = choose("cost-optimal", scores, positives)
    assert not (scores > record.value).any()
    assert "no alarm at all was cheapest" in record.how


@given(labelled_scores())
def test_max_f1_is_the_best_of_a_thousand_grid_points(data: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> None:
    scores, positives = data
    found = choose("max-f1", scores, positives).value

    def f1(threshold: float | np.float64) -> float:
        tp, fp, fn, _ = counts(scores, positives, threshold)
        return 2 * tp / (2 * tp + fp + fn)

    assert f1(found) == pytest.approx(max(f1(point) for point in np.linspace(scores.min(), scores.max(), F1_GRID)))


@given(labelled_scores())
def test_precision_and_recall_are_nowhere_closer_than_where_they_cross(
    data: tuple[NDArray[np.float64], NDArray[np.bool_]],
) -> None:
    scores, positives = data
    found = choose("precision-equals-recall", scores, positives).value

    def gap(threshold: float | np.float64) -> float:
        tp, fp, fn, _ = counts(scores, positives, threshold)
        return abs(tp / (tp + fp) - tp / (tp + fn))

    useful = [threshold for threshold in every_threshold(scores) if (positives & (scores > threshold)).any()]
    assert gap(found) == pytest.approx(min(gap(threshold) for threshold in useful))


@given(labelled_scores(), st.floats(0.5, 3))
def test_mean_plus_std_is_of_the_normal_scores_alone(
    data: tuple[NDArray[np.float64], NDArray[np.bool_]], k: float
) -> None:
    scores, positives = data
    normal = [score for score, positive in zip(scores, positives, strict=True) if not positive]
    mean = sum(normal) / len(normal)
    deviation = (sum((score - mean) ** 2 for score in normal) / len(normal)) ** 0.5
    assert choose("mean-plus-std", scores, positives, k=k).value == pytest.approx(mean + k * deviation)


def test_a_quantile_is_of_the_normal_scores_and_times_the_factor() -> None:
    scores = np.append(np.arange(101.0), 1e6)
    positives = scores > 1e5
    assert choose("quantile", scores, positives, quantile=0.9, factor=1.5).value == pytest.approx(135)


@given(st.integers(1, 9), st.integers(0, 5))
def test_a_rate_of_false_alarms_is_kept_to_and_used_up(days: int, rate: int) -> None:
    scores = np.random.default_rng(days).permutation(days * DAY_OF_STEPS).astype(np.float64)
    threshold = choose("quantile", scores, None, false_alarms_per_day=rate + 0.5).value
    assert (scores > threshold).sum() == int((rate + 0.5) * days)


def test_a_fixed_threshold_and_the_exact_one_of_a_probability_need_no_data() -> None:
    nothing = np.empty(0)
    assert choose("fixed", nothing, None, value=2.5).value == 2.5
    assert choose("probability", nothing, None).value == pytest.approx(0.05)


@pytest.mark.parametrize("policy", ["cost-optimal", "max-f1", "precision-equals-recall"])
@pytest.mark.parametrize("positives", [None, np.zeros(5, bool), np.ones(5, bool)])
def test_a_policy_that_needs_both_classes_says_what_it_found(policy: str, positives: NDArray[np.bool_] | None) -> None:
    with pytest.raises(DataError, match="needs normal and anomalous steps in the validation part, found"):
        choose(policy, np.arange(5.0), positives)


@pytest.mark.parametrize("policy", ["mean-plus-std", "quantile"])
def test_without_any_window_or_normal_step_nothing_is_chosen(policy: str) -> None:
    with pytest.raises(DataError, match="no full window"):
        choose(policy, np.empty(0), None)
    with pytest.raises(DataError, match="needs normal steps"):
        choose(policy, np.arange(3.0), np.ones(3, bool))


def test_precision_and_recall_do_not_meet_where_no_alarm_is_right() -> None:
    scores = np.array([9.0, 8.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    positives = np.array([False, False, True, True, False, False, False, False])
    chosen = choose_threshold(ThresholdConfig(policy="precision-equals-recall"), CostConfig(), scores, positives, 60.0)
    assert chosen.value < 5.0


def test_labelled_validation_data_have_a_quantile_of_their_own() -> None:
    config = ThresholdConfig(policy="quantile", quantile=0.99, factor=3.0, labelled_quantile=0.5)
    scores = np.arange(101.0)
    assert choose_threshold(config, CostConfig(), scores, None, 60.0).value == pytest.approx(3 * 99.0)
    assert choose_threshold(config, CostConfig(), scores, scores < 0, 60.0).value == pytest.approx(3 * 99.0)
    assert choose_threshold(config, CostConfig(), scores, scores > 50, 60.0).value == pytest.approx(25.0)


def test_a_calibrated_threshold_lies_where_an_alarm_is_right_often_enough() -> None:
    generator = np.random.default_rng(0)
    logs = generator.normal(size=40_000)
    positives = generator.random(len(logs)) < 1 / (1 + np.exp(5.0 - 2.0 * logs))
    found = choose("cost-optimal", np.exp(logs), positives, calibration="logistic")
    assert found is not None
    assert found.pays
    # P = 5 % where 2 x - 5 = log(0.05 / 0.95).
    assert np.log(found.value) == pytest.approx((5.0 + np.log(0.05 / 0.95)) / 2, abs=0.1)


def test_where_higher_scores_mean_less_no_calibrated_threshold_pays() -> None:
    generator = np.random.default_rng(1)
    logs = generator.normal(size=4_000)
    positives = generator.random(len(logs)) < 1 / (1 + np.exp(4.0 + 2.0 * logs))
    found = choose("cost-optimal", np.exp(logs), positives, calibration="logistic")
    assert found is not None
    assert not found.pays
    assert np.isfinite(found.value)
