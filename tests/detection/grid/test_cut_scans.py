"""Pieces of scans leave the grid as the general way does, and close the same steps with the same readings."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.detection.config import GridConfig, WindowConfig
from stream_detector.detection.grid import intake
from stream_detector.detection.grid.closed_steps import Closings, concatenate, select
from stream_detector.detection.grid.contents import EVENT_SENSOR
from stream_detector.detection.grid.cut_scans import take_cut_scans
from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.intake import Intake
from stream_detector.detection.grid.sorted_readings import Readings
from tests.support.properties import examples

ASSETS, SENSORS, STEP = 3, 4, 10.0
FIRST = 1000


def log(seed: int, length: int, chaos: float) -> Readings:
    """Scans of some assets, in which a reading is missing, twice, late, early or an event now and then."""
    rng = np.random.default_rng(seed)
    reached = np.full(ASSETS, FIRST)
    rows: list[tuple[int, int, float, float]] = []
    while len(rows) < length:
        slot = int(rng.integers(ASSETS))
        odd = rng.random() < chaos
        reached[slot] += int(rng.choice([0, 2, 3, 40])) if odd else 1
        within = float(rng.choice([0.0, 9.0])) if rng.random() < chaos else 0.0
        for sensor in rng.permutation(SENSORS).tolist():
            at = reached[slot] - (int(rng.integers(4)) if rng.random() < chaos / 4 else 0)
            kind = rng.random()
            if kind < chaos / 4:
                continue
            if kind < chaos / 2:
                rows.append((slot, EVENT_SENSOR, at * STEP + within, np.nan))
            value = np.nan if rng.random() < 0.1 else float(rng.normal())
            rows += [(slot, sensor, at * STEP + within, value)] * (2 if rng.random() < chaos / 4 else 1)
    slots, sensors, times, values = zip(*rows, strict=True)
    return Readings(
        np.array(slots), np.array(sensors), np.array(times, np.float64), np.array(values), np.arange(len(rows))
    )


def grid_of(lateness_steps: int, staleness_steps: int) -> Grid:
    config = GridConfig(
        step_seconds=STEP,
        lateness_seconds=lateness_steps * STEP,
        staleness_steps=staleness_steps,
        max_gap_steps=1,
        close="complete",
    )
    grid = Grid(config, WindowConfig(steps=3), SENSORS, slack_steps=20)
    for slot in range(ASSETS):
        grid.admit(slot, FIRST * STEP, 0)
    return grid


def state(grid: Grid) -> dict[str, np.ndarray]:
    found = {each.name: getattr(grid.positions, each.name)[:ASSETS] for each in fields(grid.positions)}
    for name in ("values", "reported", "event", "opened_offset"):
        found[name] = getattr(grid, name)[:ASSETS]
    return found


def taken(grid: Grid, driver: Intake, readings: Readings, offsets: np.ndarray) -> Closings:
    found = list(driver._take_pieces(readings, offsets))
    closings = concatenate(found)
    return select(closings, np.lexsort((closings.step, closings.slot)))


@settings(max_examples=examples(120), deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    st.integers(1, 6),
    st.sampled_from([(0, 3), (1, 3), (2, 4)]),
)
def test_pieces_leave_the_grid_as_the_general_way_does(
    seed: int, chaos: float, most: int, steps: tuple[int, int]
) -> None:
    rng, readings = np.random.default_rng(seed + 1), log(seed, 200, chaos)
    offsets = np.arange(len(readings)) * 3 + 7
    short, general = grid_of(*steps), grid_of(*steps)
    begin, way, other = 0, Intake(short), Intake(general)
    while begin < len(readings):
        end = begin + int(rng.integers(1, most + 1))
        part = readings.take(slice(begin, end))
        found = taken(short, way, part, offsets)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(intake, "take_cut_scans", lambda *_: None)
            wanted = taken(general, other, part, offsets)
        for name in found.__struct_fields__:
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
        ours, theirs = state(short), state(general)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)
        begin = end


def test_nearly_all_pieces_of_steady_scans_are_taken() -> None:
    grid, readings = grid_of(0, 3), log(1, 400, 0.0)
    driver, offsets, count = Intake(grid), np.arange(len(readings)), 0
    for begin in range(0, len(readings), 2):
        part = readings.take(slice(begin, begin + 2))
        if take_cut_scans(grid, part, offsets) is None:
            list(driver.take_readings(part, offsets))
        else:
            count += 2
    assert count > 0.9 * len(readings)
