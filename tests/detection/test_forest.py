import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from stream_detector.detection.ensemble import Ensemble, Linear, Member
from stream_detector.detection.forest import Forest, logit
from trainer.head_fit import _as_arrays  # the way from scikit-learn to arrays


@pytest.fixture(scope="module")
def learnt():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(400, 7)).astype(np.float32)
    target = inputs[:, 0] + inputs[:, 1] ** 2 + rng.normal(size=400) > 1.5
    model = ExtraTreesClassifier(20, min_samples_leaf=5, random_state=0).fit(inputs, target)
    return model, _as_arrays(model.estimators_), inputs


def test_arrays_say_what_scikit_learn_says(learnt):
    model, forest, inputs = learnt
    np.testing.assert_allclose(forest.probability(inputs), model.predict_proba(inputs)[:, 1], rtol=1e-12)


def test_a_row_alone_gets_what_it_gets_in_a_batch(learnt):
    _, forest, inputs = learnt
    batch = forest.probability(inputs[:50])
    assert [float(forest.probability(row[None])[0]) for row in inputs[:50]] == batch.tolist()
    assert [forest.explain(row)[0] for row in inputs[:50]] == batch.tolist()


def test_the_parts_of_an_explanation_add_up(learnt):
    _, forest, inputs = learnt
    mean = forest.value[forest.roots].mean()
    for row in inputs[:20]:
        probability, parts = forest.explain(row)
        assert mean + parts.sum() == pytest.approx(probability, abs=1e-12)
        assert np.argmax(np.abs(parts)) in range(7)


def test_a_forest_survives_its_arrays_and_refuses_broken_ones(learnt):
    _, forest, inputs = learnt
    again = Forest.restore(forest.arrays(), 7)
    np.testing.assert_array_equal(again.probability(inputs), forest.probability(inputs))
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


def test_an_ensemble_explains_its_logit_and_survives_its_arrays(learnt):
    _, forest, inputs = learnt
    rng = np.random.default_rng(0)
    linear = Linear(np.zeros(7), np.ones(7), rng.normal(size=7), -1.0)
    ensemble = Ensemble(np.zeros(7, np.float32), linear, 0.5, (Member(forest, 1.0, -0.3),))
    again = Ensemble.restore(ensemble.arrays(), 7)
    holed = inputs[:30].copy()
    holed[:, 3] = np.nan
    expected = 0.5 * (np.clip(np.where(np.isnan(holed), 0, holed), -5, 5) @ linear.weights - 1.0)
    filled = np.where(np.isnan(holed), 0, holed).astype(np.float32)
    expected = (expected + logit(forest.probability(filled)) - 0.3) / 1.5
    np.testing.assert_allclose(again.logits(holed), expected, rtol=1e-9)
    for row, wanted in zip(holed, expected, strict=True):
        own, parts = again.explain(row)
        assert own == pytest.approx(wanted)
        assert parts.shape == (7,)
        assert np.isfinite(parts).all()
