"""Fitting: a recipe and a file in, a bundle and what was learnt about it out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.bundle.bundle import Bundle, assemble, require_place, write_bundle
from stream_detector.bundle.manifest import Manifest, ThresholdRecord, TrainingRecord
from stream_detector.detection.drift import ScoreReference
from stream_detector.detection.models.registry import Learner, Model, build, needs_labels
from stream_detector.detection.scaling import Scaler, transform, transformed_steps
from stream_detector.detection.scoring import Scorer, model_inputs
from stream_detector.errors import DataError, RecipeError
from trainer.data.dataset import Dataset
from trainer.data.examples import Examples, cut_examples
from trainer.data.split import Split, split_rows
from trainer.evaluation.evaluate import Evaluation, evaluate_rows
from trainer.evaluation.scored import ScoredRows, score_dataset
from trainer.fitting.losses import Losses
from trainer.fitting.thresholds import choose_threshold
from trainer.recipe import Recipe

PROBES = 24
PROBE_BYTES = 4 << 20

OnEpoch = Callable[[int, float, float], None]
"""Called with the epochs done, the training loss and the holdout loss."""

OnStage = Callable[[str], None]
"""Called with what begins now."""

OnPart = Callable[[int, int], None]
"""Called during a long stage with how many of its parts are done, and how many there are."""


@dataclass(frozen=True)
class Fitted:
    """A bundle as written, and what a report shows of its fit.

    `validation` and `test`: scored rows of the parts that chose the threshold and that nothing was chosen on.
    """

    bundle: Bundle
    losses: Losses
    dataset: Dataset
    judged: Dataset
    validation: ScoredRows
    test: ScoredRows
    evaluation: Evaluation


def fit_recipe(
    recipe: Recipe,
    dataset: Dataset,
    out: Path,
    validation: Dataset | None = None,
    on_epoch: OnEpoch = lambda _epoch, _train, _holdout: None,
    private_key: bytes | None = None,
    on_stage: OnStage = lambda _stage: None,
    on_part: OnPart = lambda _done, _parts: None,
) -> Fitted:
    """Fit `recipe` on `dataset` and write the bundle to the folder `out`.

    validation: a file of its own to choose the threshold on; without one, it is split off `dataset`. Whatever is left
    of `dataset` judges. Raises DataError where a part has too little, UsageError where `out` is something else.
    """
    require_place(out)
    on_stage("cutting windows")
    split = split_rows(recipe.split, len(dataset), recipe.train.seed, dataset.parts)
    examples = cut_examples(dataset, recipe.grid, recipe.window, recipe.lead)
    training = examples.take(split.train[examples.rows])
    on_stage("training")
    learnt, losses, model, scaler = learn(recipe, training, on_epoch)
    scorer = Scorer(recipe.transform, scaler, model, recipe.score)

    held_out = cut_examples(validation, recipe.grid, recipe.window, recipe.lead) if validation is not None else None
    if held_out is not None:
        chosen_on = held_out
    else:
        chosen_on = examples.take(split.validation[examples.rows]) if recipe.split.validation else training
    head = None
    if recipe.head is not None:
        from trainer.fitting.head_fit import fit_head

        on_stage("calibrating")
        head = fit_head(recipe, dataset, split, scorer, on_part)
    threshold = pick_threshold(recipe, scorer, chosen_on)
    manifest = _manifest(recipe, dataset, split, learnt, losses, threshold)
    scaler_arrays = {"center": scaler.center, "scale": scaler.scale}
    draft = assemble(manifest, model.arrays(), scaler_arrays, None if head is None else dict(head))

    on_stage("judging")
    kept_aside = (split.validation | split.test).any()
    scored = score_dataset(draft, dataset if kept_aside else dataset.take(split.test))
    validation_rows = (
        score_dataset(draft, validation) if validation is not None else scored.take(split.validation[scored.rows])
    )
    test_rows = scored.take(split.test[scored.rows])
    evaluation = evaluate_rows(test_rows, manifest)
    reference = ScoreReference.of(np.concatenate([validation_rows.score, test_rows.score]))
    metrics = {"test": evaluation.as_json(), "scores": None if reference is None else reference.to_json()}
    judged = manifest.model_copy(update={"metrics": metrics})
    probes = _probe_windows(chosen_on if len(chosen_on) else learnt)
    bundle = write_bundle(out, judged, model, scaler, probes, head, private_key)
    return Fitted(bundle, losses, dataset, validation or dataset, validation_rows, test_rows, evaluation)


def learn(recipe: Recipe, training: Examples, on_epoch: OnEpoch) -> tuple[Examples, Losses, Model, Scaler]:
    """Learn scale and model from the training part; also returns the windows that were learnt from.

    Raises DataError where the part holds nothing to learn from, RecipeError where the model's options are wrong.
    """
    try:
        steps = transformed_steps(recipe.transform, recipe.window.steps)
        model = _seeded_model(recipe, steps, training.windows.shape[2])
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: {error}") from error
    if needs_labels(model):
        if training.positive is None or not training.positive.any():
            raise DataError(
                f"model {recipe.model.kind!r} learns from labelled anomalies, and the training part has none; give a "
                "labelled file, or a recipe that learns from normal operation alone"
            )
        learnt = training
    else:
        learnt = training.take(training.normal)
    if not len(learnt):
        raise DataError(
            f"the training part has no normal window of {recipe.window.steps} steps of {recipe.grid.step_seconds:g} s: "
            "check grid.step_seconds against the file, or give a longer file or a shorter window"
        )
    limit = recipe.train.max_windows
    if limit is not None and len(learnt) > limit:
        spread = np.zeros(len(learnt), dtype=bool)
        spread[np.linspace(0, len(learnt) - 1, limit).round().astype(np.int64)] = True
        learnt = learnt.take(spread)
    moved = transform(recipe.transform, learnt.windows).values
    scaler = Scaler.learn(recipe.scaler, moved.reshape(-1, moved.shape[2]))
    windows, known = model_inputs(scaler, moved)
    if not known.any():
        raise DataError("no sensor has a known value in the training part; check the columns and data.missing_codes")
    labels = np.zeros(len(learnt), dtype=bool) if learnt.positive is None else learnt.positive
    return learnt, _fit_model(recipe, model, windows, known, labels, on_epoch), model, scaler


def _seeded_model(recipe: Recipe, steps: int, sensors: int) -> Model:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        return build(recipe.model, steps, sensors)


def _fit_model(
    recipe: Recipe,
    model: Model,
    windows: NDArray[np.float32],
    known: NDArray[np.bool_],
    labels: NDArray[np.bool_],
    on_epoch: OnEpoch,
) -> Losses:
    if isinstance(model, Learner):
        model.learn(windows, known, labels, recipe.train.seed)
        return Losses()
    from stream_detector.detection.models.torch_model import TorchModel
    from trainer.fitting.training import train_network

    assert isinstance(model, TorchModel), "a model either learns by itself or is a network"
    if needs_labels(model):
        # What is held out for early stopping must show both classes, and recordings lie one behind the other.
        mixed = np.random.default_rng(recipe.train.seed).permutation(len(windows))
        windows, known, labels = windows[mixed], known[mixed], labels[mixed]
    model.prepare(windows, known)
    return train_network(model, windows, known, labels, recipe.train, on_epoch)


def pick_threshold(recipe: Recipe, scorer: Scorer, chosen_on: Examples) -> ThresholdRecord:
    """The threshold of the recipe's policy on windows that the model did not learn from."""
    score = scorer.score(chosen_on.windows).score if recipe.head is None else np.empty(0)
    return choose_threshold(recipe.threshold, recipe.costs, score, chosen_on.positive, recipe.grid.step_seconds)


def _manifest(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    learnt: Examples,
    losses: Losses,
    threshold: ThresholdRecord,
) -> Manifest:
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
        training=TrainingRecord(
            data_name=dataset.name,
            data_sha256=dataset.sha256,
            rows=int(split.train.sum()),
            from_time=float(times.min()) if has_time else None,
            until_time=float(times.max()) if has_time else None,
            windows=len(learnt),
            epochs=len(losses.train),
            seed=recipe.train.seed,
        ),
        recipe_source=recipe.model_dump(mode="json"),
        versions=library_versions(),
    )


def library_versions() -> dict[str, str]:
    """Versions of what the scores depend on."""
    import platform
    from importlib.metadata import version

    packages = ("stream-detector", "numpy", "torch", "scikit-learn", "safetensors")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _probe_windows(examples: Examples) -> NDArray[np.float64]:
    """A few windows, evenly spread, one of them with every third cell masked."""
    window_bytes = max(1, examples.windows[0].nbytes)
    count = max(1, min(PROBES, len(examples), PROBE_BYTES // window_bytes))
    probes = examples.windows[np.linspace(0, len(examples) - 1, count).round().astype(np.int64)].copy()
    probes[-1].reshape(-1)[::3] = np.nan
    return probes
