"""One small network a sensor predicts it from the other sensors; the residuals are the errors.

The idea that does best on attacked water networks: physics ties the sensors together, and an attacker who moves one
cannot move them all (Housh and Ohar 2018, "Model-based approach for cyber-physical attack detection in water
distribution systems"; there with a hydraulic simulator, here learnt). All networks train at once, as one batched
product.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.networks.network import Arrays, Network

if TYPE_CHECKING:
    from stream_detector.detection.models.networks.graph import Graph


class SensorRegressors(Network):
    """Kind "sensor-regressors": each sensor from the others in the same and the `lags` steps before."""

    class Options(Config):
        lags: Annotated[int, Field(ge=0, le=32)] = 3
        hidden: Annotated[int, Field(ge=1, le=1024)] = 32
        noise: Annotated[float, Field(ge=0, le=2)] = 0.1
        """Standard deviation of the noise on the inputs while training, in scaled units: the networks learn to lean on
        many sensors, and stay calm when the plant's level moves."""

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        if options.lags >= steps:
            raise ValueError(f"lags = {options.lags} leaves nothing of a window of {steps} steps")
        self.options = options
        super().__init__(steps, sensors)

    def untrained(self, rng: np.random.Generator) -> Arrays:
        sensors, hidden = self.sensors, self.options.hidden
        inputs = sensors * (self.options.lags + 1)
        return {
            "weight_in": (rng.standard_normal((sensors, inputs, hidden)) / inputs**0.5).astype(np.float32),
            "bias_in": np.zeros((sensors, 1, hidden), np.float32),
            "weight_out": (rng.standard_normal((sensors, hidden, 1)) / hidden**0.5).astype(np.float32),
            "bias_out": np.zeros((sensors, 1, 1), np.float32),
        }

    def draw(self, graph: "Graph", windows: str, arrays: Arrays) -> str:
        lags, sensors = self.options.lags, self.sensors
        length = self.steps - lags
        lagged = [graph.slice(windows, 1, lags - lag, self.steps - lag) for lag in range(lags + 1)]
        rows = graph.reshape(graph.node("Concat", *lagged, axis=2), [1, -1, sensors * (lags + 1)])
        weight = arrays["weight_in"] * others(sensors, lags)
        inner = graph.node("MatMul", rows, graph.constant(weight))
        hidden = graph.node("Relu", graph.node("Add", inner, graph.constant(arrays["bias_in"])))
        predicted = graph.node("MatMul", hidden, graph.constant(arrays["weight_out"]))
        predicted = graph.node("Add", predicted, graph.constant(arrays["bias_out"]))
        by_sensor = graph.reshape(predicted, [sensors, -1])
        return graph.reshape(graph.transpose(by_sensor, [1, 0]), [-1, length, sensors])


def others(sensors: int, lags: int) -> NDArray[np.float32]:
    """(sensors, inputs, 1): 0 where an input is the sensor itself, at any lag: a replayed or frozen signal would
    predict itself."""
    mask = np.ones((sensors, sensors * (lags + 1), 1), np.float32)
    for sensor in range(sensors):
        mask[sensor, sensor::sensors] = 0.0
    return mask
