"""First labels for a file that has none: an isolation forest marks the rows that are easiest to isolate.

The share of rows that it marks (the contamination) is a guess, so a sweep shows what each guess would mark, and the
labels are those of the guess that cuts where the scores fall most steeply. Liu, Ting and Zhou 2008,
"Isolation forest". The labels stand in for a person's; a detector that is fitted on them can learn at best to agree.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.output import write_json
from trainer.recipe import PrelabelConfig

TREES = 200


@dataclass(frozen=True)
class Sweep:
    """The rows that each contamination marks.

    Attributes:
        scores: (N,) isolation score, higher = easier to isolate.
        contaminations: (C,) ascending.
        stretches: (C,) number of unbroken stretches of marked rows.
        contrast: (C,) by how much the lowest quarter of the marked rows scores above as many rows right below them.
        chosen: index of the contamination that the labels come from.
        labels: (N,) True = marked by the chosen one.
    """

    scores: NDArray[np.float64]
    contaminations: tuple[float, ...]
    stretches: tuple[int, ...]
    contrast: tuple[float, ...]
    chosen: int
    labels: NDArray[np.bool_]


def prelabel(values: NDArray[np.float64], config: PrelabelConfig) -> Sweep:
    """Mark the rows of (N, F), NaN = missing (taken as the sensor's median)."""
    from sklearn.ensemble import IsolationForest

    center = np.nan_to_num(np.nanmedian(values, axis=0))
    filled = np.where(np.isfinite(values), values, center)
    forest = IsolationForest(n_estimators=TREES, random_state=config.seed).fit(filled)
    scores: NDArray[np.float64] = -forest.score_samples(filled)
    contaminations = tuple(sorted(config.contaminations))
    marks = [marked(scores, share) for share in contaminations]
    contrast = tuple(_contrast(np.sort(scores)[::-1], int(mark.sum())) for mark in marks)
    chosen = int(np.argmax(contrast))
    return Sweep(
        scores,
        contaminations,
        tuple(int(np.sum(mark[1:] & ~mark[:-1]) + mark[0]) for mark in marks),
        contrast,
        chosen,
        marks[chosen],
    )


def marked(scores: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """The rows (N,) with the `share` largest scores; ties at the limit are not marked."""
    above: NDArray[np.bool_] = scores > np.quantile(scores, 1 - share)
    return above


def write_anomaly_index(
    path: Path, times: NDArray[np.float64], rows: NDArray[np.int64], scores: NDArray[np.float64], **facts: object
) -> None:
    """Write the anomalous rows as JSON: row number (from 0), time (epoch seconds) and score, in order.

    times: (N,) of the whole file; rows, scores: (A,). `facts` (the file, the threshold) stand beside them.
    """
    found = [
        {"row": int(row), "time": float(times[row]), "score": float(score)}
        for row, score in zip(rows, scores, strict=True)
    ]
    write_json(path, {**facts, "rows": len(times), "anomalies": found})


def _contrast(descending: NDArray[np.float64], count: int) -> float:
    near = max(1, count // 4)
    inside, outside = descending[max(count - near, 0) : count], descending[count : count + near]
    return float(inside.mean() - outside.mean()) if len(inside) and len(outside) else 0.0
