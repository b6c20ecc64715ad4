"""Scores of a file by a bundle, row by row: what `score` writes, `evaluate` judges and reports draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.manifest import Manifest
from stream_detector.engine.offline import ScoredFrame, score_frame
from stream_detector.messages import Alarm
from trainer.data.dataset import Dataset
from trainer.data.examples import row_positives
from trainer.evaluation.states import states_of

ONE_ASSET = "file"
"""Name of the asset where nothing tells of assets."""


@dataclass(frozen=True)
class ScoredRows:
    """B scored rows of a file, in the order of time.

    Attributes:
        rows: (B,) rows of the file.
        score: (B,) higher = more anomalous.
        probability: (B,) with a head.
        threshold: (B,) of the score, or with a head of the probability; infinite where a rule suppresses the row.
        attribution: (B, F) what each sensor adds: its error, or with a head its part in the probability.
        positive: (B,) an alarm would be right; None where that is not known.
        times: (B,) epoch seconds. assets: (B,) names, "file" where nothing tells of any.
        alarms: of the whole file, raised and cleared.
        states: asset, first and last time of each state in the file; None where labels mark none.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    probability: NDArray[np.float64] | None
    threshold: NDArray[np.float64]
    attribution: NDArray[np.floating[Any]]
    positive: NDArray[np.bool_] | None = None
    times: NDArray[np.float64] | None = None
    alarms: Sequence[Alarm] = ()
    states: Sequence[tuple[str, float, float]] | None = None
    assets: NDArray[np.str_] | None = None

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

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "ScoredRows":
        """The rows of a mask (B,), or these rows in this order."""
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
            None if self.assets is None else self.assets[chosen],
        )


def score_dataset(bundle: Bundle, dataset: Dataset) -> ScoredRows:
    """Score every row of a file that has a full window, by the running detector's own code."""
    manifest = bundle.manifest
    positive = None if dataset.labels is None else row_positives(dataset, manifest.grid, manifest.lead)
    if manifest.grid.kind == "table":
        scored = bundle.scorer.score(dataset.values[:, None, :])
        threshold = np.full(len(dataset), manifest.alarm_threshold)
        return ScoredRows(np.arange(len(dataset)), scored.score, None, threshold, scored.attribution, positive)
    frames = [_score_asset(bundle, dataset, rows, name or ONE_ASSET) for name, rows in dataset.by_asset()]
    rows = np.concatenate([frame.rows for frame in frames])
    found = ScoredRows(
        rows,
        np.concatenate([frame.steps.score for frame in frames]),
        None if bundle.head is None else np.concatenate([frame.steps.probability for frame in frames]),
        # What a rule suppresses is above no threshold.
        np.concatenate(
            [
                np.where(_suppressed(frame, manifest), np.inf, manifest.alarm_threshold_of(name or ONE_ASSET))
                for frame, (name, _) in zip(frames, dataset.by_asset(), strict=True)
            ]
        ),
        np.concatenate([frame.steps.attribution for frame in frames]),
        None if positive is None else positive[rows],
        dataset.times[rows],
        [alarm for frame in frames for alarm in frame.alarms],
        _states(dataset),
        _names_of_rows(dataset)[rows],
    )
    # A head may have nothing to say yet of a step that was scored, and nobody knows what acting on an alarm prevented.
    judged = np.isfinite(found.level)
    return found.take(judged if dataset.acted is None else judged & ~dataset.acted[rows])


def _suppressed(frame: ScoredFrame, manifest: Manifest) -> NDArray[np.bool_]:
    rules = manifest.suppression_rules
    if rules is None:
        return np.zeros(len(frame.rows), dtype=bool)
    return rules.suppressed(frame.steps.attribution, frame.steps.newest, frame.steps.expected)


def _score_asset(bundle: Bundle, dataset: Dataset, rows: slice, name: str) -> ScoredFrame:
    """The scored steps of one asset; `rows` of the result are those of the dataset."""
    times, values, events = dataset.times[rows], dataset.values[rows], dataset.events[rows]
    readings = np.flatnonzero(~events)
    frame = score_frame(bundle, times[readings], values[readings], times[events], asset=name)
    return replace(frame, rows=rows.start + readings[frame.rows])


def _states(dataset: Dataset) -> list[tuple[str, float, float]] | None:
    if dataset.labels is None or dataset.labels_mark_events:
        return None
    return [
        (name or ONE_ASSET, begin, last)
        for name, rows in dataset.by_asset()
        for begin, last in states_of(dataset.times[rows], dataset.labels[rows])
    ]


def _names_of_rows(dataset: Dataset) -> NDArray[np.str_]:
    if dataset.asset_rows is None:
        return np.full(len(dataset), ONE_ASSET)
    return np.array(dataset.assets)[dataset.asset_rows]
