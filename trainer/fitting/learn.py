"""Learning scale and model from windows: by gradient descent where the model is a network, else by its own `learn`."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import Learner, Model, build, needs_labels
from stream_detector.detection.scaling import Scaler, transform, transformed_steps
from stream_detector.detection.scoring import Scorer, model_inputs
from stream_detector.errors import DataError, RecipeError
from trainer.data.examples import Examples
from trainer.fitting.losses import Losses
from trainer.fitting.progress import SILENT, FitProgress
from trainer.fitting.weights import demand_values
from trainer.recipe import Recipe


@dataclass(frozen=True)
class Learnt:
    """`windows`: those learnt from, all of them normal unless the model is a classifier."""

    windows: Examples
    scaler: Scaler
    model: Model
    losses: Losses

    def scorer(self, recipe: Recipe) -> Scorer:
        return Scorer(recipe.transform, self.scaler, self.model, recipe.score)


def learn(recipe: Recipe, training: Examples, progress: FitProgress = SILENT) -> Learnt:
    """Learn scale and model from the training part.

    Raises DataError where the part holds nothing to learn from, RecipeError where the model's options are wrong.
    """
    try:
        steps = transformed_steps(recipe.transform, recipe.window.steps)
        model = build(recipe.model, steps, training.windows.shape[2])
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
    new_cells = min(recipe.window.stride, recipe.window.steps) * learnt.windows.shape[2]
    demand_values(model, len(learnt) * new_cells, recipe.train.least_values_per_weight)
    moved = transform(recipe.transform, learnt.windows).values
    scaler = Scaler.learn(recipe.scaler, moved.reshape(-1, moved.shape[2]))
    too_large = np.flatnonzero(~np.isfinite(scaler.center) | ~np.isfinite(scaler.scale))
    if len(too_large):
        column = np.abs(learnt.windows[:, :, too_large[0]])
        raise DataError(
            f"sensor {too_large[0] + 1} of {len(scaler.scale)} has values up to {np.nanmax(column):.3g}, and their "
            "spread is too large for a number; check its column, and name codes of missing values in data.missing_codes"
        )
    windows, known = model_inputs(scaler, moved)
    if not known.any():
        raise DataError("no sensor has a known value in the training part; check the columns and data.missing_codes")
    labels = np.zeros(len(learnt), dtype=bool) if learnt.positive is None else learnt.positive
    try:
        losses = _fit_model(recipe, model, windows, known, labels, progress)
    except ValueError as error:
        raise DataError(f"model {recipe.model.kind!r} cannot learn from the training part: {error}") from error
    if recipe.score.standardise:
        held = max(1, round(len(learnt) * recipe.train.holdout))
        newest = np.arange(len(learnt)) >= len(learnt) - held
        scorer = Scorer(recipe.transform, scaler, model, recipe.score)
        scaler = replace(scaler, usual_error=_usual_error(scorer.score(learnt.windows[newest]).attribution))
    return Learnt(learnt, scaler, model, losses)


def _usual_error(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,) mean of each sensor's errors (N, F); 1 for one that never had any."""
    usual: NDArray[np.float64] = errors.mean(axis=0)
    return np.where(usual > 0, usual, 1.0)


def _fit_model(
    recipe: Recipe,
    model: Model,
    windows: NDArray[np.float32],
    known: NDArray[np.bool_],
    labels: NDArray[np.bool_],
    progress: FitProgress,
) -> Losses:
    if isinstance(model, Learner):
        model.learn(windows, known, labels, recipe.train.seed)
        return Losses()

    from trainer.fitting.networks.torch_network import torch_network
    from trainer.fitting.training import train_network

    assert isinstance(model, Network), "a model either learns by itself or is a network"
    if needs_labels(model):
        # What is held out for early stopping must show both classes, and recordings lie one behind the other.
        mixed = np.random.default_rng(recipe.train.seed).permutation(len(windows))
        windows, known, labels = windows[mixed], known[mixed], labels[mixed]
    network = torch_network(model, recipe.train.seed)
    network.prepare(windows, known)
    losses = train_network(network, windows, known, labels, recipe.train, progress.epoch)
    model.restore(network.arrays())
    return losses
