"""Models that add up columns, against loops over them: the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models import neighbours
from stream_detector.detection.models.fixed_batches import BATCH_WINDOWS
from stream_detector.detection.models.known_median import known_median
from stream_detector.detection.models.networks.graph import matrix_product
from stream_detector.detection.models.registry import Learner, Model, build
from tests.support.properties import examples


def learnt(kind: str, options: dict[str, object], steps: int, sensors: int, seed: int) -> Model:
    model = build(ModelConfig(kind=kind, options=options), steps, sensors)
    assert isinstance(model, Learner)
    windows = np.random.default_rng(seed).normal(size=(60, steps, sensors)).astype(np.float32)
    model.learn(windows, np.ones(windows.shape, np.bool_), np.arange(60) % 5 == 0, seed)
    return model


@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 10_000),
    lags=st.integers(1, 3),
    steps=st.integers(3, 9),
    sensors=st.sampled_from([1, 2, 3, 11]),
    squared=st.booleans(),
)
def test_a_mahalanobis_distance_adds_column_after_column(
    seed: int, lags: int, steps: int, sensors: int, squared: bool
) -> None:
    model = learnt("mahalanobis", {"lags": lags, "squared": squared}, steps, sensors, seed)
    windows = np.random.default_rng(seed + 1).normal(size=(BATCH_WINDOWS, steps, sensors)).astype(np.float32)
    found = model.run(windows, np.ones(windows.shape, np.bool_))
    arrays, length = model.arrays(), steps - lags + 1
    rows = np.concatenate([windows[:, lag : lag + length] for lag in range(lags)], axis=2) - arrays["mean"]
    weighed = matrix_product(arrays["precision"])(rows.reshape(-1, lags * sensors)).reshape(rows.shape)
    errors, score = np.zeros((BATCH_WINDOWS, sensors)), np.zeros(BATCH_WINDOWS)
    for window in range(BATCH_WINDOWS):
        for step in range(length):
            distance = 0.0
            for column in range(lags * sensors):
                part = rows[window, step, column] * weighed[window, step, column]
                distance += part
                errors[window, column % sensors] += part
            distance = max(distance, 0.0)
            score[window] += distance if squared else np.sqrt(distance)
    assert found.errors is not None
    assert found.score is not None
    assert found.errors.tobytes() == (np.maximum(errors, 0.0) / length).tobytes()
    assert found.score.tobytes() == (score / length).tobytes()


@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 10_000), steps=st.integers(1, 9), sensors=st.sampled_from([1, 2, 3, 11]), sizes=st.booleans()
)
def test_a_logistic_classifier_adds_column_after_column(seed: int, steps: int, sensors: int, sizes: bool) -> None:
    model = learnt("logistic-classifier", {"sizes": sizes}, steps, sensors, seed)
    windows = np.random.default_rng(seed + 1).normal(size=(BATCH_WINDOWS, steps, sensors)).astype(np.float32)
    found = model.run(windows, np.ones(windows.shape, np.bool_))
    arrays, flat = model.arrays(), windows.reshape(BATCH_WINDOWS, -1).astype(np.float64)
    inputs = np.concatenate([flat, np.abs(flat)], axis=1) if sizes else flat
    errors, logit = np.zeros((BATCH_WINDOWS, sensors)), np.full(BATCH_WINDOWS, arrays["bias"][0])
    for column in range(inputs.shape[1]):
        part = (inputs[:, column] - arrays["center"][column]) * arrays["weights"][column]
        logit += part
        errors[:, column % sensors] += part
    assert found.errors is not None
    assert found.score is not None
    assert found.errors.tobytes() == np.maximum(errors, 0.0).tobytes()
    assert found.score.tobytes() == (1.0 / (1.0 + np.exp(-np.clip(logit, -700, 700)))).tobytes()


@pytest.mark.parametrize("most_cells", [1, 70, neighbours.MOST_CELLS])
@pytest.mark.parametrize("sensors", [2, 3, 9])
def test_the_others_of_a_sensor_are_all_but_itself_however_many_are_sorted_at_once(
    most_cells: int, sensors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "MOST_CELLS", most_cells)
    rng = np.random.default_rng(sensors)
    model = learnt("neighbours", {"crosstalk": 0.3}, 4, sensors, 1)
    windows = rng.normal(3.0, 1.0, size=(BATCH_WINDOWS, 4, sensors)).astype(np.float32)
    found = model.run(windows, np.ones(windows.shape, np.bool_)).errors
    usual, level = model.arrays()["level"], known_median(windows.astype(np.float64))
    size = np.where(usual > neighbours.TINY, usual, np.nan)
    excess = np.empty(level.shape)
    for sensor in range(sensors):
        others = [other for other in range(sensors) if other != sensor]
        added = usual[sensor] + np.nanmedian((level - usual)[:, others], axis=1)
        factor = (level / size)[:, others]
        multiplied = size[sensor] * np.array(
            [np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in factor]
        )
        excess[:, sensor] = level[:, sensor] - np.fmax(added, multiplied)
    for sensor in range(sensors):
        loudest = np.delete(excess, sensor, axis=1).max(axis=1, initial=0.0)
        wanted = np.maximum(excess[:, sensor] - 0.3 * loudest, 0.0) / np.abs(usual).mean()
        assert found is not None
        np.testing.assert_allclose(found[:, sensor], wanted, rtol=1e-12, atol=1e-12)
