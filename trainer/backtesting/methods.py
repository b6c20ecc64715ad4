"""How a recipe takes part in a backtest: fitted at an origin, it gives a raw score to every row of the fold after it.

`finish` turns the raw scores of all folds into what is compared with the threshold, from what was known at each origin.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.head.calibration import RateTracker
from trainer.backtesting.folds import SECONDS_PER_DAY, Fold
from trainer.data.dataset import Dataset
from trainer.data.examples import Examples, cut_examples
from trainer.evaluation.scored import ScoredRows
from trainer.fitting import head_fit
from trainer.fitting.fit import pick_own_thresholds, pick_threshold, suppressed_windows, thresholds_of
from trainer.fitting.learn import learn
from trainer.fitting.usable_rows import UsableRows
from trainer.head_options import head_options
from trainer.recipe import Recipe

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


EXPLAINED = 0.1
"""Part of a fold's rows, those with the highest scores, for which the attribution is computed."""


@dataclass(frozen=True)
class FoldScores:
    """B scored rows of a fold. rows: (B,); raw_score: (B,) a score, or with a head the logit before its calibration;
    attribution: (B, F) float32, what each sensor adds to it, 0 where that was not computed; suppressed: (B,) rows that
    raise nothing, None: there is none. threshold: of all rows, or (B,) where machines have their own."""

    rows: Ints
    raw_score: Floats
    threshold: float | Floats
    attribution: NDArray[np.float32]
    suppressed: NDArray[np.bool_] | None = None


class BacktestMethod(Protocol):
    """Everything that `score_fold` learns from lies before the fold, and a row's score depends on no later row."""

    @property
    def recipe(self) -> Recipe: ...

    def prepare(self, dataset: Dataset) -> Any:
        """Computation that the folds share: done once, causal."""

    def folds_before(self, dataset: Dataset, folds: list[Fold]) -> list[Fold]:
        """Folds that are needed before the judged ones, for a calibration."""

    def score_fold(self, prepared: Any, dataset: Dataset, fold: Fold) -> FoldScores:
        """Fit on what lies before the fold, and score its rows."""

    def fold_key(self, prepared: Any, dataset: Dataset, fold: Fold) -> bytes:
        """A digest of all that decides the scores of the fold: equal ones, equal scores."""

    def finish(self, prepared: Any, folds: list[Fold], scores: list[FoldScores], judged: int) -> ScoredRows:
        """The rows of the last `judged` folds as they are compared with the threshold."""


def method_of(recipe: Recipe) -> BacktestMethod:
    """A recipe with a head is judged by its probability, any other by its score."""
    return ScoreMethod(recipe) if recipe.head is None else HeadMethod(recipe)


@dataclass(frozen=True)
class ScoreMethod:
    """Model and scale learn from the older part of the past, the threshold is chosen on its newest part."""

    recipe: Recipe

    def prepare(self, dataset: Dataset) -> Examples:
        recipe = self.recipe
        operating = recipe.operating_rule(dataset.sensors)
        return cut_examples(dataset, recipe.grid, recipe.window, recipe.lead, operating)

    def folds_before(self, dataset: Dataset, folds: list[Fold]) -> list[Fold]:  # noqa: ARG002
        return []

    def score_fold(self, prepared: Examples, dataset: Dataset, fold: Fold) -> FoldScores:
        times = dataset.times[prepared.rows]
        lead_seconds = self.recipe.lead.until_steps * self.recipe.grid.step_seconds
        past = np.flatnonzero(times + lead_seconds < fold.begin)
        past = past[np.argsort(times[past], kind="stable")]
        split = self.recipe.split
        learnt = round(len(past) * split.train / (split.train + split.validation))
        training, newest = _only(prepared, past[:learnt]), _only(prepared, past[learnt:])
        learnt_now = learn(self.recipe, training)
        scorer = learnt_now.scorer(self.recipe)
        chosen_on = newest if len(newest) else training
        found = pick_threshold(self.recipe, scorer, chosen_on, dataset)
        own = pick_own_thresholds(self.recipe, learnt_now, chosen_on, dataset, found)
        judged, scored = scorer.score(_only(prepared, np.flatnonzero((times >= fold.begin) & (times < fold.end))))
        muted = suppressed_windows(self.recipe, dataset.sensors, judged.windows, scored)
        threshold = thresholds_of(judged, found, own)
        return FoldScores(judged.rows, scored.score, threshold, scored.attribution.astype(np.float32), muted)

    def fold_key(self, prepared: Examples, dataset: Dataset, fold: Fold) -> bytes:  # noqa: ARG002
        """The guard of a threshold looks at the whole file."""
        rest = (dataset.parts, dataset.asset_rows, dataset.acted)
        return _key(self.recipe, dataset, fold, dataset.times, dataset.values, dataset.labels, *rest)

    def finish(self, prepared: Any, folds: list[Fold], scores: list[FoldScores], judged: int) -> ScoredRows:  # noqa: ARG002
        return _joined(scores[-judged:], None, None)


@dataclass(frozen=True)
class HeadMethod:
    """The probability of the head; its autoencoder is not needed for that and is not trained."""

    recipe: Recipe

    def prepare(self, dataset: Dataset) -> UsableRows:
        head_fit.refuse_head_of_several(self.recipe, dataset)
        return UsableRows.of(self.recipe, dataset)

    def folds_before(self, dataset: Dataset, folds: list[Fold]) -> list[Fold]:
        """Each day before the first fold, as `trainer fit` walks through them for its calibration."""
        first = dataset.times[0] // SECONDS_PER_DAY + head_options(self.recipe).first_day
        days = np.arange(first, np.ceil(folds[0].begin / SECONDS_PER_DAY))
        return [Fold(day * SECONDS_PER_DAY, min((day + 1) * SECONDS_PER_DAY, folds[0].begin)) for day in days]

    def score_fold(self, prepared: UsableRows, dataset: Dataset, fold: Fold) -> FoldScores:
        usable = prepared.at(fold.begin)
        read = usable.rows
        chosen = (read.times >= fold.begin) & (read.times < fold.end) & read.scorable
        options = head_options(self.recipe)
        ensemble = head_fit.ensemble_at(options, read, self.recipe.lead, self.recipe.train.seed, fold.begin)
        rows = read.rows[chosen]
        sensors = len(dataset.sensors)
        if ensemble is None or not len(rows):
            return FoldScores(rows, np.full(len(rows), np.nan), 0.0, np.zeros((len(rows), sensors), np.float32))
        logits = ensemble.logits(read.features[chosen])
        # Only alarms and the rows before an event are ever looked at; explaining a row costs more than scoring it.
        attribution = np.zeros((len(rows), sensors), np.float32)
        rules = self.recipe.suppression_rules(dataset.sensors)
        wanted = (logits >= np.quantile(logits, 1 - EXPLAINED)) | read.positive[chosen]
        for index in np.flatnonzero(wanted if rules is None else np.ones_like(wanted)):
            parts = ensemble.explain(read.features[chosen][index])[1]
            attribution[index, usable.columns] = usable.features.by_sensor(parts)
        muted = None
        if rules is not None:
            # Nothing was fitted here that expects values, so that directions cannot be told.
            nothing = np.full(attribution.shape, np.nan)
            muted = rules.suppressed(attribution.astype(np.float64), nothing, nothing)
        return FoldScores(rows, logits, 0.0, attribution, muted)

    def fold_key(self, prepared: UsableRows, dataset: Dataset, fold: Fold) -> bytes:
        """A fold whose events were all told by its begin is that of a file in which events are told in time."""
        usable = prepared.at(fold.begin)
        rows = usable.rows.told_by(fold.begin, self.recipe.lead)
        until = int(np.searchsorted(rows.times, fold.end))
        arrays = (
            rows.rows,
            rows.steps,
            rows.times,
            rows.event,
            rows.scorable,
            rows.positive,
            rows.acted,
            rows.features,
        )
        shown = usable.rows.positive[:until]
        return _key(self.recipe, dataset, fold, shown, *(array[:until] for array in arrays))

    def finish(self, prepared: UsableRows, folds: list[Fold], scores: list[FoldScores], judged: int) -> ScoredRows:
        read = prepared.whole.rows
        recipe, options = self.recipe, head_options(self.recipe)
        tracker = RateTracker(options.calibration, recipe.lead)
        logits = np.full(len(read), np.nan)
        place = {int(row): index for index, row in enumerate(read.rows) if not read.event[index]}
        for found in scores:
            logits[[place[int(row)] for row in found.rows]] = found.raw_score
        probabilities = []
        for fold, found in zip(folds[-judged:], scores[-judged:], strict=True):
            before = np.flatnonzero(read.times < fold.begin)
            end = int(read.steps[before[-1]]) + 1
            known = head_fit.label_known(read, recipe.lead, end)
            visible = np.where(read.times < fold.end, logits, np.nan)
            past = np.where(read.times < fold.begin, logits, np.nan)
            offset = head_fit.past_offset(options, read.told_by(fold.begin, recipe.lead), past, known)
            until = int(np.searchsorted(read.times, fold.end))
            _, probability = head_fit.replay(tracker, read, visible, offset, range(until), since=fold.begin)
            probabilities.append(probability[[place[int(row)] for row in found.rows]])
        return _joined(scores[-judged:], probabilities, recipe.costs.probability_threshold)


def _key(recipe: Recipe, dataset: Dataset, fold: Fold, *arrays: NDArray[Any] | None) -> bytes:
    digest = blake2b(repr((recipe, dataset.sensors, dataset.assets, fold)).encode(), digest_size=16)
    for array in arrays:
        digest.update(b"none" if array is None else repr((array.dtype, array.shape)).encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    return digest.digest()


def _only(examples: Examples, chosen: Ints) -> Examples:
    mask = np.zeros(len(examples), dtype=bool)
    mask[chosen] = True
    return examples.take(mask)


def _joined(
    scores: list[FoldScores], probabilities: list[Floats] | None, probability_threshold: float | None
) -> ScoredRows:
    thresholds = [
        np.full(len(found.rows), found.threshold if probability_threshold is None else probability_threshold)
        for found in scores
    ]
    for threshold, found in zip(thresholds, scores, strict=True):
        if found.suppressed is not None:
            threshold[found.suppressed] = np.inf
    joined = ScoredRows(
        np.concatenate([found.rows for found in scores]),
        np.concatenate([found.raw_score for found in scores]),
        None if probabilities is None else np.concatenate(probabilities),
        np.concatenate(thresholds),
        np.concatenate([found.attribution for found in scores]),
    )
    return joined.take(np.isfinite(joined.level))
