from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logit as exact_logit
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

from stream_detector.detection.head.calibrated_head import BoostedConfig
from stream_detector.detection.head.ensemble import Averaged, Boosted, Ensemble, Linear
from stream_detector.detection.head.forest import Forest, logit
from trainer.fitting.head_members import boosted_as_arrays, fit_boosted, forest_as_arrays


@pytest.fixture(scope="module")
def learnt() -> tuple[Any, Forest, NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(400, 7)).astype(np.float32)
    target = inputs[:, 0] + inputs[:, 1] ** 2 + rng.normal(size=400) > 1.5
    model = ExtraTreesClassifier(20, min_samples_leaf=5, random_state=0).fit(inputs, target)
    return model, forest_as_arrays(model.estimators_), inputs


@pytest.fixture(scope="module")
def boosted() -> tuple[Any, Boosted, NDArray[np.float32]]:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(600, 7)).astype(np.float32)
    target = inputs[:, 0] + inputs[:, 1] ** 2 + rng.normal(size=600) > 2
    model = HistGradientBoostingClassifier(max_iter=30, max_depth=3, random_state=0).fit(inputs, target)
    forest = boosted_as_arrays([tree for (tree,) in model._predictors])
    return model, Boosted(forest, 1.0, model._baseline_prediction.item()), inputs


def test_arrays_say_what_scikit_learn_says(learnt: tuple[Any, Forest, NDArray[np.float32]]) -> None:
    model, forest, inputs = learnt
    np.testing.assert_allclose(forest.leaves(inputs).mean(axis=1), model.predict_proba(inputs)[:, 1], rtol=1e-12)


def test_arrays_say_what_boosting_says(boosted: tuple[Any, Boosted, NDArray[np.float32]]) -> None:
    model, member, inputs = boosted
    np.testing.assert_allclose(member.logits(inputs), exact_logit(model.predict_proba(inputs)[:, 1]), rtol=1e-9)


def test_the_parts_of_a_boosted_explanation_add_up_to_the_logit(
    boosted: tuple[Any, Boosted, NDArray[np.float32]],
) -> None:
    _, member, inputs = boosted
    beginning = member.forest.value[member.forest.roots].sum() + member.shift
    batch = member.logits(inputs[:50])
    for row, logit_of_batch in zip(inputs[:50], batch.tolist(), strict=True):
        own, parts = member.explain(row)
        assert own == logit_of_batch
        assert beginning + parts.sum() == pytest.approx(own, abs=1e-9)


def test_a_rising_sensor_never_lowers_what_boosted_trees_say() -> None:
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(800, 3)).astype(np.float32)
    target = rng.random(800) < 1 / (1 + np.exp(2 - inputs[:, 0] + inputs[:, 1]))  # sensor 1 calms
    rows = np.repeat(inputs[:40], 60, axis=0)
    rows[:, 1] = np.tile(np.linspace(-3, 3, 60), 40)
    slopes = {}
    for rising in (True, False):
        kind = BoostedConfig(rising=rising, tried_features=1.0, keep=0.5, bags=2)
        logits = fit_boosted(kind, inputs, target, np.array([True, True, False]), seed=1).logits(rows).reshape(40, 60)
        slopes[rising] = np.diff(logits, axis=1)
    assert (slopes[True] >= -1e-12).all()
    assert (slopes[False] < -1e-6).any(), "without the constraint it follows what it saw"


def test_a_row_alone_gets_what_it_gets_in_a_batch(learnt: tuple[Any, Forest, NDArray[np.float32]]) -> None:
    _, forest, inputs = learnt
    member = Averaged(forest, 1.0, -0.2)
    batch = member.logits(inputs[:50])
    assert [float(member.logits(row[None])[0]) for row in inputs[:50]] == batch.tolist()
    assert [member.explain(row)[0] for row in inputs[:50]] == batch.tolist()


def test_the_parts_of_an_explanation_add_up(learnt: tuple[Any, Forest, NDArray[np.float32]]) -> None:
    _, forest, inputs = learnt
    member = Averaged(forest, 1.0, 0.0)
    beginning = logit(forest.value[forest.roots].mean())
    for row in inputs[:20]:
        own, parts = member.explain(row)
        assert beginning + parts.sum() == pytest.approx(own, abs=1e-9)


def test_a_forest_survives_its_arrays_and_refuses_broken_ones(learnt: tuple[Any, Forest, NDArray[np.float32]]) -> None:
    _, forest, inputs = learnt
    again = Forest.restore(forest.arrays(), 7)
    np.testing.assert_array_equal(again.leaves(inputs), forest.leaves(inputs))
    with pytest.raises(ValueError, match="beyond"):
        Forest.restore(forest.arrays(), 3)
    with pytest.raises(ValueError, match="lacks"):
        Forest.restore({"feature": forest.feature}, 7)
    circle = forest.arrays() | {"left": np.zeros_like(forest.left)}
    with pytest.raises(ValueError, match="downwards"):
        Forest.restore(circle, 7)
    outside = forest.arrays() | {"roots": forest.roots + len(forest.feature)}
    with pytest.raises(ValueError, match="outside"):
        Forest.restore(outside, 7)


def test_an_ensemble_explains_its_logit_and_survives_its_arrays(
    learnt: tuple[Any, Forest, NDArray[np.float32]], boosted: tuple[Any, Boosted, NDArray[np.float32]]
) -> None:
    _, forest, inputs = learnt
    adding = boosted[1].forest
    rng = np.random.default_rng(0)
    linear = Linear(np.zeros(7), np.ones(7), rng.normal(size=7), -1.0)
    members = (Averaged(forest, 1.0, -0.3), Boosted(adding, 0.5, -2.0), Averaged(forest, 1.0, 0.1))
    ensemble = Ensemble(np.zeros(7, np.float32), linear, 0.5, members)
    again = Ensemble.restore(ensemble.arrays(), 7)
    holed = inputs[:30].copy()
    holed[:, 3] = np.nan
    expected = 0.5 * (np.clip(np.where(np.isnan(holed), 0, holed), -5, 5) @ linear.weights - 1.0)
    filled = np.where(np.isnan(holed), 0, holed).astype(np.float32)
    expected += 2 * logit(forest.leaves(filled).mean(axis=1)) - 0.3 + 0.1
    expected += 0.5 * (adding.leaves(filled).sum(axis=1) - 2.0)
    expected /= 3.0
    np.testing.assert_allclose(again.logits(holed), expected, rtol=1e-9)
    for row, wanted in zip(holed, expected, strict=True):
        own, parts = again.explain(row)
        assert own == pytest.approx(wanted)
        assert parts.shape == (7,)
        assert np.isfinite(parts).all()
