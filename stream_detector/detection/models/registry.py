"""The kinds of model a recipe can name. A kind is one module and one line in `KINDS`.

A model reads scaled windows and gives back what it expected, or its own errors or score. Its whole state is named
arrays, so that a bundle holds no code. Networks derive from `network.Network` and are trained by
`trainer.fitting.training`; everything else implements `Learner.learn`.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from pydantic import ValidationError

from stream_detector.detection.config import ModelConfig

KINDS: dict[str, str] = {
    "conv-autoencoder": "networks.conv_autoencoder:ConvAutoencoder",
    "conv-classifier": "networks.conv_classifier:ConvClassifier",
    "dense-autoencoder": "networks.dense_autoencoder:DenseAutoencoder",
    "logistic-classifier": "logistic_classifier:LogisticClassifier",
    "lstm-autoencoder": "networks.lstm_autoencoder:LstmAutoencoder",
    "mahalanobis": "mahalanobis:Mahalanobis",
    "neighbours": "neighbours:Neighbours",
    "own-past": "own_past:OwnPast",
    "principal-components": "principal_components:PrincipalComponents",
    "projected-lstm-autoencoder": "networks.projected_autoencoder:ProjectedAutoencoder",
    "recurrent-autoencoder": "networks.recurrent_autoencoder:RecurrentAutoencoder",
    "sensor-regressors": "sensor_regressors:SensorRegressors",
    "tail-deviation": "tail_deviation:TailDeviation",
}
"""Kind -> "module:class" below this package; the class is `class(options, steps, sensors)` with a nested pydantic
config `Options`. Imported only when it is used: onnxruntime, on which networks run, takes a tenth of a second."""


class ModelOutput(Struct, frozen=True):
    """A model's answer for B windows. One of the three is enough; `score` wins over what would follow from `errors`.

    reconstruction: (B, R, F) in scaled units, for the newest R <= T steps; errors: (B, F); score: (B,). Higher = more
    anomalous.
    """

    reconstruction: NDArray[Any] | None = None
    errors: NDArray[Any] | None = None
    score: NDArray[Any] | None = None


class Model(Protocol):
    """Scaled windows in, `ModelOutput` out. `fixed_batches.run_in_batches` calls `run` with one number of windows only,
    and others that the model `takes`, so that what a library does for other numbers of them changes no score."""

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
        """windows: (B, T, F), 0 where masked; known: (B, T, F), False where masked."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learnt, by name."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` gave; ValueError if names or shapes are not this model's."""


@runtime_checkable
class Learner(Model, Protocol):
    """A model that is not trained by gradient descent."""

    def learn(
        self,
        windows: NDArray[np.float32],
        known: NDArray[np.bool_],
        labels: NDArray[np.bool_],
        seed: int,
    ) -> None:
        """Learn from (B, T, F) windows; labels: (B,), True = anomalous (all False unless `needs_labels`)."""


def needs_labels(model: Model) -> bool:
    """True for a model that learns from anomalous windows too (a classifier); the others see normal windows only."""
    return bool(getattr(model, "supervised", False))


def takes(model: Model, count: int) -> bool:
    """True for a model that gives each of `count` windows the bits which it has among `fixed_batches.BATCH_WINDOWS`."""
    tried = getattr(model, "takes", None)
    return tried is not None and bool(tried(count))


def model_class(kind: str) -> Any:
    """The class of that kind; ValueError for an unknown one, naming those that are known."""
    if kind not in KINDS:
        raise ValueError(f"model kind {kind!r} is unknown; known are: {', '.join(sorted(KINDS))}")
    module, name = KINDS[kind].split(":")
    return getattr(import_module(f"{__package__}.{module}"), name)


def build(config: ModelConfig, steps: int, sensors: int) -> Model:
    """A model of that kind and size, not trained yet: reads windows of (B, steps, sensors).

    Raises ValueError for an unknown kind, wrong options or windows without a cell, naming what would be right.
    """
    if steps < 1 or sensors < 1:
        raise ValueError(
            f"model {config.kind} would read windows of {steps} steps (after the transform) of {sensors} sensors; "
            "wanted at least one of each"
        )
    found = model_class(config.kind)
    try:
        options = found.Options.model_validate(config.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"model option {where!r} of {config.kind}: {first['msg']}, found {first['input']!r}"
        ) from error
    return cast("Model", found(options, steps, sensors))
