"""Drift of scores: silent on more of the same, loud on a shift, the same for any kind of score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_detector.detection.drift import LIMIT, MIN_STEPS, DriftMeter, ScoreReference

RANDOM = np.random.default_rng(0)


def level(reference: ScoreReference | None, scores: np.ndarray) -> float | None:
    assert reference is not None
    meter = DriftMeter(reference)
    for score in scores:
        meter.add(float(score))
    return meter.level


def test_more_of_the_same_is_no_drift() -> None:
    reference = ScoreReference.of(RANDOM.lognormal(size=5000))
    found = level(reference, RANDOM.lognormal(size=2000))
    assert found is not None
    assert found < 0.1


@pytest.mark.parametrize("shift", [-1.0, 1.0, 3.0])
def test_a_shift_either_way_is_drift(shift: float) -> None:
    reference = ScoreReference.of(RANDOM.lognormal(size=5000))
    found = level(reference, RANDOM.lognormal(mean=shift, size=2000))
    assert found is not None
    assert found > 0.25


def wandering(steps: int, memory: float, seed: int) -> NDArray[np.float64]:
    """Scores each of which is mostly the one before."""
    noise = np.random.default_rng(seed).normal(size=steps)
    for step in range(1, steps):
        noise[step] += memory * noise[step - 1]
    return noise


def share_in_drift(reference: ScoreReference, scores: NDArray[np.float64]) -> float:
    meter, above = DriftMeter(reference), []
    for score in scores.tolist():
        meter.add(score)
        above.append((meter.level or 0.0) > LIMIT)
    return float(np.mean(above))


@pytest.mark.slow
def test_scores_that_wander_by_themselves_have_rarely_drifted() -> None:
    found, without_own_limit = [], []
    for seed in range(2):
        scores = wandering(20_000, 0.99, seed)
        reference = ScoreReference.of(scores[:10_000])
        assert reference is not None
        assert reference.limit > LIMIT
        found.append(share_in_drift(reference, scores[10_000:]))
        usual = ScoreReference(reference.edges, reference.shares)
        without_own_limit.append(share_in_drift(usual, scores[10_000:]))
        assert share_in_drift(reference, scores[10_000:13_000] + 3 * scores.std()) > 0.5, "a shift is seen all the same"
    assert np.mean(found) < 0.1
    assert np.mean(without_own_limit) > 0.3


def test_scores_that_do_not_depend_on_one_another_keep_the_usual_limit() -> None:
    reference = ScoreReference.of(np.random.default_rng(1).normal(size=3000))
    assert reference is not None
    assert reference.limit == LIMIT


def test_a_head_is_held_against_its_probabilities_and_a_bundle_without_them_against_its_scores() -> None:
    reference = ScoreReference.of(np.random.default_rng(2).normal(size=400))
    assert reference is not None
    scores = {"scores": {"edges": [0.0], "shares": [0.5, 0.5]}}
    assert ScoreReference.of_metrics({**scores, "probabilities": reference.to_json()}) == (reference, "probability")
    assert ScoreReference.of_metrics({**scores, "probabilities": None}) == (ScoreReference((0.0,), (0.5, 0.5)), "score")
    assert ScoreReference.of_metrics({}) is None


def test_it_is_over_some_time_after_the_scores_are_back() -> None:
    reference = ScoreReference.of(RANDOM.lognormal(size=5000))
    scores = np.concatenate([RANDOM.lognormal(mean=2.0, size=1000), RANDOM.lognormal(size=3000)])
    found = level(reference, scores)
    assert found is not None
    assert found < 0.1


@given(st.floats(min_value=0.1, max_value=10), st.floats(min_value=-5, max_value=5))
def test_the_scale_of_the_score_does_not_matter(factor: float, offset: float) -> None:
    then, now = RANDOM.normal(size=400), RANDOM.normal(loc=0.5, size=400)
    plain = level(ScoreReference.of(then), now)
    moved = level(ScoreReference.of(factor * then + offset), factor * now + offset)
    assert moved == pytest.approx(plain, abs=0.05)


def test_nothing_is_said_on_too_few_scores() -> None:
    assert ScoreReference.of(np.ones(MIN_STEPS - 1)) is None
    reference = ScoreReference.of(RANDOM.normal(size=1000))
    assert level(reference, RANDOM.normal(size=MIN_STEPS - 1)) is None


def test_scores_that_are_all_the_same_and_scores_that_are_missing_do_no_harm() -> None:
    reference = ScoreReference.of(np.zeros(1000))
    assert level(reference, np.zeros(300)) == pytest.approx(0.0, abs=0.05)
    assert level(reference, np.full(300, np.nan)) is None


def test_a_reference_survives_the_manifest() -> None:
    reference = ScoreReference.of(RANDOM.normal(size=1000))
    assert reference is not None
    assert ScoreReference.from_json(reference.to_json()) == reference
    assert ScoreReference.from_json(None) is None
    assert ScoreReference.from_json({"edges": []}) is None
