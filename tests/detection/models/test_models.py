"""What every kind of model promises, and what each kind is good for."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_detector.detection.config import ModelConfig
from stream_detector.detection.models.fixed_batches import run_in_batches
from stream_detector.detection.models.registry import KINDS, Learner, Model, ModelOutput, build, needs_labels

STEPS, SENSORS = 12, 7
SIZES: dict[str, dict[str, Any]] = {
    "lstm-autoencoder": {"hidden": [4, 2]},
    "dense-autoencoder": {"hidden": [6, 3], "batch_norm": True},
    "conv-autoencoder": {"filters": [4, 2], "kernel": 3},
    "conv-classifier": {"filters": [3, 4], "kernel": 3},
    "projected-lstm-autoencoder": {"hidden": [4, 2], "components": 3},
    "sensor-regressors": {"hidden": 4, "lags": 2},
    "mahalanobis": {"lags": 2},
    "recurrent-autoencoder": {"sequence": 4},
}
ALL = sorted(KINDS)


def windows_of(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, STEPS, SENSORS)).astype(np.float32)


def known_of(windows: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.ones(windows.shape, bool)


def learnt(kind: str, windows: NDArray[np.float32] | None = None) -> Model:
    """A small model of that kind; networks keep the weights they start with."""
    model = build(ModelConfig(kind=kind, options=SIZES.get(kind, {})), STEPS, SENSORS)
    windows = windows_of(80) if windows is None else windows
    if isinstance(model, Learner):
        labels = np.arange(len(windows)) % 5 == 0 if needs_labels(model) else np.zeros(len(windows), bool)
        model.learn(windows, known_of(windows), labels, seed=1)
    return model


def whole(output: ModelOutput) -> list[NDArray[Any]]:
    return [part for part in (output.reconstruction, output.errors, output.score) if part is not None]


@pytest.mark.parametrize("kind", ALL)
def test_a_model_rebuilt_from_its_arrays_says_the_same(kind: str) -> None:
    model = learnt(kind)
    arrays = model.arrays()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())
    again = build(ModelConfig(kind=kind, options=SIZES.get(kind, {})), STEPS, SENSORS)
    again.restore(arrays)
    windows = windows_of(20, seed=4)
    first, second = (whole(run_in_batches(each, windows, known_of(windows))) for each in (model, again))
    for expected, found in zip(first, second, strict=True):
        assert np.array_equal(expected, found)


@pytest.mark.parametrize("kind", ALL)
def test_arrays_of_another_size_are_refused(kind: str) -> None:
    arrays = learnt(kind).arrays()
    other = build(ModelConfig(kind=kind, options=SIZES.get(kind, {})), STEPS, SENSORS + 1)
    with pytest.raises(ValueError, match="do not fit the model"):
        other.restore(arrays)


@pytest.mark.parametrize("kind", ALL)
def test_errors_have_one_column_a_sensor_and_are_never_negative(kind: str) -> None:
    windows = windows_of(9)
    output = run_in_batches(learnt(kind), windows, known_of(windows))
    if output.errors is not None:
        assert output.errors.shape == (9, SENSORS)
        assert (output.errors >= 0).all()
    if output.reconstruction is not None:
        assert output.reconstruction.shape[0] == 9
        assert 1 <= output.reconstruction.shape[1] <= STEPS
        assert output.reconstruction.shape[2] == SENSORS
    if output.score is not None:
        assert output.score.shape == (9,)


def test_mahalanobis_agrees_with_its_textbook_form_without_shrinkage() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 3))
    windows = rows[:, None].astype(np.float32)
    model = build(ModelConfig(kind="mahalanobis", options={"shrinkage": 0.0}), 1, 3)
    assert isinstance(model, Learner)
    model.learn(windows, known_of(windows), np.zeros(400, bool), seed=0)
    found = run_in_batches(model, windows, known_of(windows)).score
    mean, inverse = rows.mean(axis=0), np.linalg.inv(np.cov(rows.T))
    expected = [float(np.sqrt((row - mean) @ inverse @ (row - mean))) for row in rows]
    assert found == pytest.approx(np.array(expected), rel=1e-3)


def test_mahalanobis_averages_distances_over_the_window() -> None:
    windows = windows_of(200)
    one = build(ModelConfig(kind="mahalanobis"), 1, SENSORS)
    many = build(ModelConfig(kind="mahalanobis"), STEPS, SENSORS)
    assert isinstance(one, Learner)
    assert isinstance(many, Learner)
    newest = windows[:, -1:]
    one.learn(newest, known_of(newest), np.zeros(200, bool), seed=0)
    many.learn(windows, known_of(windows), np.zeros(200, bool), seed=0)
    single = np.mean(
        [
            run_in_batches(one, windows[:, step : step + 1], known_of(windows[:, step : step + 1])).score
            for step in range(STEPS)
        ],
        axis=0,
    )
    assert run_in_batches(many, windows, known_of(windows)).score == pytest.approx(single, rel=1e-6)


def test_principal_components_flag_what_leaves_the_plane_and_what_goes_far_within_it() -> None:
    rng = np.random.default_rng(6)
    plane = rng.standard_normal((500, 2)) @ np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    windows = (plane + 0.01 * rng.standard_normal((500, 3)))[:, None].astype(np.float32)
    model = build(ModelConfig(kind="principal-components", options={"variance": 0.9}), 1, 3)
    assert isinstance(model, Learner)
    model.learn(windows, known_of(windows), np.zeros(500, bool), seed=0)
    odd = np.array([[[0.5, -0.5, 0.0]], [[9.0, 9.0, 9.0]], [[0.5, 0.5, 0.5]]], np.float32)
    score = run_in_batches(model, odd, known_of(odd)).score
    assert score is not None
    assert score[0] > 10
    assert score[1] > 1
    assert score[2] < 1


def test_a_regressor_never_reads_its_own_sensor() -> None:
    model = learnt("sensor-regressors")
    windows = windows_of(16)
    changed = windows.copy()
    changed[:, :, 2] += 5
    before = run_in_batches(model, windows, known_of(windows)).reconstruction
    after = run_in_batches(model, changed, known_of(changed)).reconstruction
    assert before is not None
    assert after is not None
    assert np.array_equal(before[:, :, 2], after[:, :, 2])
    assert not np.array_equal(before[:, :, 1], after[:, :, 1])


def test_tail_deviation_puts_quiet_and_jumpy_sensors_on_one_footing() -> None:
    windows = windows_of(2000)
    windows[:, :, 0] *= 100
    model = learnt("tail-deviation", windows)
    score = run_in_batches(model, windows, known_of(windows)).score
    assert score is not None
    assert 1 <= score.max() < 2
    assert (score > 1).mean() < 0.01 * SENSORS


def neighbours(**options: Any) -> Model:
    """Of four sensors with the levels 1, 2, 3 and 2, windows of 6 steps."""
    model = build(ModelConfig(kind="neighbours", options=options), 6, 4)
    windows = np.tile(np.array([1, 2, 3, 2], np.float32), (20, 6, 1))
    assert isinstance(model, Learner)
    model.learn(windows, known_of(windows), np.zeros(20, bool), seed=0)
    return model


@pytest.mark.parametrize("shared", ["added", "multiplied"])
def test_what_all_neighbours_rise_by_is_no_error_and_what_one_rises_by_is(shared: str) -> None:
    levels = np.tile(np.array([1, 2, 3, 2], np.float32), (2, 6, 1))
    windows = levels + 0.5 if shared == "added" else levels * 1.25
    windows[1, :, 3] += 0.4
    output = run_in_batches(neighbours(crosstalk=0.0), windows, known_of(windows))
    assert output.errors == pytest.approx(np.array([[0, 0, 0, 0], [0, 0, 0, 0.2]]), abs=1e-6)
    assert output.score == pytest.approx([0, 0.2], abs=1e-6)
    assert output.reconstruction is not None
    assert output.reconstruction[1, 0, 3] == pytest.approx(2.5)


def test_what_reaches_a_neighbour_of_a_loud_sensor_is_no_error() -> None:
    windows = np.tile(np.array([1, 2, 3, 2], np.float32), (1, 6, 1))
    windows[0, :, 2] += 4.0
    windows[0, :, 1] += 0.4
    errors = run_in_batches(neighbours(crosstalk=0.1), windows, known_of(windows)).errors
    assert errors == pytest.approx(np.array([[0, 0, 1.98, 0]]), abs=1e-6)


def test_one_sensor_has_no_neighbours() -> None:
    with pytest.raises(ValueError, match="name two at least"):
        build(ModelConfig(kind="neighbours"), 6, 1)


def test_neighbours_leave_out_the_steps_at_which_the_machine_stands_still() -> None:
    windows = np.tile(np.array([1, 2, 3, 2], np.float32), (1, 6, 1))
    windows[0, :, 2] += 0.8
    windows[0, 1:5] = 0.01
    known = known_of(windows)
    seen = run_in_batches(neighbours(running=0.5, least_known=0.3, crosstalk=0.0), windows, known).score
    assert seen == pytest.approx([0.4], abs=1e-6)
    assert run_in_batches(neighbours(crosstalk=0.0), windows, known).score == pytest.approx([0.0], abs=0.01)
    assert run_in_batches(neighbours(running=0.5, least_known=0.5), windows, known).score == [0.0]


def test_neighbours_look_at_the_newest_known_steps_however_far_apart() -> None:
    windows = np.tile(np.array([1, 2, 3, 2], np.float32), (1, 6, 1))
    windows[0, [0, 3, 5], 2] += 0.8
    known = known_of(windows)
    known[0, [1, 2, 4]] = False
    windows[~known] = 0.0
    assert run_in_batches(neighbours(newest=3, crosstalk=0.0), windows, known).score == pytest.approx([0.4], abs=1e-6)
    known[0, 3] = False
    assert run_in_batches(neighbours(newest=5, crosstalk=0.0), windows, known).score == [0.0]


def test_the_logistic_classifier_finds_a_failing_side_and_a_failing_size() -> None:
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((3000, 4))
    labels = (rows[:, 0] + np.abs(rows[:, 1]) + 0.3 * rng.standard_normal(3000)) > 2.2
    windows = rows[:, None].astype(np.float32)
    model = build(ModelConfig(kind="logistic-classifier", options={"c": 0.1}), 1, 4)
    assert isinstance(model, Learner)
    model.learn(windows[:2000], known_of(windows[:2000]), labels[:2000], seed=0)
    output = run_in_batches(model, windows[2000:], known_of(windows[2000:]))
    assert output.score is not None
    assert output.score[labels[2000:]].mean() > 0.8
    assert output.score[~labels[2000:]].mean() < 0.35
    assert output.errors is not None
    assert output.errors[labels[2000:]].mean(axis=0).argsort()[-2:].tolist() in ([0, 1], [1, 0])


def test_a_classifier_says_what_is_missing_when_only_one_kind_of_row_is_there() -> None:
    model = build(ModelConfig(kind="logistic-classifier"), STEPS, SENSORS)
    assert isinstance(model, Learner)
    windows = windows_of(10)
    with pytest.raises(ValueError, match="only one kind is there"):
        model.learn(windows, known_of(windows), np.zeros(10, bool), seed=0)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("mahalanobis", {"lags": 14}, "more than the 12 steps"),
        ("own-past", {"noise_lag": 12}, "windows of at least 13 steps, found 12"),
        ("sensor-regressors", {"lags": 12}, "leaves nothing of a window"),
        ("conv-autoencoder", {"kernel": 4}, "must be odd"),
        ("recurrent-autoencoder", {"sequence": 5}, "no multiple of sequence = 5"),
        ("dense-autoencoder", {"hidden": []}, "hidden"),
    ],
)
def test_wrong_options_are_named(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(ModelConfig(kind=kind, options=options), STEPS, SENSORS)


def own_past(windows: NDArray[np.float32]) -> Learner:
    model = build(ModelConfig(kind="own-past"), windows.shape[1], windows.shape[2])
    assert isinstance(model, Learner)
    model.learn(windows, known_of(windows), np.zeros(len(windows), bool), seed=0)
    return model


def scored(model: Learner, windows: NDArray[np.float32], known: NDArray[np.bool_] | None = None) -> Any:
    return run_in_batches(model, windows, known_of(windows) if known is None else known)


def test_own_past_knows_no_level_and_no_size() -> None:
    windows = np.random.default_rng(8).standard_normal((400, 60, 3)).astype(np.float32)
    model = own_past(windows)
    elsewhere = windows * np.array([2.0, 8.0, 4.0], np.float32) + np.array([512.0, -64.0, 0.0], np.float32)
    assert scored(model, elsewhere).score == pytest.approx(scored(model, windows).score, rel=0.02, abs=0.3)


def test_own_past_lets_no_sensor_outweigh_the_others() -> None:
    windows = np.random.default_rng(9).standard_normal((400, 60, 3)).astype(np.float32)
    model = own_past(windows)
    one, many = windows[:1].copy(), windows[:1].copy()
    one[:, -10:, 0] = 1e6
    many[:, -10:] += 30.0
    quiet, alone, together = (float(scored(model, each).score[0]) for each in (windows[:1], one, many))
    assert quiet < alone <= 3 + quiet
    assert together > 5


def test_own_past_of_a_short_run_is_that_of_its_own_steps() -> None:
    """What lies before the run is masked, and the reference is the oldest part of what is known."""
    windows = np.random.default_rng(10).standard_normal((400, 60, 3)).astype(np.float32)
    model = own_past(windows)
    moved = windows[:16].copy()
    moved[:, -5:, :2] += 50.0
    known = known_of(moved)
    known[:, :40] = False
    masked = np.where(known, moved, 0).astype(np.float32)
    assert (scored(model, masked, known).score > 4).all()
    garbage = np.where(known, moved, 77).astype(np.float32)
    assert np.array_equal(scored(model, garbage, known).score, scored(model, masked, known).score)


def test_own_past_says_nothing_of_a_sensor_that_is_masked_or_never_moved() -> None:
    windows = np.random.default_rng(11).standard_normal((400, 60, 3)).astype(np.float32)
    windows[:, :, 2] = 5.0
    model = own_past(windows)
    changed = windows[:8].copy()
    changed[:, -20:, 2] = 9.0
    assert np.array_equal(scored(model, changed).score, scored(model, windows[:8]).score)
    known = known_of(changed)
    known[:, :, 0] = False
    assert (scored(model, changed, known).errors[:, 0] == 0).all()
