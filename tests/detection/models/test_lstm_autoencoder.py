"""The LSTM autoencoder against its equations, written out step by step."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_detector.detection.models.fixed_batches import BATCH_WINDOWS
from stream_detector.detection.models.networks.lstm_autoencoder import LstmAutoencoder, layer_sizes

SENSORS, STEPS = 3, 6


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-values))


def naive_lstm(arrays: dict[str, NDArray[np.float32]], name: str, inputs: NDArray[Any]) -> NDArray[np.float64]:
    """Hochreiter and Schmidhuber 1997 with a forget gate, one window: (T, inputs) -> (T, units)."""
    weights = {part: arrays[f"{name}.{part}_l0"].astype(np.float64) for part in PARTS}
    units = weights["weight_hh"].shape[1]
    hidden, cell, outputs = np.zeros(units), np.zeros(units), []
    for step in inputs:
        gates = weights["weight_ih"] @ step + weights["bias_ih"] + weights["weight_hh"] @ hidden + weights["bias_hh"]
        enter, forget, candidate, leave = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def naive_autoencoder(model: LstmAutoencoder, window: NDArray[np.float32]) -> NDArray[Any]:
    arrays = model.arrays()
    signal: NDArray[Any] = window
    for layer in range(len(model.options.hidden)):
        signal = naive_lstm(arrays, f"encoder.{layer}", signal)
    signal = np.repeat(signal[-1:], len(window), axis=0)
    for layer in range(len(model.options.hidden)):
        signal = naive_lstm(arrays, f"decoder.{layer}", signal)
    drawn = signal @ arrays["output.weight"].T + arrays["output.bias"]
    return sigmoid(drawn) if model.options.output == "sigmoid" else drawn


@pytest.mark.parametrize("hidden", [(4,), (5, 2), (6, 4, 2)])
@pytest.mark.parametrize("output", ["linear", "sigmoid"])
def test_the_network_is_what_its_equations_say(hidden: tuple[Any, ...], output: str) -> None:
    model = LstmAutoencoder(LstmAutoencoder.Options(hidden=hidden, output=output), STEPS, SENSORS)
    windows = np.random.default_rng(2).normal(size=(BATCH_WINDOWS, STEPS, SENSORS)).astype(np.float32)
    for window, drawn in zip(windows, model.infer(windows), strict=True):
        np.testing.assert_allclose(drawn, naive_autoencoder(model, window), atol=1e-5)


def test_the_decoder_mirrors_the_encoder() -> None:
    assert layer_sizes(60, (32, 16)) == {
        "encoder.0": (60, 32), "encoder.1": (32, 16), "decoder.0": (16, 16), "decoder.1": (16, 32),
    }  # fmt: skip
