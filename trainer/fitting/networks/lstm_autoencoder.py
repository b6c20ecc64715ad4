"""The LSTM autoencoder: a window squeezed into one small vector and drawn again from it.

After Malhotra et al. 2016, "LSTM-based encoder-decoder for multi-sensor anomaly detection"; the decoder reads the
repeated code, as in the Keras form that most published industrial recipes use.
"""

from itertools import pairwise
from typing import Literal

import torch

from stream_detector.detection.models.networks.lstm_autoencoder import LstmAutoencoder
from trainer.fitting.networks.torch_network import TorchNetwork


class LstmAutoencoderNet(torch.nn.Module):
    """(B, T, F) -> (B, T, F). Encoder layers of `hidden` units, the same backwards in the decoder, a linear output."""

    def __init__(self, sensors: int, hidden: list[int], output: Literal["linear", "sigmoid"]) -> None:
        super().__init__()
        down = [sensors, *hidden]
        up = [hidden[-1], *reversed(hidden)]
        self.encoder = torch.nn.ModuleList(_layer(a, b) for a, b in pairwise(down))
        self.decoder = torch.nn.ModuleList(_layer(a, b) for a, b in pairwise(up))
        self.output = torch.nn.Linear(hidden[0], sensors)
        self.sigmoid = output == "sigmoid"

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        steps = windows.shape[1]
        signal = windows
        for layer in self.encoder:
            signal, _ = layer(signal)
        signal = signal[:, -1:].expand(-1, steps, -1)
        for layer in self.decoder:
            signal, _ = layer(signal)
        drawn: torch.Tensor = self.output(signal)
        return torch.sigmoid(drawn) if self.sigmoid else drawn


def _layer(inputs: int, units: int) -> torch.nn.Module:
    return torch.nn.LSTM(inputs, units, batch_first=True)


def build(model: LstmAutoencoder) -> TorchNetwork:
    return TorchNetwork(LstmAutoencoderNet(model.sensors, list(model.options.hidden), model.options.output))
