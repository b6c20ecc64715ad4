"""Snapshots: none is larger than what the topics are checked for."""

import pytest

from stream_detector.engine.engine import Engine
from stream_detector.engine.snapshots import largest_bytes
from tests.engine.test_engine import GRIDS, LIMITS, batches, random_log


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_no_snapshot_is_larger_than_the_bound_that_topics_are_checked_for(name: str) -> None:
    engine, most = Engine(GRIDS[name], LIMITS), largest_bytes(GRIDS[name], LIMITS.window_bytes)
    found = [
        len(data)
        for batch in batches(random_log(3, 600, 0.3), [100, 400])
        for _, data in engine.process(batch).snapshots
        if data is not None
    ]
    assert 0 < max(found) <= most
