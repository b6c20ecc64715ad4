"""Scores of a file by a bundle, row by row: what `score` writes, `evaluate` judges and reports draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.bundle import Bundle
from stream_detector.engine.offline import score_frame
from stream_detector.messages import Alarm
from trainer.data.dataset import Dataset
from trainer.data.examples import row_positives
from trainer.evaluation.states import states_of


@dataclass(frozen=True)
class ScoredRows:
    """B scored rows of a file, in the order of time.

    Attributes:
        rows: (B,) rows of the file.
        score: (B,) higher = more anomalous.
        probability: (B,) with a head.
        threshold: (B,) of the score, or with a head of the probability.
        attribution: (B, F) what each sensor adds: its error, or with a head its part in the probability.
        positive: (B,) an alarm would be right; None where that is not known.
        times: (B,) epoch seconds. alarms: of the whole file, raised and cleared. states: first and last time of each
            state in the file; None where labels mark none.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    probability: NDArray[np.float64] | None
    threshold: NDArray[np.float64]
    attribution: NDArray[np.floating[Any]]
    positive: NDArray[np.bool_] | None = None
    times: NDArray[np.float64] | None = None
    alarms: Sequence[Alarm] = ()
    states: Sequence[tuple[float, float]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def level(self) -> NDArray[np.float64]:
        """The number (B,) that is compared with the threshold: the score, or with a head the probability."""
        return self.score if self.probability is None else self.probability

    @property
    def above(self) -> NDArray[np.bool_]:
        """Whether (B,) each row is above the threshold."""
        above: NDArray[np.bool_] = self.level > self.threshold
        return above

    def take(self, chosen: NDArray[np.bool_]) -> "ScoredRows":
        """The rows of a mask (B,)."""
        return ScoredRows(
            self.rows[chosen],
            self.score[chosen],
            None if self.probability is None else self.probability[chosen],
            self.threshold[chosen],
            self.attribution[chosen],
            None if self.positive is None else self.positive[chosen],
            None if self.times is None else self.times[chosen],
            self.alarms,
            self.states,
        )


def score_dataset(bundle: Bundle, dataset: Dataset) -> ScoredRows:
    """Score every row of a file that has a full window, by the running detector's own code."""
    manifest = bundle.manifest
    positive = None if dataset.labels is None else row_positives(dataset, manifest.grid, manifest.lead)
    if manifest.grid.kind == "table":
        scored = bundle.scorer.score(dataset.values[:, None, :])
        threshold = np.full(len(dataset), manifest.alarm_threshold)
        return ScoredRows(np.arange(len(dataset)), scored.score, None, threshold, scored.attribution, positive)
    readings = np.flatnonzero(~dataset.events)
    frame = score_frame(
        bundle, dataset.times[readings], dataset.values[readings], dataset.times[dataset.events], asset="file"
    )
    rows = readings[frame.rows]
    found = ScoredRows(
        rows,
        frame.steps.score,
        None if bundle.head is None else frame.steps.probability,
        np.full(len(rows), manifest.alarm_threshold),
        frame.steps.attribution,
        None if positive is None else positive[rows],
        dataset.times[rows],
        frame.alarms,
        None if dataset.labels is None or dataset.labels_mark_events else states_of(dataset.times, dataset.labels),
    )
    # A head may have nothing to say yet of a step that was scored.
    return found.take(np.isfinite(found.level))
