"""The LSTM autoencoder against its equations, written out step by step."""

import numpy as np
import pytest
import torch

from stream_detector.detection.models.lstm_autoencoder import LstmAutoencoderNet

SENSORS, STEPS = 3, 6


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def naive_lstm(layer, inputs):
    """Hochreiter and Schmidhuber 1997 with a forget gate, one window: (T, inputs) -> (T, units)."""
    weights = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in layer.named_parameters()}
    units = layer.hidden_size
    hidden, cell, outputs = np.zeros(units), np.zeros(units), []
    for step in inputs:
        gates = weights["weight_ih_l0"] @ step + weights["bias_ih_l0"]
        gates = gates + weights["weight_hh_l0"] @ hidden + weights["bias_hh_l0"]
        enter, forget, candidate, leave = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def naive_autoencoder(net, window):
    signal = window
    for layer in net.encoder:
        signal = naive_lstm(layer, signal)
    signal = np.repeat(signal[-1:], len(window), axis=0)
    for layer in net.decoder:
        signal = naive_lstm(layer, signal)
    drawn = signal @ net.output.weight.detach().numpy().T + net.output.bias.detach().numpy()
    return sigmoid(drawn) if net.sigmoid else drawn


@pytest.mark.parametrize("hidden", [[4], [5, 2], [6, 4, 2]])
@pytest.mark.parametrize("output", ["linear", "sigmoid"])
def test_the_network_is_what_its_equations_say(hidden, output):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = LstmAutoencoderNet(SENSORS, hidden, output)
    windows = np.random.default_rng(2).normal(size=(4, STEPS, SENSORS)).astype(np.float32)
    found = net(torch.from_numpy(windows)).detach().numpy()
    for window, drawn in zip(windows, found, strict=True):
        np.testing.assert_allclose(drawn, naive_autoencoder(net, window), atol=1e-5)


def test_the_decoder_mirrors_the_encoder():
    net = LstmAutoencoderNet(60, [32, 16], "linear")
    assert [(layer.input_size, layer.hidden_size) for layer in net.encoder] == [(60, 32), (32, 16)]
    assert [(layer.input_size, layer.hidden_size) for layer in net.decoder] == [(16, 16), (16, 32)]
    assert net.output.out_features == 60
