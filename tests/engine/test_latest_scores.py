"""The newest scored step of each asset."""

import math
import warnings

import numpy as np

from stream_detector.engine.assets.latest_scores import LatestScores
from stream_detector.engine.outcome import ScoredSteps


def test_numbers_beyond_single_precision_are_kept_as_infinite_and_warn_nobody() -> None:
    one, number, huge = np.ones(1, np.int64), np.ones(1), np.full((1, 2), 1e300)
    yes = np.ones(1, np.bool_)
    latest = LatestScores.of(sensors=2)
    latest.begin(1, busy=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        latest.note(ScoredSteps(one, one, number, number, yes, huge, -huge, huge, one, yes))
    found = latest.read(1)
    assert found.newest.tolist() == [math.inf, math.inf]
    assert found.expected.tolist() == [-math.inf, -math.inf]
