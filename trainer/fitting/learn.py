"""Learning scale and model from windows: by gradient descent where the model is a network, else by its own `learn`."""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from stream_detector.detection.config import FleetConfig
from stream_detector.detection.fleet.fleet import Fleet
from stream_detector.detection.fleet.own_scale import learn_fleet
from stream_detector.detection.models.networks.network import Network
from stream_detector.detection.models.registry import Learner, Model, build, needs_labels
from stream_detector.detection.scaling import Scaler, transform, transformed_steps
from stream_detector.detection.scoring import ScoredWindows, Scorer, model_inputs
from stream_detector.errors import DataError, RecipeError
from trainer.data.examples import Examples
from trainer.fitting.losses import Losses
from trainer.fitting.progress import SILENT, FitProgress
from trainer.fitting.weights import demand_values
from trainer.recipe import Recipe


@dataclass(frozen=True)
class ExampleScorer:
    """Scores the windows of a file, each by the scale of its machine."""

    scorer: Scorer
    fleet: Fleet | None = None

    def score(self, examples: Examples) -> tuple[Examples, ScoredWindows]:
        """The windows that are scored, in order, and what is said of them: a strange machine's first ones are not."""
        if self.fleet is None:
            return examples, self.scorer.score(examples.windows)
        scales = self.fleet.read(machines_of(examples), examples.windows)
        ready = examples.take(scales.ready)
        return ready, self.scorer.score(ready.windows, scales.scaler)


@dataclass(frozen=True)
class Learnt:
    """`windows`: those learnt from, all of them normal unless the model is a classifier. `scaler`: of all, or of a
    machine of the `fleet` as they usually are."""

    windows: Examples
    scaler: Scaler
    model: Model
    losses: Losses
    fleet: Fleet | None = None

    def scorer(self, recipe: Recipe) -> ExampleScorer:
        return ExampleScorer(Scorer(recipe.transform, self.scaler, self.model, recipe.score), self.fleet)

    def scaler_arrays(self) -> dict[str, NDArray[np.float64]]:
        """What a bundle keeps of the scale, by name."""
        return {**self.scaler.arrays(), **({} if self.fleet is None else self.fleet.arrays())}


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
    if recipe.fleet is not None:
        learnt = _newest_last(_of_known_machines(recipe.fleet, learnt))
    moved = transform(recipe.transform, learnt.windows).values
    fleet = None if recipe.fleet is None else _learn_fleet(recipe, recipe.fleet, learnt, moved)
    if fleet is not None:
        scaler = fleet.common
        windows, known = model_inputs(fleet.read(machines_of(learnt), learnt.windows).scaler, moved)
    else:
        scaler = Scaler.learn(recipe.scaler, moved.reshape(-1, moved.shape[2]))
        _refuse_too_large(scaler, learnt)
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
        scorer = Learnt(learnt, scaler, model, losses, fleet).scorer(recipe)
        scaler = replace(scaler, usual_error=_usual_error(scorer.score(learnt.take(newest))[1].attribution))
        fleet = None if fleet is None else replace(fleet, common=scaler)
    return Learnt(learnt, scaler, model, losses, fleet)


def machines_of(examples: Examples) -> NDArray[np.str_]:
    """(B,) the machine of each window; DataError where the file names none."""
    if examples.assets is None:
        raise DataError(
            "the recipe's [fleet] scales each machine by itself, and the file names no machines: name their column "
            "with data.asset_column or --asset-column, or give a folder with a folder for each"
        )
    return examples.assets


def _of_known_machines(config: FleetConfig, examples: Examples) -> Examples:
    """Without the machines that have too few windows to tell their scale: these are strangers, as on the stream."""
    machines = machines_of(examples)
    names, counts = np.unique(machines, return_counts=True)
    known = names[counts >= config.least_steps]
    if not len(known):
        raise DataError(
            f"no machine has fleet.least_steps = {config.least_steps} normal windows in the training part, the most "
            f"are {counts.max()} of {names[counts.argmax()]!r}; give longer files, or fewer least_steps"
        )
    return examples.take(np.isin(machines, known))


def _newest_last(examples: Examples) -> Examples:
    """The machines' windows side by side, so that the last ones are the newest of each: they are held out."""
    machines = machines_of(examples)
    place = np.empty(len(examples))
    for machine in np.unique(machines):
        own = np.flatnonzero(machines == machine)
        place[own] = np.arange(len(own)) / len(own)
    return examples.take(np.argsort(place, kind="stable"))


def _learn_fleet(recipe: Recipe, config: FleetConfig, learnt: Examples, moved: NDArray[np.float64]) -> Fleet:
    """The scale of each machine. moved: (B, T', F) transformed windows."""
    machines = machines_of(learnt)
    names = np.unique(machines)
    found = learn_fleet(recipe.scaler, [moved[machines == name].reshape(-1, moved.shape[2]) for name in names])
    rows = {name: row for row, name in enumerate(names.tolist())}
    common = found.common(recipe.scaler.clip)
    return Fleet(config, recipe.scaler, recipe.transform, rows, found.center, found.scale, common)


def _refuse_too_large(scaler: Scaler, learnt: Examples) -> None:
    too_large = np.flatnonzero(~np.isfinite(scaler.center) | ~np.isfinite(scaler.scale))
    if len(too_large):
        column = np.abs(learnt.windows[:, :, too_large[0]])
        raise DataError(
            f"sensor {too_large[0] + 1} of {len(scaler.scale)} has values up to {np.nanmax(column):.3g}, and their "
            "spread is too large for a number; check its column, and name codes of missing values in data.missing_codes"
        )


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
