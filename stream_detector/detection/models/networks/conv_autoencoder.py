"""The convolutional autoencoder: strided convolutions over time down to a short code, transposed ones back.

The form that is used on the water-loop testbed and in the Keras example "Timeseries anomaly detection using an
autoencoder" (Vijay 2020).
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.networks.network import Arrays, Network, convolution_arrays
from stream_detector.detection.models.networks.onnx_format import Attribute

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph

STRIDE = 2
LAYERS_EACH = 3
"""Torch numbers each convolution with the activation and the dropout behind it."""


class ConvAutoencoder(Network):
    """Kind "conv-autoencoder": each layer halves the time axis on the way down and doubles it on the way up."""

    class Options(Config):
        filters: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, max_length=6)] = (
            32,
            16,
        )
        kernel: Annotated[int, Field(ge=3, le=31)] = 7
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        if options.kernel % 2 == 0:
            raise ValueError(f"kernel = {options.kernel} must be odd, so that a window keeps its length; try 7")
        self.options = options
        super().__init__(steps, sensors)

    def untrained(self, rng: np.random.Generator) -> Arrays:
        filters, kernel = self.options.filters, self.options.kernel
        arrays: Arrays = {}
        for number, (inputs, units) in enumerate(pairwise([self.sensors, *filters])):
            arrays |= convolution_arrays(rng, f"down.{number * LAYERS_EACH}", (units, inputs, kernel), units)
        for number, (inputs, units) in enumerate(pairwise([filters[-1], *reversed(filters)])):
            # A transposed convolution keeps its weights the other way round.
            arrays |= convolution_arrays(rng, f"up.{number * LAYERS_EACH}", (inputs, units, kernel), units)
        last = f"up.{len(filters) * LAYERS_EACH}"
        return arrays | convolution_arrays(rng, last, (self.sensors, filters[0], kernel), self.sensors)

    def draw(self, graph: "Graph", windows: str, arrays: Arrays) -> str:
        depth, padding = len(self.options.filters), [self.options.kernel // 2] * 2
        signal = graph.transpose(windows, [0, 2, 1])

        def convolve(operator: str, name: str, **attributes: Attribute) -> str:
            weight, bias = (graph.constant(arrays[f"{name}.{part}"]) for part in ("weight", "bias"))
            return graph.node(operator, signal, weight, bias, pads=padding, **attributes)

        for number in range(depth):
            signal = graph.node("Relu", convolve("Conv", f"down.{number * LAYERS_EACH}", strides=[STRIDE]))
        for number in range(depth):
            name = f"up.{number * LAYERS_EACH}"
            signal = graph.node("Relu", convolve("ConvTranspose", name, strides=[STRIDE], output_padding=[STRIDE - 1]))
        signal = convolve("Conv", f"up.{depth * LAYERS_EACH}")
        return graph.transpose(graph.slice(signal, 2, 0, self.steps), [0, 2, 1])
