"""Fitting the calibrated head: the ensemble, and a calibration on predictions of days that it had not seen."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.config import LeadConfig
from stream_detector.detection.head.calibrated_head import CalibratedOptions, head_arrays
from stream_detector.detection.head.calibration import RateState, RateTracker, fit_offset, sigmoid
from stream_detector.detection.head.ensemble import Ensemble, Member
from stream_detector.detection.head.state import CalibratedState
from stream_detector.errors import DataError
from trainer.data.dataset import Dataset
from trainer.data.split import Split
from trainer.fitting.head_members import fit_boosted, fit_forests, fit_linear, no_linear
from trainer.fitting.head_rows import HeadRows
from trainer.fitting.progress import SILENT, FitProgress
from trainer.fitting.usable_rows import UsableRows
from trainer.head_options import head_options
from trainer.recipe import Recipe

SECONDS_PER_DAY = 86_400.0
FEWEST_EVENTS = 5

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Walked:
    """Predictions (N,) of days from ensembles of the days before them, and whether an event was ahead.

    Their calibration has one number, the offset, that all of these days chose together.
    """

    probability: Floats
    positive: Bools


@dataclass(frozen=True)
class FittedHead:
    """`arrays`: of the bundle. `walked`: what the calibration was learnt from."""

    arrays: Mapping[str, NDArray[Any]]
    walked: Walked


def fit_head(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    progress: FitProgress = SILENT,
) -> FittedHead:
    """A head that learnt from the training and validation rows of the file.

    The calibration walks forward through these rows: each day is predicted by an ensemble of the days before it.
    `progress` hears of every fit, those of the days and the last one.
    """
    refuse_head_of_several(recipe, dataset)
    if not dataset.labels_mark_events or dataset.labels is None:
        raise DataError(f"recipe {recipe.name}: the head learns from a label column that marks events; there is none")
    past = dataset.take(split.train | split.validation)
    read = UsableRows.of(recipe, past)
    rows = read.whole.rows
    options, seed = head_options(recipe), recipe.train.seed
    end = int(rows.steps[-1]) + 1
    logits = np.full(len(rows), np.nan)
    days = walk_days(rows, options)
    progress.part(0, len(days) + 1)
    reading = Lock()

    def predict(day: tuple[float, float]) -> None:
        begin, until = day
        with reading:
            known = read.at(begin).rows
        daily = ensemble_at(options, known, recipe.lead, seed, begin)
        if daily is not None:
            of_day = (rows.times >= begin) & (rows.times < until) & known.scorable & ~known.acted
            logits[of_day] = daily.logits(known.features[of_day])

    # Most of a fit is compiled code, beside which another thread can run.
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        for done, day in enumerate(as_completed([pool.submit(predict, day) for day in days]), 1):
            day.result()
            progress.part(done, len(days) + 1)
    finally:
        pool.shutdown(cancel_futures=True)
    ensemble = fit_ensemble(options, rows, learnable(rows, recipe.lead, end), seed)
    progress.part(len(days) + 1, len(days) + 1)
    tracker = RateTracker(options.calibration, recipe.lead)
    known = label_known(rows, recipe.lead, end)
    offset = past_offset(options, rows, logits, known)
    rate, said = replay(tracker, rows, logits, offset, range(len(rows)))
    position, rows.state.position = rows.state.position, -1
    arrays = head_arrays(ensemble, offset, CalibratedState(rows.state, rate, float(rows.times[-1]), position))
    told = known & np.isfinite(said)
    return FittedHead(arrays, Walked(said[told], rows.positive[told]))


def refuse_head_of_several(recipe: Recipe, dataset: Dataset) -> None:
    """DataError where a recipe with a head shall learn from several assets: its rate of events is that of one."""
    if recipe.head is not None and len(dataset.assets) > 1:
        raise DataError(
            f"{dataset.name} holds {len(dataset.assets)} assets, and the [head] of recipe {recipe.name} follows the "
            "events of one; give it the file of one asset, or take the [head] away"
        )


def walk_days(rows: HeadRows, options: CalibratedOptions) -> list[tuple[float, float]]:
    """The days (begin, end; epoch seconds) that are predicted for the calibration."""
    first = rows.times[0] // SECONDS_PER_DAY + options.first_day
    last = rows.times[-1] // SECONDS_PER_DAY
    return [(day * SECONDS_PER_DAY, (day + 1) * SECONDS_PER_DAY) for day in np.arange(first, last + 1)]


def ensemble_at(
    options: CalibratedOptions, rows: HeadRows, lead: LeadConfig, seed: int, begin: float
) -> Ensemble | None:
    """Fitted on what was known at `begin` (epoch seconds); None where that held too few events."""
    rows = rows.told_by(begin, lead)
    before = rows.times < begin
    if int((rows.event & before).sum()) < FEWEST_EVENTS:
        return None
    return fit_ensemble(options, rows, learnable(rows, lead, int(rows.steps[before][-1]) + 1), seed)


def label_known(rows: HeadRows, lead: LeadConfig, end: int) -> Bools:
    """(M,) steps whose lead window was over when step `end` began, and that nobody changed by acting on an alarm."""
    return np.asarray((rows.steps + lead.until_steps < end) & ~rows.acted)


def learnable(rows: HeadRows, lead: LeadConfig, end: int) -> Bools:
    """(M,) steps to learn from when step `end` begins; those of events are extra positives."""
    return np.where(rows.event, rows.steps < end, label_known(rows, lead, end))


def past_offset(options: CalibratedOptions, rows: HeadRows, logits: Floats, known: Bools) -> float:
    """The offset that suits the past predictions (M,), NaN = none."""
    used = known & np.isfinite(logits)
    return fit_offset(logits[used], rows.positive[used], options.calibration.offset_precision)


def replay(
    tracker: RateTracker,
    rows: HeadRows,
    logits: Floats,
    offset: float,
    indices: Iterable[int],
    since: float = -np.inf,
) -> tuple[RateState, Floats]:
    """Follow the rate through the steps in order, and give each step with a logit its probability (M,), else NaN.

    An event that is told late is told before the first step after that. `since` (epoch seconds): steps before it need
    no probability.
    """
    state = tracker.fresh()
    probability = np.full(len(rows), np.nan)
    before = sigmoid(np.nan_to_num(logits) + offset).tolist()
    scored, events = np.isfinite(logits).tolist(), rows.event.tolist()
    steps, times = rows.steps.tolist(), rows.times.tolist()
    untold: list[int] = []
    for index in indices:
        time = times[index]
        if events[index] and rows.told_late_seconds > 0:
            untold.append(index)
            continue
        while untold and times[untold[0]] + rows.told_late_seconds <= time:
            late = untold.pop(0)
            tracker.advance(state, steps[late], times[late], event=True)
        tracker.advance(state, steps[index], time, events[index])
        if scored[index]:
            if time >= since:
                probability[index] = sigmoid(np.array(logits[index] + offset + tracker.correction(state)))
            tracker.expect(state, steps[index], before[index])
    return state, probability


def fit_ensemble(options: CalibratedOptions, rows: HeadRows, chosen: Bools, seed: int) -> Ensemble:
    """Learn from the chosen steps: positives are the steps before an event, and the event's own."""
    features = rows.features[chosen]
    target = (rows.positive | rows.event)[chosen]
    if not target.any() or target.all():
        found = f"{int(target.sum())} of {len(target)} steps at or before an event"
        raise DataError(f"the head needs events and quiet steps to learn from; found {found}")
    known = ~np.isnan(features)
    total = np.where(known, features, 0.0).sum(axis=0, dtype=np.float64)
    neutral = (total / np.maximum(known.sum(axis=0), 1)).astype(np.float32)
    inputs = np.where(known, features, neutral)
    members: list[Member] = []
    for kind in options.forests:
        members += fit_forests(kind, inputs, target, seed)
    for boosted in options.boosted:
        members.append(fit_boosted(boosted, inputs, target, rows.movement, seed))
    linear = fit_linear(options.strength, inputs, target) if options.linear_weight > 0 else no_linear(inputs.shape[1])
    return Ensemble(neutral, linear, options.linear_weight, tuple(members))
