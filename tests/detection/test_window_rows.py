"""Windows that share rows: they score and read as the same windows one by one, and each row is kept once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_detector.detection.config import (
    GridConfig,
    ModelConfig,
    ScalerConfig,
    ScoreConfig,
    TransformConfig,
    WindowConfig,
)
from stream_detector.detection.grid.closed_steps import STEP, Closings, concatenate
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.table import closings_of_table
from stream_detector.detection.grid.windows import gather
from stream_detector.detection.models.registry import build
from stream_detector.detection.scaling import Scaler, transformed_steps
from stream_detector.detection.scoring import Scorer
from stream_detector.detection.window_rows import WindowRows
from tests.support.properties import examples

STEPS, SENSORS = 6, 3

TRANSFORMS = [
    TransformConfig(),
    TransformConfig(smooth_steps=2),
    TransformConfig(kind="differences"),
    TransformConfig(kind="instance"),
]


def drawn(seed: int, windows: int, holes: float = 0.1) -> WindowRows:
    """Windows of random rows, which share some of them, in any order."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(windows + STEPS, SENSORS))
    rows[rng.random(rows.shape) < holes] = np.nan
    return WindowRows(rows, rng.integers(STEPS - 1, len(rows), windows), STEPS)


def loops(windows: WindowRows) -> NDArray[np.float64]:
    return np.array([windows.rows[end - windows.steps + 1 : end + 1] for end in windows.end.tolist()])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda each: f"{each.kind}-{each.smooth_steps}")
@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10_000), windows=st.sampled_from([1, 2, 40, 600]), holes=st.sampled_from([0.0, 0.01, 0.4]))
def test_windows_that_share_rows_have_the_scores_of_windows_apart(
    transform: TransformConfig, seed: int, windows: int, holes: float
) -> None:
    shared = drawn(seed, windows, holes)
    scaler = Scaler.learn(ScalerConfig(), np.random.default_rng(1).normal(2.0, 3.0, (50, SENSORS)))
    config = ModelConfig(kind="lstm-autoencoder", options={"hidden": [4]})
    model = build(config, transformed_steps(transform, STEPS), SENSORS)
    scorer = Scorer(transform, scaler, model, ScoreConfig())
    found, wanted = scorer.score(shared), scorer.score(loops(shared))
    for name in found.__struct_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), strict=True)


@given(seed=st.integers(0, 10_000), chosen=st.integers(0, 2**5 - 1))
def test_windows_are_cut_chosen_joined_and_replaced_as_their_values_are(seed: int, chosen: int) -> None:
    mask = np.array([chosen >> place & 1 for place in range(5)], np.bool_)
    windows, others = drawn(seed, 5), drawn(seed + 1, 2)
    same = np.testing.assert_array_equal
    same(windows.values, loops(windows))
    same(windows.newest, loops(windows)[:, -1])
    same(windows.select(mask).values, loops(windows)[mask])
    same(WindowRows.joined([windows, others, windows]).values, np.concatenate([windows.values, others.values] * 2)[:12])
    same(WindowRows.apart(windows.values).values, windows.values)
    other = np.full((int(mask.sum()), STEPS, SENSORS), 7.0)
    wanted = loops(windows)
    wanted[mask] = 7.0
    same(windows.replaced(mask, other).values, wanted)
    assert windows.value_bytes == windows.values.nbytes


def closed(values: NDArray[np.float64], width: int) -> tuple[Grid, Closings]:
    """A grid that has read a row a step, and the steps that have closed."""
    grid = Grid(GridConfig(step_seconds=1.0, staleness_steps=2), WindowConfig(steps=width), SENSORS)
    times = np.arange(len(values), dtype=np.float64)
    closings = concatenate(list(closings_of_table(grid, times, values, np.empty(0))))
    return grid, closings


def test_rows_that_neighbours_share_are_read_once() -> None:
    values = np.random.default_rng(0).normal(size=(40, SENSORS))
    grid, closings = closed(values, 5)
    chosen = closings.kind == STEP
    chosen[:4] = chosen[20:32] = False
    ends = Closings(*(getattr(closings, name)[chosen] for name in closings.__struct_fields__))
    found = gather(grid, WindowConfig(steps=5), ends)
    np.testing.assert_array_equal(found.values, [values[step - 4 : step + 1] for step in ends.step.tolist()])
    assert len(found.rows) == (20 - 4 + 4) + (8 + 4)


def test_a_hole_costs_the_windows_it_lies_in_alone() -> None:
    values = np.random.default_rng(0).normal(size=(40, SENSORS))
    values[25, 1] = np.nan
    grid, closings = closed(values, 5)
    ends = Closings(*(getattr(closings, name)[10:] for name in closings.__struct_fields__))
    found = gather(grid, WindowConfig(steps=5), ends)
    filled = values.copy()
    filled[25, 1] = values[24, 1]
    np.testing.assert_array_equal(found.values, [filled[step - 4 : step + 1] for step in ends.step.tolist()])
    assert len(found.rows) == 30 + 4 + 5 * 5


@settings(max_examples=examples(400), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(2, 4),
    stride=st.integers(1, 2),
    holes=st.sampled_from([0.05, 0.2, 0.5]),
    unheard=st.sampled_from([0.1, 1.0]),
)
def test_windows_that_close_together_are_those_that_close_one_by_one(
    seed: int, width: int, stride: int, holes: float, unheard: float
) -> None:
    rng, window = np.random.default_rng(seed), WindowConfig(steps=width, stride=stride)
    values = rng.normal(size=(20, SENSORS))
    values[rng.random(values.shape) < holes] = np.nan
    grid = Grid(GridConfig(step_seconds=1.0, staleness_steps=1), window, SENSORS)
    grid.admit(0, 0.0, 0)
    grid.open_rows(np.array([0]), np.array([19]))
    grid.value_rows[grid.rows(np.zeros(20, int), np.arange(20))] = values
    heard = rng.random(values.shape) > unheard
    grid.reported_rows[grid.rows(np.zeros(20, int), np.arange(20))] = heard | ~np.isnan(values)
    steps = np.arange(width + 1, width + 2 + int(rng.integers(1, 6)))
    steps = steps[(steps + 1) % stride == 0]
    nought = np.zeros_like(steps)
    ends = Closings(np.full(len(steps), STEP, np.int8), nought, steps, nought, nought)
    together = gather(grid, window, ends).values
    for place in range(len(steps)):
        one = Closings(*(getattr(ends, name)[place : place + 1] for name in ends.__struct_fields__))
        np.testing.assert_array_equal(together[place], gather(grid, window, one).values[0])
