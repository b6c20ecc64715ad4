"""The 1D-CNN classifier of bearing vibration: two convolutions, then one number, P(anomalous).

It learns from labelled windows. On normal windows alone it can only learn to say "normal"; the bearing benchmark shows
what that costs.
"""

import torch

from stream_detector.detection.models.networks.conv_classifier import ConvClassifier
from trainer.fitting.networks.torch_network import Loss, TorchNetwork


class ConvClassifierNet(torch.nn.Module):
    """(B, T, F) -> (B, 1, 1) logits: convolution, ReLU, pooling, twice; the largest value of each filter; dense."""

    def __init__(self, sensors: int, filters: tuple[int, ...], kernel: int, pool: int) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        inputs = sensors
        for units in filters:
            layers += [torch.nn.Conv1d(inputs, units, kernel, padding=kernel // 2), torch.nn.ReLU()]
            layers.append(torch.nn.MaxPool1d(pool, ceil_mode=True))
            inputs = units
        self.convolutions = torch.nn.Sequential(*layers)
        self.output = torch.nn.Linear(2 * inputs, 1)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        maps = self.convolutions(windows.transpose(1, 2))
        logit: torch.Tensor = self.output(torch.cat([maps.amax(dim=2), maps.mean(dim=2)], dim=1))
        return logit[:, :, None]


class TorchClassifier(TorchNetwork):
    """Learns from labels."""

    def loss(self, windows: torch.Tensor, known: torch.Tensor, labels: torch.Tensor, kind: Loss) -> torch.Tensor:  # noqa: ARG002
        """Cross entropy: labels (B,), 1 = anomalous. Both classes weigh the same, however many examples each has."""
        logits = self.module(windows)[:, 0, 0]
        targets = labels.to(logits.dtype)
        positives = targets.mean().clamp(0.01, 0.99)
        weights = torch.where(labels.bool(), 0.5 / positives, 0.5 / (1 - positives))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weights)


def build(model: ConvClassifier) -> TorchNetwork:
    options = model.options
    return TorchClassifier(ConvClassifierNet(model.sensors, options.filters, options.kernel, options.pool))
