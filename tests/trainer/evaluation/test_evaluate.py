"""Evaluation: every number against its definition, and words that say what it means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from stream_detector.bundle.manifest import ThresholdRecord
from tests.support.bundles import small_manifest
from tests.support.messages import MIDNIGHT, STEP_SECONDS, make_alarm
from trainer.evaluation.evaluate import evaluate_rows, in_words
from trainer.evaluation.scored import ScoredRows
from trainer.evaluation.states import judge

MANIFEST = small_manifest(threshold=ThresholdRecord(value=0.5, policy="fixed", how="given"))


def scored(score: NDArray[np.float64] | list[float], positive: NDArray[np.bool_] | list[bool] | None) -> ScoredRows:
    score = np.asarray(score, dtype=np.float64)
    labels = None if positive is None else np.asarray(positive, dtype=bool)
    return ScoredRows(np.arange(len(score)), score, None, np.full(len(score), 0.5), np.zeros((len(score), 3)), labels)


@given(st.integers(0, 10_000))
def test_the_numbers_are_those_of_sklearn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    positive = np.append([True, False], generator.random(40) < 0.4)
    score = np.append([0.9, 0.8], generator.integers(0, 8, 40) / 8)
    found = evaluate_rows(scored(score, positive), MANIFEST)
    alarm = score > 0.5
    assert found.auroc == pytest.approx(roc_auc_score(positive, score))
    assert found.auroc_of_decisions == pytest.approx(roc_auc_score(positive, alarm))
    assert found.accuracy == pytest.approx(accuracy_score(positive, alarm))
    assert found.precision == pytest.approx(precision_score(positive, alarm))
    assert found.recall == pytest.approx(recall_score(positive, alarm))
    assert found.f1 == pytest.approx(f1_score(positive, alarm))


def test_rates_costs_and_saving_follow_their_definitions() -> None:
    found = evaluate_rows(scored([0.9, 0.9, 0.1, 0.1, 0.9], [True, True, True, False, False]), MANIFEST)
    assert found.confusion == [[1, 1], [1, 2]]
    assert (found.frr, found.far, found.ie) == (pytest.approx(1 / 2), pytest.approx(1 / 3), pytest.approx(5 / 12))
    assert (found.cost, found.never_cost) == (100 + 5 + 10, 300)
    assert found.saving == pytest.approx(1 - 115 / 300)


def test_without_labels_everything_that_needs_them_is_null() -> None:
    found = evaluate_rows(scored([0.9], None), MANIFEST).as_json()
    wanted = {"threshold": 0.5, "threshold_policy": "fixed", "rows": 1, "not_running": 0}
    assert {name: value for name, value in found.items() if value is not None} == wanted
    assert "without labels nothing can be said" in " ".join(in_words(evaluate_rows(scored([0.9], None), MANIFEST)))


def test_without_rows_the_words_send_to_the_backtest() -> None:
    assert "No rows were kept aside" in in_words(evaluate_rows(scored([], []), MANIFEST))[0]


def test_without_positives_or_alarms_ratios_are_null_and_nothing_divides_by_zero() -> None:
    found = evaluate_rows(scored([0.1, 0.2], [False, False]), MANIFEST)
    assert (found.auroc, found.recall, found.precision, found.far, found.saving) == (None, None, None, None, None)
    assert found.frr == 0


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ([0.9, 0.1, 0.1], "It saves 95.0% by rows"),
        ([0.1, 0.1, 0.1], "It never alarms here, so it saves nothing"),
        (
            [0.1, 0.9, 0.9],
            "It does not pay: cost 110 against 100 without alarms. Doing without these alarms is cheaper",
        ),
    ],
)
def test_the_words_say_whether_it_pays(score: list[float], said: str) -> None:
    assert said in " ".join(in_words(evaluate_rows(scored(score, [True, False, False]), MANIFEST)))


def test_states_of_each_asset_are_judged_by_its_own_alarms_and_rows() -> None:
    step = [MIDNIGHT + number * STEP_SECONDS for number in range(100)]
    states = [("a", step[10], step[20]), ("b", step[10], step[20]), ("b", step[90], step[95])]
    raised = make_alarm(12, asset="a", marks="states")
    found = judge(states, [raised], {"a": (step[0], step[99]), "b": (step[0], step[50])})
    assert (found.states, found.found, found.alarms, found.false_alarms) == (2, 1, 1, 0)


def test_an_alarm_that_is_held_back_counts_as_one_that_is_told() -> None:
    step = [MIDNIGHT + number * STEP_SECONDS for number in range(100)]
    told = make_alarm(12, asset="a", marks="states")
    spans = {"a": (step[0], step[99])}
    for states in ([("a", step[10], step[20])], [("a", step[80], step[90])]):
        of_one, of_other = (
            judge(states, [told.model_copy(update={"held_back": held_back})], spans) for held_back in (False, True)
        )
        assert of_one == of_other
