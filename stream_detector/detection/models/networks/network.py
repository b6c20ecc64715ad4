"""What all networks share: named arrays that training fills, and a graph of them that scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.models.arrays import shapes_of
from stream_detector.detection.models.fixed_batches import BATCH_WINDOWS
from stream_detector.detection.models.networks.graph import INPUT, Compiled, Graph
from stream_detector.detection.models.registry import ModelOutput

Arrays = dict[str, NDArray[Any]]

MOST_STEPS = 2048
"""Of all windows of a batch: what a layer makes of them still lies in a processor's cache when the next one reads it.
An LSTM autoencoder 32-16 takes 40 us for each of 64 windows of 30 steps and 46 for each of 128; 128-64 takes 328 and
433."""


class Network(ABC):
    """Draws (B, T, F) float32 anew, or scores it. The trainer has the same network in torch, with arrays of the same
    names and shapes (`trainer.fitting.networks`)."""

    supervised = False

    def __init__(self, steps: int, sensors: int) -> None:
        self.steps, self.sensors = steps, sensors
        self._arrays = self.untrained(np.random.default_rng(0))
        self._compiled: Compiled | None = None
        self._taken: dict[int, bool] = {}

    @property
    def steps_at_once(self) -> int:
        """Rows that a layer makes of each window."""
        return self.steps

    @abstractmethod
    def untrained(self, rng: np.random.Generator) -> Arrays:
        """Arrays of the right names and shapes, before any training."""

    @abstractmethod
    def draw(self, graph: Graph, windows: str, arrays: Arrays) -> str:
        """Add the network to the graph; windows: (B, T, F) for any B."""

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        return ModelOutput(reconstruction=self.infer(windows))

    def infer(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for (B, T, F)."""
        if self._compiled is None:
            graph = Graph()
            output = self.draw(graph, INPUT, self._arrays)
            self._compiled = graph.compiled(output, (None, self.steps, self.sensors), np.float32)
        return self._compiled(windows)

    def takes(self, count: int) -> bool:
        """Whether this processor gives windows among so many the bits that they have in the usual batch: tried with
        drawn ones. More than `MOST_STEPS` together are slower than fewer."""
        if count > BATCH_WINDOWS and count * self.steps_at_once > MOST_STEPS:
            return False
        if count not in self._taken:
            number = max(count, BATCH_WINDOWS)
            drawn = np.random.default_rng(0).standard_normal((number, self.steps, self.sensors), np.float32)
            self._taken[count] = self._bits(drawn, count) == self._bits(drawn, BATCH_WINDOWS)
        return self._taken[count]

    def _bits(self, windows: NDArray[np.float32], size: int) -> list[bytes]:
        """Of the result of each window, in batches of that size."""
        found = []
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            output = self.run(batch, np.ones(batch.shape, np.bool_))
            parts = [part for part in (output.reconstruction, output.score) if part is not None]
            found += [b"".join(part[place].tobytes() for part in parts) for place in range(len(batch))]
        return found

    def arrays(self) -> Arrays:
        return {name: array.copy() for name, array in self._arrays.items()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        wanted, found = shapes_of(self._arrays), shapes_of(arrays)
        if wanted != found:
            differing = sorted(wanted.items() ^ found.items())[:4]
            raise ValueError(f"the weights do not fit the model: names and shapes differ in {differing}")
        self._arrays = {name: np.array(array, np.float32) for name, array in arrays.items()}
        self._compiled = None
        self._taken = {}


def uniform(rng: np.random.Generator, shape: tuple[int, ...], inputs: int) -> NDArray[np.float32]:
    """Weights of a unit with so many inputs before any training: +-1 / sqrt(inputs)."""
    return rng.uniform(-(inputs**-0.5), inputs**-0.5, shape).astype(np.float32)


def linear_arrays(rng: np.random.Generator, name: str, inputs: int, outputs: int) -> Arrays:
    """A dense layer's arrays, named as torch names them."""
    return {
        f"{name}.weight": uniform(rng, (outputs, inputs), inputs),
        f"{name}.bias": uniform(rng, (outputs,), inputs),
    }


def convolution_arrays(rng: np.random.Generator, name: str, shape: tuple[int, int, int], units: int) -> Arrays:
    """A convolution's arrays, named as torch names them.

    shape: of the weights, (units, inputs, kernel); of a transposed convolution (inputs, units, kernel).
    """
    inputs = shape[1] * shape[2]
    return {f"{name}.weight": uniform(rng, shape, inputs), f"{name}.bias": uniform(rng, (units,), inputs)}
