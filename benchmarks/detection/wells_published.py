"""The published protocol of the set, as Vargas et al. 2019 describe it: windows of 180 s of each event by itself.

Events with at least 20 normal minutes. The first 60 % of the normal rows are learnt from; the rest of them and the
transient are judged, at most 15 windows of each, evenly spread. A window is six numbers of each sensor: minimum,
maximum, mean, median, deviation and variance. Micro F1 of both classes is the share of windows judged rightly; its mean
over the events is given. Published: isolation forest 0.727.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.scaling import CONSTANT
from trainer.data.dataset import Dataset

WINDOW_ROWS = 180
LEAST_NORMAL_ROWS = 20 * 60
MOST_WINDOWS = 15
LEARNT = 0.6
PUBLISHED_F1 = 0.727

Floats = NDArray[np.float64]


def isolation_forest_f1(event: Dataset, classes: NDArray[np.int64], seed: int) -> float | None:
    """Micro F1 of one event's rows (N,) at 1 Hz; None where the protocol leaves it out."""
    from sklearn.ensemble import IsolationForest

    normal, transient = np.flatnonzero(classes == 0), np.flatnonzero(classes > 100)
    if len(normal) < LEAST_NORMAL_ROWS or len(transient) < WINDOW_ROWS:
        return None
    cut = int(LEARNT * len(normal))
    learnt = _features(event.values[normal[:cut]])
    judged = [_features(event.values[rows]) for rows in (normal[cut:], transient)]
    moving = learnt.std(axis=0) > CONSTANT * np.maximum(1.0, np.abs(learnt.mean(axis=0)))
    if not moving.any():
        return None
    forest = IsolationForest(random_state=seed).fit(learnt[:, moving])
    right = [forest.predict(rows[:, moving]) == wanted for rows, wanted in zip(judged, (1, -1), strict=True)]
    return float(np.concatenate(right).mean())


def _features(rows: Floats) -> Floats:
    """(N, F) -> (windows, 6 F)."""
    starts = np.unique(np.linspace(0, len(rows) - WINDOW_ROWS, MOST_WINDOWS).round().astype(np.int64))
    windows = np.nan_to_num(np.stack([rows[start : start + WINDOW_ROWS] for start in starts]))
    return np.concatenate(
        [
            windows.min(axis=1),
            windows.max(axis=1),
            windows.mean(axis=1),
            np.median(windows, axis=1),
            windows.std(axis=1),
            windows.var(axis=1),
        ],
        axis=1,
    )


def published_protocol(scores: dict[str, float | None]) -> dict[str, Any]:
    """The mean over the events that the protocol takes."""
    taken = [score for score in scores.values() if score is not None]
    return {
        "measure": "micro F1 over windows of 180 s, mean over events",
        "events": len(taken),
        "isolation forest": round(float(np.mean(taken)), 3) if taken else None,
        "published: isolation forest": PUBLISHED_F1,
    }
