"""Windows of a table: cut by the stream's grid, and the same as plain loops say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.detection.config import EpisodeConfig, GridConfig, WindowConfig
from stream_detector.detection.episodes import Move, next_move
from stream_detector.detection.grid.windows import Windows, cut
from tests.support.properties import examples

STEP = 120.0
BASE = 14_000_000


def naive_windows(
    steps: list[int], values: np.ndarray, events: set[int], grid: GridConfig, window: WindowConfig
) -> dict[int, np.ndarray]:
    """Newest step -> window, for a table with at most one row a step, every sensor reported in each row."""
    row_of = {step: row for row, step in enumerate(steps)}
    found: dict[int, np.ndarray] = {}
    run: list[int] = []
    for step in sorted({*steps, *events}):
        if step in events:
            run = []
            continue
        if run and step - run[-1] - 1 > grid.max_gap_steps:
            run = []
        run.append(step)
        if step - run[0] + 1 < window.shortest:
            continue
        part = np.full((window.steps, values.shape[1]), np.nan)
        for place in range(window.steps):
            at = step - window.steps + 1 + place
            for sensor in range(values.shape[1]):
                for source in range(at, max(run[0], at - grid.staleness_steps) - 1, -1):
                    if at >= run[0] and source in row_of and not np.isnan(values[row_of[source], sensor]):
                        part[place, sensor] = values[row_of[source], sensor]
                        break
        silent = range(step - grid.staleness_steps, step)
        if step - run[0] >= grid.staleness_steps and not any(at in row_of for at in silent):
            part[:] = np.nan
        found[step] = part
    return found


@settings(max_examples=examples(60))
@given(st.integers(0, 10**6), st.integers(0, 80), st.integers(1, 6), st.integers(0, 3), st.sampled_from([1, 3, 9]))
def test_a_table_is_cut_as_plain_loops_cut_it(seed: int, rows: int, width: int, gap: int, shortest: int) -> None:
    rng = np.random.default_rng(seed)
    steps = (BASE + np.flatnonzero(rng.random(rows) > 0.2)).tolist()
    values = rng.normal(size=(len(steps), 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    events = {int(step) for step in steps if rng.random() < 0.1}
    grid = GridConfig(step_seconds=STEP, staleness_steps=3, max_gap_steps=gap)
    window = WindowConfig(steps=width, min_steps=shortest)
    times = np.array(steps) * STEP
    found = cut(times, values, np.array(sorted(events)) * STEP, grid, window)
    wanted = naive_windows(steps, values, events, grid, window)
    assert found.steps.tolist() == sorted(wanted)
    for newest, part in zip(found.steps.tolist(), found.values, strict=True):
        np.testing.assert_array_equal(part, wanted[newest])
    assert [steps[row] for row in found.rows] == found.steps.tolist()
    assert (found.times == found.steps * STEP).all()
    assert (found.run_position >= window.shortest - 1).all()


def test_a_stride_keeps_every_second_window() -> None:
    times, values = np.arange(500) * STEP, np.random.default_rng(1).normal(size=(500, 3))
    grid = GridConfig(step_seconds=STEP)
    every = cut(times, values, times[[100, 300]], grid, WindowConfig(steps=7))
    second = cut(times, values, times[[100, 300]], grid, WindowConfig(steps=7, stride=2))
    kept = (every.steps + 1) % 2 == 0
    for name in Windows.__struct_fields__:
        np.testing.assert_array_equal(getattr(second, name), getattr(every, name)[kept])


def test_an_empty_table_has_no_windows() -> None:
    windows = cut(np.empty(0), np.empty((0, 4)), np.empty(0), GridConfig(step_seconds=STEP), WindowConfig(steps=3))
    assert windows.values.shape == (0, 3, 4)


@pytest.mark.parametrize("step_seconds", [0.1, 0.3, 1 / 3, 60.0, 86_400.0])
def test_times_on_the_grid_keep_their_step_whatever_floats_make_of_them(step_seconds: float) -> None:
    first = int(1.7e9 / step_seconds)
    times = np.array([float(f"{(first + number) * step_seconds:.6f}") for number in range(1000)])
    grid = GridConfig(step_seconds=step_seconds)
    windows = cut(times, np.ones((1000, 1)), np.empty(0), grid, WindowConfig(steps=1))
    assert windows.steps.tolist() == list(range(first, first + 1000))


def test_samples_of_a_fast_sensor_are_consecutive_although_their_times_are_rounded() -> None:
    times = np.round(1.7e9 + np.arange(5000) / 12_000, 6)
    grid = GridConfig(kind="samples", step_seconds=1 / 12_000)
    windows = cut(times, np.arange(5000.0)[:, None], np.empty(0), grid, WindowConfig(steps=500, stride=500))
    assert 9 <= len(windows) <= 10
    assert not np.isnan(windows.values).any()
    assert (np.diff(windows.values[:, :, 0], axis=1) == 1).all()


def test_an_alarm_is_held_then_cleared_and_renewed_at_its_greatest_length() -> None:
    config = EpisodeConfig(hold_steps=3, max_steps=5)
    moves, raised = [], None
    for step, above in enumerate([False, True, False, False, False, True, True, True, True, True, True, False]):
        move = next_move(raised, step, above, config)
        raised = {Move.RAISE: step, Move.RENEW: step, Move.CLEAR: None, Move.NONE: raised}[move]
        moves.append(move.name)
    assert moves == [
        "NONE", "RAISE", "NONE", "NONE", "CLEAR", "RAISE", "NONE", "NONE", "NONE", "NONE", "RENEW", "NONE"
    ]  # fmt: skip
