"""Snapshots: none is larger than what the topics are checked for."""

import numpy as np
import pytest

from stream_detector.detection.grid.grid import Grid
from stream_detector.detection.grid.slot_state import read_slot
from stream_detector.engine.assets.asset_windows import AssetWindows, pack
from stream_detector.engine.assets.latest_scores import LatestScore
from stream_detector.engine.assets.snapshots import largest_bytes, most_window_bytes
from stream_detector.engine.engine import Engine
from stream_detector.engine.limits import Limits
from tests.engine.test_engine import BASE, GRIDS, LIMITS, batches, make_rules, random_log
from tests.support.properties import fast_first


@pytest.mark.parametrize("name", fast_first(sorted(GRIDS), 4))
def test_no_snapshot_is_larger_than_the_bound_that_topics_are_checked_for(name: str) -> None:
    engine, most = Engine(GRIDS[name], LIMITS), largest_bytes(GRIDS[name], LIMITS)
    found = [
        len(data)
        for batch in batches(random_log(3, 600, 0.3), [100, 400])
        for _, data in engine.process(batch).snapshots
        if data is not None
    ]
    assert 0 < max(found) <= most


def test_a_small_recipe_asks_for_small_messages_and_a_full_ring_fits_all_the_same() -> None:
    spec, limits = make_rules(window={"steps": 4}, grid={"lateness_seconds": 120.0}), Limits()
    grid = Grid(spec.grid, spec.window, len(spec.sensors), limits.slack_steps, limits.slack_cells)
    grid.admit(0, BASE, 0)
    grid.positions.newest[0] = grid.positions.horizon[0] - grid.history + grid.ring - 1
    rng = np.random.default_rng(1)
    grid.values[:] = rng.normal(size=grid.values.shape)
    grid.reported[:] = rng.random(grid.reported.shape) < 0.5
    latest = LatestScore(*[0] * len(LatestScore.__struct_fields__))
    full = len(pack(AssetWindows(read_slot(grid, 0), 10**9, [], latest)))
    assert grid.ring * len(spec.sensors) * 8 * 0.9 < full < most_window_bytes(spec, limits)
    assert largest_bytes(spec, limits) < 200_000
