"""The convolutional autoencoder: strided convolutions over time down to a short code, transposed ones back.

The form that is used on the water-loop testbed and in the Keras example "Timeseries anomaly detection using an
autoencoder" (Vijay 2020).
"""

from itertools import pairwise

import torch

from stream_detector.detection.models.networks.conv_autoencoder import STRIDE, ConvAutoencoder
from trainer.fitting.networks.torch_network import TorchNetwork


class ConvAutoencoderNet(torch.nn.Module):
    """(B, T, F) -> (B, T, F). Each layer halves the time axis on the way down and doubles it on the way up."""

    def __init__(self, steps: int, sensors: int, filters: tuple[int, ...], kernel: int, dropout: float) -> None:
        super().__init__()
        self.steps = steps
        padding = kernel // 2
        down: list[torch.nn.Module] = []
        for a, b in pairwise([sensors, *filters]):
            down += [torch.nn.Conv1d(a, b, kernel, stride=STRIDE, padding=padding), torch.nn.ReLU()]
            down.append(torch.nn.Dropout(dropout))
        up: list[torch.nn.Module] = []
        back = [filters[-1], *reversed(filters)]
        for a, b in pairwise(back):
            up.append(torch.nn.ConvTranspose1d(a, b, kernel, stride=STRIDE, padding=padding, output_padding=STRIDE - 1))
            up += [torch.nn.ReLU(), torch.nn.Dropout(dropout)]
        up.append(torch.nn.Conv1d(filters[0], sensors, kernel, padding=padding))
        self.down = torch.nn.Sequential(*down)
        self.up = torch.nn.Sequential(*up)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        drawn: torch.Tensor = self.up(self.down(windows.transpose(1, 2)))
        return drawn[:, :, : self.steps].transpose(1, 2)


def build(model: ConvAutoencoder) -> TorchNetwork:
    options = model.options
    return TorchNetwork(
        ConvAutoencoderNet(model.steps, model.sensors, options.filters, options.kernel, options.dropout)
    )
