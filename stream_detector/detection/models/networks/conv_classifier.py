"""The 1D-CNN classifier of bearing vibration: two convolutions, then one number, P(anomalous).

It learns from labelled windows. On normal windows alone it can only learn to say "normal"; the bearing benchmark shows
what that costs.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.networks.network import Arrays, Network, convolution_arrays, linear_arrays
from stream_detector.detection.models.registry import ModelOutput

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph

LAYERS_EACH = 3
"""Torch numbers each convolution with the activation and the pooling behind it."""


class ConvClassifier(Network):
    """Kind "conv-classifier": convolution, ReLU, pooling for each of `filters`; the largest and the mean value of each
    filter; dense. The score is P(anomalous)."""

    supervised = True

    class Options(Config):
        filters: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, max_length=6)] = (
            16,
            32,
        )
        kernel: Annotated[int, Field(ge=3, le=257)] = 9
        pool: Annotated[int, Field(ge=1, le=64)] = 4

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        self.options = options
        super().__init__(steps, sensors)

    def untrained(self, rng: np.random.Generator) -> Arrays:
        filters, kernel = self.options.filters, self.options.kernel
        arrays: Arrays = {}
        for number, (inputs, units) in enumerate(pairwise([self.sensors, *filters])):
            name = f"convolutions.{number * LAYERS_EACH}"
            arrays |= convolution_arrays(rng, name, (units, inputs, kernel), units)
        return arrays | linear_arrays(rng, "output", 2 * filters[-1], 1)

    def draw(self, graph: "Graph", windows: str, arrays: Arrays) -> str:
        kernel, pool = self.options.kernel, self.options.pool
        signal = graph.transpose(windows, [0, 2, 1])
        for number in range(len(self.options.filters)):
            name = f"convolutions.{number * LAYERS_EACH}"
            weight, bias = (graph.constant(arrays[f"{name}.{part}"]) for part in ("weight", "bias"))
            signal = graph.node("Relu", graph.node("Conv", signal, weight, bias, pads=[kernel // 2] * 2))
            signal = graph.node("MaxPool", signal, kernel_shape=[pool], strides=[pool], ceil_mode=1)
        # Not ReduceMean: the order of its additions hangs on where in memory, and so in the batch, a window lies.
        largest, mean = graph.node("GlobalMaxPool", signal), graph.node("GlobalAveragePool", signal)
        both = graph.node("Flatten", graph.node("Concat", largest, mean, axis=1))
        return graph.linear(both, arrays["output.weight"], arrays["output.bias"])

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        logits = self.infer(windows)[:, 0].astype(np.float64)
        return ModelOutput(score=1.0 / (1.0 + np.exp(-logits)))
