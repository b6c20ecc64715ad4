"""One asset as it stands now."""

import math

import numpy as np
import pytest
from msgspec.structs import replace

from stream_detector.engine.outcome import AssetStatus

NONE = np.zeros(0, np.float32)
STATUS = AssetStatus("m", 0, 60.0, 1.5, math.nan, 2.0, False, 0, False, [("x1", 1.0)], 60.0, NONE, NONE)


def test_an_asset_without_a_head_that_does_not_change_stands_as_it_stood() -> None:
    assert replace(STATUS, probability=float("nan")) == STATUS


@pytest.mark.parametrize("change", [{"score": 1.6}, {"probability": 0.5}, {"top_shares": []}, {"closed_until": 60.0}])
def test_one_that_changes_stands_otherwise(change: dict[str, object]) -> None:
    assert replace(STATUS, **change) != STATUS
