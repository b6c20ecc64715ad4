"""Scores of a file by a bundle, row by row: what `score` writes, `evaluate` judges and reports draw."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.bundle import Bundle
from stream_detector.engine.offline import score_frame
from trainer.data.dataset import Dataset
from trainer.data.examples import row_positives


@dataclass(frozen=True)
class ScoredRows:
    """The B scorable rows of a file, in the order of time.

    Attributes:
        rows: (B,) rows of the file.
        score: (B,) higher = more anomalous.
        probability: (B,) where the bundle has a head.
        alarm: (B,) score (with a head: probability) above the threshold.
        errors: (B, F) error per sensor (with a head: the sensor's part in the probability).
        positive: (B,) an alarm would be right; None where the file has no labels.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    probability: NDArray[np.float64] | None
    alarm: NDArray[np.bool_]
    errors: NDArray[np.float64]
    positive: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def level(self) -> NDArray[np.float64]:
        """(B,) what is compared with the threshold."""
        return self.score if self.probability is None else self.probability

    def take(self, chosen: NDArray[np.bool_]) -> "ScoredRows":
        """The rows of a mask (B,)."""
        return ScoredRows(
            self.rows[chosen],
            self.score[chosen],
            None if self.probability is None else self.probability[chosen],
            self.alarm[chosen],
            self.errors[chosen],
            None if self.positive is None else self.positive[chosen],
        )


def score_dataset(bundle: Bundle, dataset: Dataset) -> ScoredRows:
    """Score every row of a file that has a full window, by the running detector's own code."""
    manifest = bundle.manifest
    positive = None if dataset.labels is None else row_positives(dataset, manifest.grid, manifest.lead)
    if manifest.grid.kind == "table":
        scored = bundle.scorer.score(dataset.values[:, None, :])
        alarm = scored.score > manifest.alarm_threshold
        return ScoredRows(np.arange(len(dataset)), scored.score, None, alarm, scored.errors, positive)
    readings = np.flatnonzero(~dataset.events)
    frame = score_frame(
        bundle, dataset.times[readings], dataset.values[readings], dataset.times[dataset.events], asset="file"
    )
    rows = readings[frame.row]
    found = ScoredRows(
        rows,
        frame.score,
        None if bundle.head is None else frame.probability,
        frame.above,
        frame.evidence,
        None if positive is None else positive[rows],
    )
    # A head may have nothing to say yet of a step that was scored.
    return found.take(np.isfinite(found.level))
