from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_detector.detection.head.event_clock import NAMES
from stream_detector.detection.head.features import NO_SENSOR, FeatureConfig, Features, FeatureState
from tests.support.properties import examples

SENSORS = ("a", "grade", "b")
CONFIG = FeatureConfig(lags=(1, 3), volatility_steps=(2,), scale_half_life_steps=10, largest=1, grade="grade")
STEP = 120.0


def walk(
    features: Features,
    values: NDArray[np.float64],
    starts: Collection[int] = (),
    events: Collection[int] = (),
) -> tuple[NDArray[np.float32], FeatureState]:
    """Features of every step of a walk; a run starts at 0, at `starts`, and after each event."""
    state, rows, position = features.fresh(), [], -1
    for i, row in enumerate(values):
        position = 0 if i in starts or i - 1 in events or position < 0 else position + 1
        rows.append(features.advance(state, i * STEP, np.asarray(row, float), position, i in events))
    return np.array(rows), state


def naive_scale(column: NDArray[np.float64], until: int, config: FeatureConfig, breaks: set[Any]) -> float | np.float64:
    """The decayed mean |difference| of steps before `until`, written out step by step."""
    size = weight = 0.0
    decay = 0.5 ** (1 / config.scale_half_life_steps)
    for i in range(1, until):
        if i in breaks or np.isnan(column[i]) or np.isnan(column[i - 1]):
            continue
        step = abs(column[i] - column[i - 1])
        if weight * (1 - decay) > 1 - decay**30:
            step = min(step, config.jump_limit * size / weight + 1e-12)
        size, weight = decay * size + step, decay * weight + 1
    return size / weight if weight and size else np.nan


@settings(max_examples=examples(30))
@given(st.integers(0, 10_000), st.sets(st.integers(1, 39), max_size=4))
def test_features_agree_with_their_definition_written_out(seed: int, starts: set[Any]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(40, 3)).cumsum(axis=0)
    values[rng.random(values.shape) < 0.05] = np.nan
    features = Features(CONFIG, SENSORS)
    found, _ = walk(features, values, starts)
    names = list(features.names)
    for step in (1, 5, 22, 39):
        began = max([0, *(s for s in starts if s <= step)])
        for sensor, column in (("a", 0), ("b", 2)):
            scale = naive_scale(values[:, column], step, CONFIG, starts)
            for lag in CONFIG.lags:
                old = values[step - lag, column] if step - lag >= began else np.nan
                moved = (values[step, column] - old) / (scale * np.sqrt(lag))
                expected = (np.tanh(moved / 2), np.log1p(abs(moved)))
                own = (found[step, names.index(f"{kind} {lag} {sensor}")] for kind in ("signed", "size"))
                np.testing.assert_allclose(list(own), expected, rtol=1e-5, atol=1e-6)


def test_no_difference_crosses_a_gap_or_an_event() -> None:
    values = np.array(
        [[0.0, 1, 0], [1, 1, 1], [2, 1, 3], [900, 1, 900], [901, 1, 902], [5000, 1, 5000], [5001, 1, 5001]]
    )
    features = Features(CONFIG, SENSORS)
    found, _ = walk(features, values, starts=(3,), events=(4,))
    signed = [i for i, name in enumerate(features.names) if name.startswith(("signed", "size"))]
    assert np.isnan(found[3][signed]).all()  # first of a run
    assert np.isnan(found[5][signed]).all()  # right after an event
    assert np.isfinite(found[4][features.names.index("size 1 a")])  # the event's own step belongs to the run it ends


def test_an_event_counts_only_from_the_next_step_on() -> None:
    features = Features(CONFIG, SENSORS)
    found, _ = walk(features, np.zeros((4, 3)), events=(1,))
    since, counted = features.names.index("since event"), features.names.index("events in 1 h")
    assert found[1][counted] == 0
    assert found[2][counted] == pytest.approx(np.log1p(1))
    assert found[2][since] == pytest.approx(np.log1p(2 / 10))


def test_a_wild_jump_moves_the_scale_by_a_limited_amount() -> None:
    values = np.zeros((200, 3))
    values[:, 0] = np.arange(200) % 2
    calm = walk(Features(CONFIG, SENSORS), values)[1].scale[0]
    values[150, 0] = 1e9
    assert walk(Features(CONFIG, SENSORS), values[:152])[1].scale[0] < calm * 4


def test_a_missing_sensor_leaves_the_others_as_they_are() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(30, 3)).cumsum(axis=0)
    features = Features(CONFIG, SENSORS)
    whole, _ = walk(features, values)
    values[:, 2] = np.nan
    holed, _ = walk(features, values)
    own = [i for i, sensor in enumerate(features.sensor_of) if sensor == 0]
    np.testing.assert_array_equal(whole[:, own], holed[:, own])
    assert np.isnan(holed[-1][features.names.index("size 1 b")])


def test_the_grade_has_no_differences_and_its_clock_starts_with_a_change() -> None:
    features = Features(CONFIG, SENSORS)
    assert not any(name.endswith(" grade") for name in features.names[: -len(NAMES)])
    assert features.sensor_of[features.names.index("grade")] == NO_SENSOR
    values = np.zeros((6, 3))
    values[3:, 1] = 7
    found, _ = walk(features, values)
    since = features.names.index("since grade")
    assert found[2][since] == pytest.approx(np.log1p(288))
    assert found[3][since] == 0


def test_an_unknown_grade_sensor_is_refused() -> None:
    with pytest.raises(ValueError, match="x9"):
        Features(FeatureConfig(grade="x9"), SENSORS)


def test_without_a_clock_the_other_features_stay_as_they_are() -> None:
    rng = np.random.default_rng(8)
    values, events = rng.normal(size=(40, 3)), {11, 12, 30}
    with_clock = Features(CONFIG, SENSORS)
    without = Features(CONFIG.model_copy(update={"clock": False}), SENSORS)
    found, wanted = walk(without, values, (5,), events)[0], walk(with_clock, values, (5,), events)[0]
    np.testing.assert_array_equal(found, wanted[:, : -len(NAMES)])
    assert without.names == with_clock.names[: -len(NAMES)]
    assert len(without.sensor_of) == len(without.movement) == len(without.names)


def test_movement_marks_what_only_grows_when_a_sensor_moves_more() -> None:
    features = Features(CONFIG, SENSORS)
    calm = walk(features, np.tile([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]], (20, 1)))[0][-1]
    wild = np.tile([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]], (20, 1))
    wild[-1] = [9.0, 1.0, 5.0]
    moved = walk(features, wild)[0][-1]
    marked = np.array([not name.startswith("signed") and name not in NAMES for name in features.names])
    np.testing.assert_array_equal(features.movement, marked)
    assert (moved[features.movement] >= calm[features.movement]).all()
