"""The LSTM autoencoder: a window squeezed into one small vector and drawn again from it.

After Malhotra et al. 2016, "LSTM-based encoder-decoder for multi-sensor anomaly detection"; the decoder reads the
repeated code, as in the Keras form that most published industrial recipes use.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.networks.network import Arrays, Network, linear_arrays
from stream_detector.detection.models.networks.recurrent_layer import recurrent_arrays, recurrent_layer

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph


class LstmAutoencoder(Network):
    """Kind "lstm-autoencoder": encoder layers of `hidden` units, the same backwards in the decoder, a dense output."""

    class Options(Config):
        hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=8)] = (
            32,
            16,
        )
        """Units of the encoder's layers; the decoder mirrors them."""
        output: Literal["linear", "sigmoid"] = Field(
            default="linear", description='"sigmoid" for inputs scaled to [0, 1]'
        )

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        self.options = options
        super().__init__(steps, sensors)

    def untrained(self, rng: np.random.Generator) -> Arrays:
        return autoencoder_arrays(rng, self.sensors, self.options.hidden)

    def draw(self, graph: "Graph", windows: str, arrays: Arrays) -> str:
        return draw_autoencoder(graph, windows, arrays, self.steps, self.options)


def layer_sizes(inputs: int, hidden: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """(inputs, units) of each layer by name, in the order of the signal."""
    down, up = [inputs, *hidden], [hidden[-1], *reversed(hidden)]
    encoder = {f"encoder.{number}": sizes for number, sizes in enumerate(pairwise(down))}
    return encoder | {f"decoder.{number}": sizes for number, sizes in enumerate(pairwise(up))}


def autoencoder_arrays(rng: np.random.Generator, inputs: int, hidden: tuple[int, ...]) -> Arrays:
    """The arrays before any training."""
    arrays: Arrays = {}
    for name, (size, units) in layer_sizes(inputs, hidden).items():
        arrays |= recurrent_arrays(rng, name, size, units, "lstm")
    return arrays | linear_arrays(rng, "output", hidden[0], inputs)


def draw_autoencoder(graph: "Graph", windows: str, arrays: Arrays, steps: int, options: LstmAutoencoder.Options) -> str:
    """(B, T, inputs) -> (B, T, inputs): the newest state of the last encoder, repeated, is what the decoder reads."""
    depth = len(options.hidden)
    signal = graph.transpose(windows, [1, 0, 2])
    for layer in range(depth):
        signal = recurrent_layer(graph, signal, arrays, f"encoder.{layer}", "lstm")
    code = graph.slice(signal, 0, steps - 1, steps)
    signal = graph.node("Tile", code, graph.constant([steps, 1, 1]))
    for layer in range(depth):
        signal = recurrent_layer(graph, signal, arrays, f"decoder.{layer}", "lstm")
    drawn = graph.linear(signal, arrays["output.weight"], arrays["output.bias"])
    if options.output == "sigmoid":
        drawn = graph.node("Sigmoid", drawn)
    return graph.transpose(drawn, [1, 0, 2])
