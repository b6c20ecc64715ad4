"""Scores of windows: the same in every batch, masked cells count nothing, and equal to a loop over cells."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from stream_detector.detection.config import ModelConfig, ScalerConfig, ScoreConfig, TransformConfig
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import ModelOutput, build
from stream_detector.detection.scaling import Scaler
from stream_detector.detection.scoring import SCALED_LIMIT, Scorer, model_inputs
from tests.support.properties import examples

SENSORS = 3
LEVELS = TransformConfig()
IDENTITY = Scaler(np.zeros(SENSORS), np.ones(SENSORS))


class Draws:
    """A model that draws the same value into the newest `steps` steps of every window."""

    def __init__(self, value: float = 0.0, steps: int | None = None) -> None:
        self.value, self.steps = value, steps

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        steps = self.steps or windows.shape[1]
        return ModelOutput(reconstruction=np.full((len(windows), steps, windows.shape[2]), self.value, np.float32))

    def arrays(self) -> Any:
        return {}

    def restore(self, arrays: Any) -> None:
        pass


class Answers(Draws):
    """A model with errors or a score of its own."""

    def __init__(self, **output: Callable[..., Any]) -> None:
        self.output = output

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        return ModelOutput(**{name: np.full(shape(windows), 2.0) for name, shape in self.output.items()})


def scorer(
    model: Answers | Draws, transform: TransformConfig = LEVELS, scaler: Scaler = IDENTITY, **score: Any
) -> Scorer:
    return Scorer(transform, scaler, model, ScoreConfig(**score))


def naive_errors(
    windows: NDArray[np.float64], drawn: float, config: ScoreConfig
) -> list[list[None] | list[np.float64 | None]]:
    """(B, F) with loops over cells, None for a sensor without a known cell."""
    result = []
    for window in windows:
        row = []
        for sensor in range(window.shape[1]):
            cells = window[-1:, sensor] if config.steps == "newest" else window[:, sensor]
            known = [cell for cell in cells if np.isfinite(cell)]
            errors = [abs(c - drawn) if config.error == "absolute" else (c - drawn) ** 2 for c in known]
            row.append(sum(errors) / len(errors) if errors else None)
        result.append(row)
    return result


def random_windows(seed: int, count: int, steps: int = 5) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    windows = generator.normal(size=(count, steps, SENSORS)).astype(np.float32).astype(np.float64)
    windows[generator.random(windows.shape) < 0.3] = np.nan
    return windows


@given(
    st.integers(0, 10_000),
    st.sampled_from(["squared", "absolute"]),
    st.sampled_from(["mean", "newest"]),
    st.sampled_from(["mean", "max"]),
)
def test_errors_and_score_equal_a_loop_over_the_known_cells(seed: int, error: str, steps: str, sensors: str) -> None:
    config = ScoreConfig(error=error, steps=steps, sensors=sensors)
    windows = random_windows(seed, 4)
    scored = Scorer(TransformConfig(), IDENTITY, Draws(0.5), config).score(windows)
    for found, score, naive in zip(scored.attribution, scored.score, naive_errors(windows, 0.5, config), strict=True):
        known = [value for value in naive if value is not None]
        np.testing.assert_allclose(found, [value or 0.0 for value in naive], rtol=1e-5, atol=1e-9)
        expected = (max(known) if sensors == "max" else sum(known) / len(known)) if known else 0.0
        assert score == pytest.approx(expected, rel=1e-5)


def test_a_masked_cell_changes_no_error_whatever_the_model_draws_there() -> None:
    windows = np.ones((1, 5, SENSORS))
    windows[0, 2, 1] = np.nan
    assert scorer(Draws(1.0)).score(windows).attribution.tolist() == [[0, 0, 0]]
    assert scorer(Draws(3.0)).score(windows).attribution.tolist() == [[4, 4, 4]]


def test_a_model_may_draw_the_newest_steps_alone() -> None:
    windows = np.zeros((1, 5, SENSORS))
    windows[0, -2:] = 2.0
    assert scorer(Draws(0.0, steps=2)).score(windows).score.tolist() == [4.0]


def test_a_score_or_errors_of_the_models_own_are_taken_over() -> None:
    windows = np.zeros((2, 5, SENSORS))
    windows[1, :, 0] = np.nan
    own_errors = scorer(Answers(errors=lambda w: (len(w), w.shape[2]))).score(windows)
    assert own_errors.attribution.tolist() == [[2, 2, 2], [0, 2, 2]]
    assert own_errors.score.tolist() == [2, 2]
    own_score = scorer(Answers(score=len)).score(windows)
    assert own_score.score.tolist() == [2, 2]
    assert np.isnan(own_score.expected).all()


def test_the_expected_value_is_in_sensor_units() -> None:
    windows = np.full((1, 4, SENSORS), 20.0)
    scaler = Scaler(np.full(SENSORS, 10.0), np.full(SENSORS, 5.0))
    levels = scorer(Draws(1.0), scaler=scaler).score(windows)
    assert levels.expected.tolist() == [[15, 15, 15]]
    differences = scorer(Draws(1.0), transform=TransformConfig(kind="differences"), scaler=scaler).score(windows)
    assert differences.expected.tolist() == [[35, 35, 35]]


def test_an_absurd_reading_gives_a_large_finite_score() -> None:
    windows = np.zeros((1, 4, SENSORS))
    windows[0, -1, 0] = 1e300
    score = scorer(Draws(0.0)).score(windows).score
    assert np.isfinite(score).all()
    assert score[0] > 1e9


def test_no_windows_give_no_scores() -> None:
    scored = scorer(Draws()).score(np.empty((0, 4, SENSORS)))
    assert scored.score.shape == (0,)
    assert scored.attribution.shape == scored.expected.shape == (0, SENSORS)


def naive_inputs(scaler: Scaler, windows: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """As `model_inputs`, cell by cell and in float64 to the end."""
    inputs, known = np.zeros(windows.shape, np.float32), np.zeros(windows.shape, np.bool_)
    for window, step, sensor in np.ndindex(windows.shape):
        own = (window, sensor) if scaler.center.ndim == 2 else (sensor,)
        value, center, scale = windows[window, step, sensor], scaler.center[own], scaler.scale[own]
        if np.isfinite(value) and np.isfinite(center):
            scaled = (value - center) / scale
            if scaler.clip is not None:
                scaled = min(max(scaled, -scaler.clip), scaler.clip)
            known[window, step, sensor] = True
            inputs[window, step, sensor] = np.float32(min(max(scaled, -SCALED_LIMIT), SCALED_LIMIT))
    return inputs, known


@settings(max_examples=examples(100))
@given(
    seed=st.integers(0, 10_000),
    clip=st.sampled_from([None, 0.3, 2.0, 1e5, 3e6, 1e39]),
    odd=st.lists(
        st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e300, 4e38, 1e6, -1.0000000001e6, 7.0]), max_size=4
    ),
    machines=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:overflow encountered in scalar divide")
def test_inputs_have_the_bits_of_a_loop_over_cells(
    seed: int, clip: float | None, odd: list[float], machines: bool
) -> None:
    generator = np.random.default_rng(seed)
    windows = generator.normal(size=(3, 4, SENSORS))
    for value in odd:
        windows[tuple(generator.integers(windows.shape))] = value
    shape = (3, SENSORS) if machines else (SENSORS,)
    scaler = Scaler(generator.normal(size=shape), generator.uniform(0.5, 2.0, size=shape), clip)
    if machines and generator.random() < 0.5:
        scaler.center[1, 2] = np.nan
    for found, wanted in zip(model_inputs(scaler, windows), naive_inputs(scaler, windows), strict=True):
        assert found.dtype == wanted.dtype
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("hidden", [[2], [16, 8], [32, 16]])
@settings(max_examples=examples(25))
@given(seed=st.integers(0, 10_000))
def test_a_window_scores_the_same_bits_in_every_batch_and_order(hidden: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    model = build(ModelConfig(options={"hidden": hidden}), 5, SENSORS)
    assert isinstance(model, Network)
    model.restore(model.untrained(generator))
    windows = random_windows(seed, 300)
    subject = Scorer(
        TransformConfig(), Scaler.learn(ScalerConfig(), windows.reshape(-1, SENSORS)), model, ScoreConfig()
    )
    together = subject.score(windows)
    chosen = generator.permutation(300)[: generator.integers(1, 60)]
    apart = subject.score(windows[chosen])
    assert np.array_equal(apart.score, together.score[chosen])
    assert np.array_equal(apart.attribution, together.attribution[chosen])
    assert np.array_equal(apart.expected, together.expected[chosen], equal_nan=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["levels", "differences", "centred", "instance"])
@pytest.mark.parametrize("value", [1e154, 1e300, 1.7e308])
def test_a_reading_that_no_arithmetic_bears_gives_a_finite_score_and_no_infinite_expectation(
    kind: str, value: float
) -> None:
    windows = random_windows(7, 4)
    windows[1, 2] = windows[2, -1] = value
    scored = scorer(Draws(0.3), TransformConfig(kind=kind, smooth_steps=2)).score(windows)
    assert np.isfinite(scored.score).all()
    assert np.isfinite(scored.attribution).all()
    assert not np.isinf(scored.expected).any()
    assert np.isfinite(scored.expected[0]).all()


def test_errors_in_units_of_their_sensor_weigh_the_same() -> None:
    windows = np.random.default_rng(0).normal(size=(6, 4, SENSORS))
    plain = scorer(Draws()).score(windows)
    usual = np.array([0.5, 2.0, 10.0])
    found = scorer(Draws(), scaler=replace(IDENTITY, usual_error=usual), standardise=True).score(windows)
    np.testing.assert_allclose(found.attribution, plain.attribution / usual)
    np.testing.assert_allclose(found.score, (plain.attribution / usual).mean(axis=1))
