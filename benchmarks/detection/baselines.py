"""What a detector must beat: trivial and classical scorers, fitted on the same rows and judged by the same rule.

Each takes the normal rows to learn from and the rows to score, and returns one score a row, higher = more anomalous.
All are causal: a row's score depends on the training rows and on rows up to itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Baseline = Callable[[FloatArray, FloatArray, int], FloatArray]
"""(train (N, F), rows (M, F), seed) -> scores (M,). NaN = missing."""

MOVING_ROWS = 60
TREES = 100
HALF_SPACE_WINDOW = 250
HALF_SPACE_MAX_TRAIN = 5_000
"""River learns row by row in Python; more rows than these do not change its trees."""


def always(train: FloatArray, rows: FloatArray, seed: int) -> FloatArray:  # noqa: ARG001 - learns nothing
    """Alarm on every row."""
    return np.full(len(rows), np.inf)


def never(train: FloatArray, rows: FloatArray, seed: int) -> FloatArray:  # noqa: ARG001 - learns nothing
    """Alarm on no row."""
    return np.full(len(rows), -np.inf)


def root_mean_square(train: FloatArray, rows: FloatArray, seed: int) -> FloatArray:  # noqa: ARG001 - nothing is drawn
    """Size of a row around the training mean, in sensor units: the classical vibration alarm when a row is a window."""
    deviation = np.nan_to_num(rows - np.nanmean(train, axis=0))
    size: FloatArray = np.sqrt((deviation**2).mean(axis=1))
    return size


def moving_z_score(train: FloatArray, rows: FloatArray, seed: int) -> FloatArray:  # noqa: ARG001 - nothing is drawn
    """The largest |value - mean of the rows before| over the sensors, in standard deviations of the rows before.

    The last rows of the training part are the history of the first ones scored; a floor on the standard deviation of a
    tenth of the training one keeps a sensor that stood still from alarming at its first move.
    """
    history = np.vstack([train[-MOVING_ROWS:], rows])
    known = np.isfinite(history)
    filled = np.where(known, history, 0.0)
    # A large common level would cost the running sum of squares its digits.
    level = np.nan_to_num(np.nanmean(train, axis=0))
    filled = np.where(known, history - level, 0.0)
    count = np.maximum(_moving_sum(known.astype(np.float64)), 1.0)
    mean = _moving_sum(filled) / count
    variance = np.maximum(_moving_sum(filled**2) / count - mean**2, 0.0)
    floor = 0.1 * np.nan_to_num(np.nanstd(train, axis=0)) + 1e-9
    score = np.where(known, np.abs(filled - mean) / np.maximum(np.sqrt(variance), floor), 0.0)
    largest: FloatArray = score.max(axis=1)[len(history) - len(rows) :]
    return largest


def isolation_forest(train: FloatArray, rows: FloatArray, seed: int) -> FloatArray:
    """Liu, Ting and Zhou 2008, "Isolation forest"."""
    from sklearn.ensemble import IsolationForest

    center = np.nan_to_num(np.nanmedian(train, axis=0))
    forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(_filled(train, center))
    scores: FloatArray = -forest.score_samples(_filled(rows, center))
    return scores


def t2_and_q(train: FloatArray, rows: FloatArray, seed: int) -> FloatArray:
    """Principal components with both control statistics (see `detection.principal_components`)."""
    from stream_detector.detection.config import ScalerConfig
    from stream_detector.detection.models.fixed_batches import run_in_batches
    from stream_detector.detection.models.principal_components import PrincipalComponents
    from stream_detector.detection.scaling import Scaler

    scaler = Scaler.learn(ScalerConfig(), train)

    def windows(values: FloatArray) -> NDArray[np.float32]:
        return np.nan_to_num(scaler.apply(values))[:, None].astype(np.float32)

    model = PrincipalComponents(PrincipalComponents.Options(), steps=1, sensors=train.shape[1])
    learnt = windows(train)
    model.learn(learnt, np.ones(learnt.shape, bool), np.zeros(len(learnt), bool), seed)
    scored = windows(rows)
    score = run_in_batches(model, scored, np.ones(scored.shape, bool)).score
    assert score is not None
    return score


def half_space_trees(train: FloatArray, rows: FloatArray, seed: int) -> FloatArray:
    """Tan, Ting and Liu 2011, "Fast anomaly detection for streaming data", as in river; it goes on learning."""
    from river.anomaly import HalfSpaceTrees

    low, high = np.nanmin(train, axis=0), np.nanmax(train, axis=0)
    scale = np.where(high > low, high - low, 1.0)
    trees: Any = HalfSpaceTrees(n_trees=25, height=8, window_size=HALF_SPACE_WINDOW, seed=seed)

    def points(values: FloatArray) -> list[dict[int, float]]:
        scaled = np.nan_to_num(np.clip((values - low) / scale, 0.0, 1.0), nan=0.5)
        return [dict(enumerate(row)) for row in scaled.tolist()]

    for point in points(train[-HALF_SPACE_MAX_TRAIN:]):
        trees.learn_one(point)
    scores = []
    for point in points(rows):
        scores.append(trees.score_one(point))
        trees.learn_one(point)
    return np.array(scores, dtype=np.float64)


BASELINES: dict[str, Baseline] = {
    "always": always,
    "never": never,
    "RMS": root_mean_square,
    "moving z-score": moving_z_score,
    "isolation forest": isolation_forest,
    "PCA T2+Q": t2_and_q,
    "half-space trees": half_space_trees,
}


def _moving_sum(values: FloatArray) -> FloatArray:
    """Over the MOVING_ROWS rows before each row: (N, F) -> (N, F), 0 for the first."""
    total = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    end = np.arange(len(values))
    start = np.maximum(end - MOVING_ROWS, 0)
    moving: FloatArray = total[end] - total[start]
    return moving


def _filled(values: FloatArray, center: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, center)
