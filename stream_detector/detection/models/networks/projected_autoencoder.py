"""An LSTM autoencoder on a few principal components instead of all sensors.

The projection is learnt before the network (`prepare`), travels as two arrays, and what the network gets wrong is
carried back to the sensors, so that an alarm still names sensors.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from stream_detector.detection.models.networks.lstm_autoencoder import (
    LstmAutoencoder,
    autoencoder_arrays,
    draw_autoencoder,
)
from stream_detector.detection.models.networks.network import Arrays, Network

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph

INNER = "inner."


class ProjectedAutoencoder(Network):
    """Kind "projected-lstm-autoencoder": the window plus what the inner network gets wrong in the components' plane.

    Because the components are orthonormal, squared errors summed over sensors are those summed over components.
    """

    class Options(LstmAutoencoder.Options):
        components: Annotated[int, Field(ge=1, le=256)] = 5

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        self.options = options
        self.components = min(options.components, sensors)
        super().__init__(steps, sensors)

    def untrained(self, rng: np.random.Generator) -> Arrays:
        inner = autoencoder_arrays(rng, self.components, self.options.hidden)
        return {INNER + name: array for name, array in inner.items()} | {
            "mean": np.zeros(self.sensors, np.float32),
            "directions": np.eye(self.components, self.sensors, dtype=np.float32),
        }

    def draw(self, graph: "Graph", windows: str, arrays: Arrays) -> str:
        inner = {name.removeprefix(INNER): array for name, array in arrays.items() if name.startswith(INNER)}
        projected = graph.linear(graph.node("Sub", windows, graph.constant(arrays["mean"])), arrays["directions"])
        drawn = draw_autoencoder(graph, projected, inner, self.steps, self.options)
        wrong = graph.linear(graph.node("Sub", drawn, projected), arrays["directions"].T)
        return graph.node("Add", windows, wrong)
