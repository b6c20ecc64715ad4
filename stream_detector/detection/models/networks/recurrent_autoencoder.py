"""The small recurrent autoencoder of the bearing studies: a few hidden units that read a short sequence and redraw it.

Unlike the LSTM autoencoder its code is the sequence of hidden states, one a step, so that even two units can follow a
signal; the narrow place is the number of units.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.networks.network import Arrays, Network, linear_arrays
from stream_detector.detection.models.networks.recurrent_layer import Cell, recurrent_arrays, recurrent_layer

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph


class RecurrentAutoencoder(Network):
    """Kind "recurrent-autoencoder": a recurrent layer of `hidden` units, another that reads its states, a dense output.

    A window is redrawn in sequences of `sequence` steps, each by itself.
    """

    class Options(Config):
        hidden: Annotated[int, Field(ge=1, le=1024)] = 2
        sequence: Annotated[int, Field(ge=0)] = 0
        """Steps of a sequence; the window's length must be a multiple. 0: the whole window is one."""
        cell: Cell = "lstm"
        output: Literal["linear", "sigmoid"] = Field(
            default="sigmoid", description='"sigmoid" for inputs scaled to [0, 1]'
        )

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        self.options = options
        self.sequence = options.sequence or steps
        if steps % self.sequence:
            raise ValueError(f"a window of {steps} steps is no multiple of sequence = {self.sequence}")
        super().__init__(steps, sensors)

    def untrained(self, rng: np.random.Generator) -> Arrays:
        hidden, cell = self.options.hidden, self.options.cell
        encoder = recurrent_arrays(rng, "encoder", self.sensors, hidden, cell)
        decoder = recurrent_arrays(rng, "decoder", hidden, hidden, cell)
        return encoder | decoder | linear_arrays(rng, "output", hidden, self.sensors)

    def draw(self, graph: "Graph", windows: str, arrays: Arrays) -> str:
        cell = self.options.cell
        sequences = graph.reshape(windows, [-1, self.sequence, self.sensors])
        states = recurrent_layer(graph, graph.transpose(sequences, [1, 0, 2]), arrays, "encoder", cell)
        drawn = recurrent_layer(graph, states, arrays, "decoder", cell)
        values = graph.linear(drawn, arrays["output.weight"], arrays["output.bias"])
        if self.options.output == "sigmoid":
            values = graph.node("Sigmoid", values)
        return graph.reshape(graph.transpose(values, [1, 0, 2]), [-1, self.steps, self.sensors])
