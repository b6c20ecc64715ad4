"""The dense autoencoder: a whole window, laid out as one vector, through a narrow middle and back.

Serves lots and beats (one row = one sample, a window of one step), stretches of vibration (many steps of one sensor)
and short windows of a plant. With batch normalisation and leaky ReLU it is the "linear" autoencoder of the bearing
studies; after Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks".
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.networks.network import Arrays, Network, linear_arrays

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph

Activation = Literal["relu", "leaky-relu", "tanh"]
OPERATORS: dict[Activation, tuple[str, dict[str, float]]] = {
    "relu": ("Relu", {}),
    "leaky-relu": ("LeakyRelu", {"alpha": 0.01}),
    "tanh": ("Tanh", {}),
}
NORM_EPSILON = 1e-5


class DenseAutoencoder(Network):
    """Kind "dense-autoencoder": T * F inputs, the layers of `hidden` and the same backwards."""

    class Options(Config):
        hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(min_length=1, max_length=8)] = (
            32,
            16,
        )
        """Units from the first hidden layer to the middle one; the way back mirrors them."""
        activation: Activation = "relu"
        batch_norm: bool = False
        output: Literal["linear", "sigmoid"] = Field(
            default="linear", description='"sigmoid" for inputs scaled to [0, 1]'
        )

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        self.options = options
        super().__init__(steps, sensors)

    @property
    def steps_at_once(self) -> int:
        return 1

    def layers(self) -> list[tuple[str, str | None, int, int]]:
        """Name, name of the normalisation behind it (None: there is none), inputs and outputs of each dense layer.

        Torch numbers normalisations and activations too; the last layer has neither.
        """
        size, hidden = self.steps * self.sensors, self.options.hidden
        widths = list(pairwise([size, *hidden, *reversed(hidden[:-1]), size]))
        found: list[tuple[str, str | None, int, int]] = []
        place, norm = 0, self.options.batch_norm
        for number, (narrow, wide) in enumerate(widths):
            inner = number < len(widths) - 1
            found.append((f"layers.{place}", f"layers.{place + 1}" if norm and inner else None, narrow, wide))
            place += 3 if norm else 2
        return found

    def untrained(self, rng: np.random.Generator) -> Arrays:
        arrays: Arrays = {}
        for name, norm, inputs, outputs in self.layers():
            arrays |= linear_arrays(rng, name, inputs, outputs)
            if norm is not None:
                ones, zeros = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
                arrays |= {f"{norm}.weight": ones, f"{norm}.bias": zeros, f"{norm}.mean": zeros}
                arrays[f"{norm}.variance"] = ones
        return arrays

    def draw(self, graph: "Graph", windows: str, arrays: Arrays) -> str:
        operator, attributes = OPERATORS[self.options.activation]
        signal, layers = graph.reshape(windows, [-1, self.steps * self.sensors]), self.layers()
        for name, norm, _, _ in layers:
            signal = graph.linear(signal, arrays[f"{name}.weight"], arrays[f"{name}.bias"])
            if norm is not None:
                parts = [graph.constant(arrays[f"{norm}.{part}"]) for part in ("weight", "bias", "mean", "variance")]
                signal = graph.node("BatchNormalization", signal, *parts, epsilon=NORM_EPSILON)
            if name != layers[-1][0]:
                signal = graph.node(operator, signal, **attributes)
        if self.options.output == "sigmoid":
            signal = graph.node("Sigmoid", signal)
        return graph.reshape(signal, [-1, self.steps, self.sensors])
