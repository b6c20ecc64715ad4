"""Scores of a file by a bundle, row by row: what `score` writes, `evaluate` judges and reports draw."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle import Bundle
from trainer.dataset import Dataset
from trainer.examples import cut_examples


@dataclass(frozen=True)
class ScoredRows:
    """The B scorable rows of a file, in the order of time.

    Attributes:
        rows: (B,) rows of the file.
        score: (B,) higher = more anomalous.
        probability: (B,) where the bundle has a head.
        alarm: (B,) score (with a head: probability) above the threshold.
        errors: (B, F) error per sensor.
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
    """Score every row of a file that has a full window."""
    manifest = bundle.manifest
    examples = cut_examples(dataset, manifest.grid, manifest.window, manifest.lead)
    scored = bundle.scorer.score(examples.windows)
    return ScoredRows(
        examples.rows, scored.score, None, scored.score > manifest.threshold.value, scored.errors, examples.positive
    )
