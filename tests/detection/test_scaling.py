"""Transforms and scales, each against an obvious twin."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from pydantic import ValidationError

from stream_detector.detection.config import ScalerConfig, TransformConfig
from stream_detector.detection.scaling import LEAST_KNOWN_MOVES, Scaler, moving_average, transform, transformed_steps

VALUES = st.one_of(st.floats(-1e3, 1e3), st.just(float("nan")))
WINDOWS = npst.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(4, 9), st.integers(1, 4)), elements=VALUES)
KINDS = ("levels", "differences", "instance")


def naive_moving_average(windows: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    count, length, sensors = windows.shape
    result = np.full((count, length - steps + 1, sensors), np.nan)
    for b in range(count):
        for t in range(length - steps + 1):
            for f in range(sensors):
                known = [value for value in windows[b, t : t + steps, f] if np.isfinite(value)]
                if known:
                    result[b, t, f] = sum(known) / len(known)
    return result


def naive_instance(window: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full(window.shape, np.nan)
    for f in range(window.shape[1]):
        known = window[np.isfinite(window[:, f]), f]
        if not len(known):
            continue
        spread = known.std()
        if spread <= 1e-12 * max(abs(known.mean()), 1.0):
            spread = 1.0
        result[:, f] = (window[:, f] - known.mean()) / spread
    return result


@given(WINDOWS, st.integers(1, 4))
def test_the_moving_average_is_the_mean_of_what_is_known(windows: NDArray[np.float64], steps: int) -> None:
    np.testing.assert_allclose(moving_average(windows, steps), naive_moving_average(windows, steps), atol=1e-9)


@given(WINDOWS, st.integers(1, 3))
def test_differences_are_of_neighbouring_averages(windows: NDArray[np.float64], steps: int) -> None:
    moved = transform(TransformConfig(kind="differences", smooth_steps=steps), windows)
    expected = np.diff(naive_moving_average(windows, steps), axis=1)
    np.testing.assert_allclose(moved.values, expected, atol=1e-9)


@given(WINDOWS)
def test_instance_normalisation_uses_each_window_by_itself(windows: NDArray[np.float64]) -> None:
    moved = transform(TransformConfig(kind="instance"), windows)
    for window, found in zip(windows, moved.values, strict=True):
        np.testing.assert_allclose(found, naive_instance(window), rtol=1e-6, atol=1e-6)


@given(WINDOWS, st.sampled_from(KINDS), st.integers(1, 3))
def test_the_newest_step_can_be_told_in_sensor_units_again(windows: NDArray[np.float64], kind: str, steps: int) -> None:
    moved = transform(TransformConfig(kind=kind, smooth_steps=steps), windows)
    assert moved.values.shape[1] == transformed_steps(TransformConfig(kind=kind, smooth_steps=steps), windows.shape[1])
    newest = moved.offset + moved.factor * moved.values[:, -1]
    expected = naive_moving_average(windows, steps)[:, -1]
    told = np.isfinite(newest)
    np.testing.assert_allclose(newest[told], expected[told], atol=1e-6)
    if kind != "differences":
        assert (told == np.isfinite(expected)).all()


@given(WINDOWS, st.sampled_from(KINDS), st.integers(1, 3), st.randoms(use_true_random=False))
def test_a_window_transforms_to_the_same_bits_in_any_batch(
    windows: NDArray[np.float64], kind: str, steps: int, random: Random
) -> None:
    config = TransformConfig(kind=kind, smooth_steps=steps)
    together = transform(config, windows)
    chosen = random.sample(range(len(windows)), random.randint(1, len(windows)))
    apart = transform(config, windows[chosen])
    assert np.array_equal(apart.values, together.values[chosen], equal_nan=True)
    assert np.array_equal(apart.offset, together.offset[chosen], equal_nan=True)
    assert np.array_equal(apart.factor, together.factor[chosen], equal_nan=True)


def naive_scaled_moves(window: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """(T, F) -> (T - 1 - steps, F), cell by cell."""
    moves = np.diff(window, axis=0)
    found = np.full((len(moves) - steps, window.shape[1]), np.nan)
    for step, sensor in np.ndindex(found.shape):
        before = np.abs(moves[step : step + steps, sensor])
        before = before[np.isfinite(before)]
        if len(before) >= min(LEAST_KNOWN_MOVES, steps) and before.sum() > 0:
            found[step, sensor] = moves[step + steps, sensor] / before.mean()
    return found


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_moves_are_in_units_of_how_far_their_sensor_moved_before(steps: int) -> None:
    generator = np.random.default_rng(steps)
    windows = generator.normal(size=(9, 10, 3)) * [0.1, 1.0, 40.0]
    windows[generator.random(windows.shape) < 0.15] = np.nan
    windows[2, :8, 1] = 5.0  # stands still, then moves: nothing says how far
    config = TransformConfig(kind="differences", scale_steps=steps)
    moved = transform(config, windows)
    assert moved.values.shape[1] == transformed_steps(config, windows.shape[1]) == 9 - steps
    for window, found in zip(windows, moved.values, strict=True):
        np.testing.assert_allclose(found, naive_scaled_moves(window, steps), rtol=1e-9)
    newest = moved.offset + moved.factor * moved.values[:, -1]
    told = np.isfinite(newest)
    assert told.any()
    np.testing.assert_allclose(newest[told], windows[:, -1][told])


def test_a_plant_that_grows_twice_as_loud_moves_as_before_in_units_of_itself() -> None:
    windows = np.random.default_rng(0).normal(size=(5, 12, 3))
    config = TransformConfig(kind="differences", scale_steps=6)
    np.testing.assert_allclose(transform(config, 2 * windows + 7).values, transform(config, windows).values)


def test_a_running_scale_is_one_of_differences() -> None:
    with pytest.raises(ValidationError, match='scale_steps = 6 needs kind = "differences"'):
        TransformConfig(kind="levels", scale_steps=6)


def test_standard_scales_to_mean_0_and_deviation_1_and_ignores_unknown_values() -> None:
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 7.0]])
    scaled = Scaler.learn(ScalerConfig(kind="standard"), values).apply(values)
    np.testing.assert_allclose(scaled, [[-1, np.nan], [1, -1], [np.nan, 1]])


def test_minmax_scales_to_0_and_1() -> None:
    values = np.array([[2.0], [6.0], [3.0]])
    np.testing.assert_allclose(Scaler.learn(ScalerConfig(kind="minmax"), values).apply(values).ravel(), [0, 1, 0.25])


def test_robust_is_not_moved_by_an_outlier_and_equals_standard_on_a_normal_sensor() -> None:
    values = np.random.default_rng(0).normal(10, 2, size=(20_000, 1))
    clean = Scaler.learn(ScalerConfig(kind="robust"), values)
    values[0] = 1e9
    assert Scaler.learn(ScalerConfig(kind="robust"), values).scale == pytest.approx(clean.scale, rel=1e-3)
    assert clean.scale[0] == pytest.approx(2, rel=0.03)


def test_robust_falls_back_to_the_deviation_where_half_of_the_values_are_equal() -> None:
    values = np.concatenate([np.zeros(90), np.ones(10)])[:, None]
    assert Scaler.learn(ScalerConfig(kind="robust"), values).scale[0] == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["standard", "minmax", "robust", "none"])
def test_a_constant_or_unknown_sensor_keeps_the_scale_1(kind: str) -> None:
    values = np.array([[5.1, np.nan], [5.1, np.nan], [5.1, np.nan]])
    assert Scaler.learn(ScalerConfig(kind=kind), values).scale.tolist() == [1.0, 1.0]


def test_the_clip_bounds_scaled_values_and_leaves_unknown_ones_unknown() -> None:
    scaler = Scaler(np.zeros(1), np.ones(1), clip=3.0)
    np.testing.assert_array_equal(scaler.apply(np.array([[9.0], [-9.0], [1.0], [np.nan]])).ravel(), [3, -3, 1, np.nan])


@given(
    npst.arrays(np.float64, (6, 2), elements=st.floats(-1e3, 1e3)), st.sampled_from(["standard", "minmax", "robust"])
)
def test_inverting_undoes_applying(values: NDArray[np.float64], kind: str) -> None:
    scaler = Scaler.learn(ScalerConfig(kind=kind), values)
    np.testing.assert_allclose(scaler.invert(scaler.apply(values)), values, atol=1e-6)
