"""Fitting: a recipe and a file in, a bundle and what was learnt about it out."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.bundle import Bundle, assemble, require_place, write_bundle
from stream_detector.bundle.manifest import FleetRecord, Manifest, ThresholdRecord, TrainingRecord
from stream_detector.detection.drift import ScoreReference
from stream_detector.detection.scoring import ScoredWindows
from trainer.data.dataset import Dataset
from trainer.data.examples import Examples, cut_examples, not_running
from trainer.data.split import Split, split_rows
from trainer.evaluation.evaluate import Evaluation, evaluate_rows
from trainer.evaluation.scored import ScoredRows, score_dataset
from trainer.fitting.guard import guarded
from trainer.fitting.head_fit import Walked, fit_head
from trainer.fitting.learn import ExampleScorer, Learnt, learn, machines_of
from trainer.fitting.losses import Losses
from trainer.fitting.progress import SILENT, FitProgress
from trainer.fitting.thresholds import choose_threshold, own_by_machine
from trainer.fitting.weights import few_windows
from trainer.head_options import recipe_features
from trainer.recipe import Recipe

PROBES = 24
PROBE_BYTES = 4 << 20


@dataclass(frozen=True)
class Fitted:
    """A bundle as written, and what a report shows of its fit.

    `validation` and `test`: scored rows of the parts that chose the threshold and that nothing was chosen on.
    `walked`: of a recipe with a head, what it said of each day before it had learnt from it. `not_running`: rows of the
    file in which the machine does not run, of which nothing was learnt. `notes`: what a person should know of the fit.
    """

    bundle: Bundle
    losses: Losses
    dataset: Dataset
    judged: Dataset
    validation: ScoredRows
    test: ScoredRows
    evaluation: Evaluation
    walked: Walked | None = None
    not_running: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """The windows that are learnt from and those, cut from `chosen_from`, that choose the threshold.

    `split`: of the rows of the file.
    """

    split: Split
    training: Examples
    chosen_on: Examples
    chosen_from: Dataset


def fit_recipe(
    recipe: Recipe,
    dataset: Dataset,
    out: Path,
    validation: Dataset | None = None,
    private_key: bytes | None = None,
    progress: FitProgress = SILENT,
) -> Fitted:
    """Fit `recipe` on `dataset` and write the bundle to the folder `out`.

    validation: a file of its own to choose the threshold on; without one, it is split off `dataset`. Whatever is left
    of `dataset` judges. Raises DataError where a part has too little, UsageError where `out` is something else.
    """
    require_place(out)
    if recipe.head is not None:
        recipe_features(recipe, dataset.sensors)  # a sensor that is not there is found before the work, not after it
    recipe.suppression_rules(dataset.sensors)  # likewise
    idle = not_running(dataset, recipe.grid, recipe.operating_rule(dataset.sensors))
    progress.stage("cutting windows")
    parts = cut_parts(recipe, dataset, validation)
    progress.stage("training")
    learnt = learn(recipe, parts.training, progress)
    head = None
    if recipe.head is not None:
        progress.stage("calibrating")
        head = fit_head(recipe, dataset, parts.split, progress)
    threshold = pick_threshold(recipe, learnt.scorer(recipe), parts.chosen_on, parts.chosen_from)
    own = pick_own_thresholds(recipe, learnt, parts.chosen_on, parts.chosen_from, threshold)
    manifest = describe(recipe, dataset, parts.split, learnt, threshold, own)
    draft = assemble(
        manifest, learnt.model.arrays(), learnt.scaler_arrays(), None if head is None else dict(head.arrays)
    )
    progress.stage("judging")
    chosen_rows, test_rows = scored_parts(draft, dataset, validation, parts.split)
    evaluation = evaluate_rows(test_rows, manifest, int(idle[parts.split.test].sum()))
    walked = None if head is None else head.walked
    final = manifest.model_copy(update={"metrics": metrics_of(evaluation, walked, chosen_rows, test_rows)})
    probes, machines = _probes(parts.chosen_on, learnt)
    bundle = write_bundle(
        out,
        final,
        learnt.model,
        learnt.scaler,
        probes,
        None if head is None else head.arrays,
        private_key,
        learnt.fleet,
        machines,
    )
    return Fitted(
        bundle,
        learnt.losses,
        dataset,
        validation or dataset,
        chosen_rows,
        test_rows,
        evaluation,
        walked,
        int(idle.sum()),
        few_windows(learnt.model, len(learnt.windows)),
    )


def cut_parts(recipe: Recipe, dataset: Dataset, validation: Dataset | None) -> Parts:
    """The windows of the file by the part that they belong to; a file `validation` takes the place of that part."""
    split = split_rows(recipe.split, len(dataset), recipe.train.seed, dataset.parts)
    operating = recipe.operating_rule(dataset.sensors)
    examples = cut_examples(dataset, recipe.grid, recipe.window, recipe.lead, operating)
    training = examples.take(split.train[examples.rows])
    if validation is not None:
        chosen_on = cut_examples(validation, recipe.grid, recipe.window, recipe.lead, operating)
    else:
        chosen_on = examples.take(split.validation[examples.rows]) if recipe.split.validation else training
    return Parts(split, training, chosen_on, validation or dataset)


def pick_threshold(recipe: Recipe, scorer: ExampleScorer, chosen_on: Examples, chosen_from: Dataset) -> ThresholdRecord:
    """The threshold of the recipe's policy on windows of the file `chosen_from` that the model did not learn from."""
    score = np.empty(0)
    if recipe.head is None:
        chosen_on, scored = scorer.score(chosen_on)
        score = _scores_that_count(recipe, scored, chosen_on, chosen_from)
    found = choose_threshold(recipe.threshold, recipe.costs, score, chosen_on.positive, recipe.grid.step_seconds)
    if found.policy == "cost-optimal" and recipe.threshold.guard:
        return guarded(found, recipe, score, chosen_on, chosen_from)
    return found


def pick_own_thresholds(
    recipe: Recipe, learnt: Learnt, chosen_on: Examples, chosen_from: Dataset, common: ThresholdRecord
) -> dict[str, float]:
    """Those of the machines of a fleet, where the recipe asks for them and the common one pays; else none."""
    if recipe.threshold.own_least_events is None or learnt.fleet is None or not common.pays:
        return {}
    chosen_on, scored = learnt.scorer(recipe).score(chosen_on)
    score = _scores_that_count(recipe, scored, chosen_on, chosen_from)
    machines = machines_of(chosen_on)
    known = np.isin(machines, list(learnt.fleet.machines))
    if chosen_on.positive is None or not known.any():
        return {}
    return own_by_machine(recipe.threshold, recipe.costs, score[known], chosen_on.positive[known], machines[known])


def thresholds_of(examples: Examples, common: ThresholdRecord, own: dict[str, float]) -> float | NDArray[np.float64]:
    """Of each window (B,), or one for all."""
    if not own:
        return common.limit
    return np.array([own.get(name, common.limit) for name in machines_of(examples).tolist()])


def _scores_that_count(
    recipe: Recipe, scored: ScoredWindows, chosen_on: Examples, chosen_from: Dataset
) -> NDArray[np.float64]:
    """The scores (B,), the lowest of all for windows that raise nothing whatever the threshold is."""
    muted = suppressed_windows(recipe, chosen_from.sensors, chosen_on.windows, scored)
    if muted is None or not len(chosen_on):
        return scored.score
    return np.where(muted, scored.score.min(), scored.score)


def suppressed_windows(
    recipe: Recipe, sensors: tuple[str, ...], windows: NDArray[np.float64], scored: ScoredWindows
) -> NDArray[np.bool_] | None:
    """(B,) of the windows (B, W, F) those that the recipe's rules keep from raising anything; None: it has no rules."""
    rules = recipe.suppression_rules(sensors)
    return None if rules is None else rules.suppressed(scored.attribution, windows[:, -1], scored.expected)


def scored_parts(
    draft: Bundle, dataset: Dataset, validation: Dataset | None, split: Split
) -> tuple[ScoredRows, ScoredRows]:
    """The scored rows that chose the threshold, and those that nothing was chosen on."""
    kept_aside = (split.validation | split.test).any()
    scored = score_dataset(draft, dataset if kept_aside else dataset.take(split.test))
    chosen = score_dataset(draft, validation) if validation is not None else scored.take(split.validation[scored.rows])
    return chosen, scored.take(split.test[scored.rows])


def metrics_of(evaluation: Evaluation, walked: Walked | None, *parts: ScoredRows) -> dict[str, Any]:
    """What the manifest keeps: the evaluation, and what drift is held against.

    That is how the scores of the parts are distributed, and of a head its probabilities of days that it had not seen.
    """
    levels = {"scores": np.concatenate([part.score for part in parts])}
    if walked is not None:
        levels["probabilities"] = walked.probability
    found = {name: ScoreReference.of(level) for name, level in levels.items()}
    references = {name: None if reference is None else reference.to_json() for name, reference in found.items()}
    return {"test": evaluation.as_json(), **references}


def describe(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    learnt: Learnt,
    threshold: ThresholdRecord,
    own_thresholds: dict[str, float],
) -> Manifest:
    """The manifest, but for what judging finds."""
    has_time = recipe.data.time_column is not None
    times = dataset.times[split.train]
    return Manifest(
        recipe=recipe.name,
        assets=recipe.assets,
        sensors=dataset.sensors,
        grid=recipe.grid,
        window=recipe.window,
        transform=recipe.transform,
        scaler=recipe.scaler,
        model=recipe.model,
        score=recipe.score,
        costs=recipe.costs,
        lead=recipe.lead,
        episode=recipe.episode,
        threshold=threshold,
        head=recipe.head,
        operating=recipe.operating,
        suppression=recipe.suppression,
        fleet=_fleet_record(learnt, own_thresholds),
        training=TrainingRecord(
            data_name=dataset.name,
            data_sha256=dataset.sha256,
            rows=int(split.train.sum()),
            from_time=float(times.min()) if has_time else None,
            until_time=float(times.max()) if has_time else None,
            windows=len(learnt.windows),
            epochs=len(learnt.losses.train),
            seed=recipe.train.seed,
        ),
        recipe_source=recipe.model_dump(mode="json"),
        versions=library_versions(),
    )


def _fleet_record(learnt: Learnt, own: dict[str, float]) -> FleetRecord | None:
    fleet = learnt.fleet
    return None if fleet is None else FleetRecord(**dict(fleet.config), assets=tuple(fleet.machines), thresholds=own)


def library_versions() -> dict[str, str]:
    """Versions of what the scores depend on."""
    packages = ("stream-detector", "numpy", "torch", "scikit-learn", "safetensors")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _probes(chosen_on: Examples, learnt: Learnt) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """A few windows, evenly spread, one of them with every third cell masked; of a fleet, each one's machine."""
    examples, fleet = chosen_on, learnt.fleet
    if fleet is not None and examples.assets is not None:
        examples = examples.take(np.isin(examples.assets, list(fleet.machines)))
    if not len(examples):
        examples = learnt.windows
    window_bytes = max(1, examples.windows[0].nbytes)
    count = max(1, min(PROBES, len(examples), PROBE_BYTES // window_bytes))
    chosen = examples.take(np.linspace(0, len(examples) - 1, count).round().astype(np.int64))
    probes = chosen.windows.copy()
    probes[-1].reshape(-1)[::3] = np.nan
    if fleet is None:
        return probes, None
    return probes, np.array([fleet.machines[str(name)] for name in machines_of(chosen)], np.int64)
