"""Windows of files: where they lie, and what they are examples of."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig, LeadConfig, OperatingConfig, WindowConfig
from trainer.data.dataset import Dataset
from trainer.data.examples import Examples, cut_examples, not_running, row_steps, run_numbers

STEP_SECONDS = 120.0
LEAD = LeadConfig(from_steps=1, until_steps=2)


def dataset(
    steps: NDArray[np.int64] | range,
    labels: NDArray[np.bool_] | list[bool] | None = None,
    mark_events: bool = True,
    sensors: int = 2,
) -> Dataset:
    steps = np.asarray(steps, dtype=np.float64)
    values = np.arange(len(steps) * sensors, dtype=np.float64).reshape(len(steps), sensors)
    marked = None if labels is None else np.asarray(labels, dtype=bool)
    return Dataset("file.csv", "0" * 64, ("a", "b"), steps * STEP_SECONDS, values, marked, mark_events)


def cut(data: Dataset, steps: int = 3, lead: LeadConfig = LEAD) -> Examples:
    return cut_examples(
        data, GridConfig(step_seconds=STEP_SECONDS, lateness_seconds=120), WindowConfig(steps=steps), lead
    )


def naive_rows(steps: NDArray[np.int64], events: NDArray[np.bool_], width: int) -> list[int]:
    """Rows whose last `width` steps are all there, one row each, with no event among them."""
    rows_of = {int(step): row for row, step in enumerate(steps) if not events[row]}
    event_steps = {int(step) for row, step in enumerate(steps) if events[row]}
    return [
        row
        for step, row in rows_of.items()
        if all(back in rows_of and back not in event_steps for back in range(step - width + 1, step + 1))
    ]


@st.composite
def machine_logs(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    gaps = draw(st.lists(st.sampled_from([1] * 12 + [2, 14, 30, 31, 60, 70, 200]), min_size=30, max_size=220))
    steps = 1000 + np.cumsum(gaps)
    events = np.zeros(len(steps), dtype=bool)
    events[draw(st.lists(st.integers(0, len(steps) - 1), max_size=6))] = True
    return steps, events


@given(machine_logs())
def test_no_window_spans_a_gap_or_an_event_and_none_is_made_up_or_lost(
    log: tuple[NDArray[np.int64], NDArray[np.bool_]],
) -> None:
    steps, events = log
    examples = cut(dataset(steps, events))
    assert examples.rows.tolist() == naive_rows(steps, events, 3)


def test_a_window_holds_its_own_rows_in_order() -> None:
    data = dataset(range(10))
    examples = cut(data)
    for window, row in zip(examples.windows, examples.rows, strict=True):
        np.testing.assert_array_equal(window, data.values[row - 2 : row + 1])


def test_the_two_rows_before_a_break_call_for_an_alarm_and_the_break_itself_has_no_window() -> None:
    examples = cut(dataset(range(10), [row == 7 for row in range(10)]))
    assert examples.rows[examples.positive].tolist() == [5, 6]
    assert 7 not in examples.rows
    assert examples.normal.tolist() == [not positive for positive in examples.positive]


def test_a_window_with_an_anomalous_row_inside_is_not_learnt_from() -> None:
    examples = cut(dataset(range(10), [row == 4 for row in range(10)], mark_events=False))
    assert examples.rows[examples.positive].tolist() == [4]
    assert examples.rows[~examples.normal].tolist() == [4, 5, 6]


def test_a_file_without_labels_is_all_normal() -> None:
    examples = cut(dataset(range(5)))
    assert examples.positive is None
    assert examples.normal.all()


def test_in_a_table_every_row_is_a_window_of_its_own() -> None:
    data = dataset(range(4), [False, True, False, False], mark_events=False)
    examples = cut_examples(data, GridConfig(kind="table", step_seconds=1), WindowConfig(steps=1), LeadConfig())
    assert examples.rows.tolist() == [0, 1, 2, 3]
    assert examples.windows.shape == (4, 1, 2)
    assert examples.positive.tolist() == [False, True, False, False]


@pytest.mark.parametrize("until", [1, 3])
def test_the_lead_window_says_how_far_ahead_an_alarm_is_right(until: int) -> None:
    examples = cut(
        dataset(range(12), [row == 10 for row in range(12)]), lead=LeadConfig(from_steps=1, until_steps=until)
    )
    assert examples.rows[examples.positive].tolist() == list(range(10 - until, 10))


def test_no_window_is_of_two_runs_that_follow_each_other_at_once() -> None:
    runs = replace(dataset(range(10)), parts=np.repeat([0, 1], 5))
    assert cut(runs).rows.tolist() == [2, 3, 4, 7, 8, 9]


def of_two_assets(first: Dataset, second: Dataset) -> Dataset:
    codes = np.repeat([0, 1], [len(first), len(second)])
    return replace(
        first,
        times=np.concatenate([first.times, second.times]),
        values=np.concatenate([first.values, second.values]),
        labels=np.concatenate([first.labels, second.labels]),
        parts=codes,
        assets=("pm-1", "pm-2"),
        asset_rows=codes,
    )


@pytest.mark.slow
@given(machine_logs(), machine_logs(), st.booleans())
def test_each_of_two_assets_has_the_windows_and_labels_that_it_has_alone(
    log: tuple[NDArray[np.int64], NDArray[np.bool_]],
    other: tuple[NDArray[np.int64], NDArray[np.bool_]],
    mark_events: bool,
) -> None:
    alone = [dataset(steps, events, mark_events) for steps, events in (log, other)]
    both, (first, second) = cut(of_two_assets(*alone)), map(cut, alone)
    assert both.rows.tolist() == [*first.rows.tolist(), *(second.rows + len(alone[0])).tolist()]
    for name in ("windows", "positive", "normal"):
        expected = np.concatenate([getattr(first, name), getattr(second, name)])
        assert np.array_equal(getattr(both, name), expected, equal_nan=True)


def test_no_window_has_a_row_in_which_the_machine_does_not_run() -> None:
    data = dataset(range(12))
    data.values[4:6, 1] = 0
    rule = OperatingConfig(when="b > 0", hold_steps=1).rule(data.sensors)
    grid = GridConfig(step_seconds=STEP_SECONDS, lateness_seconds=120)
    examples = cut_examples(data, grid, WindowConfig(steps=3), LEAD, rule)
    idle = not_running(data, grid, rule)
    assert idle.nonzero()[0].tolist() == [4, 5, 6]
    assert examples.rows.tolist() == [2, 3, 9, 10, 11]
    steps = row_steps(data, grid)
    runs = run_numbers(data, steps, grid.max_gap_steps, idle)
    assert runs[3] < runs[7] == runs[11]
    assert len(set(run_numbers(data, steps, grid.max_gap_steps, not_running(data, grid, None)).tolist())) == 1
