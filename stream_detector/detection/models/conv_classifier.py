"""The 1D-CNN classifier of bearing vibration: two convolutions, then one number, P(anomalous).

It learns from labelled windows. On normal windows alone it can only learn to say "normal"; the bearing benchmark shows
what that costs.
"""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.registry import ModelOutput
from stream_detector.detection.models.torch_model import Loss, TorchModel


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


class ConvClassifier(TorchModel):
    """Kind "conv-classifier"; the score is P(anomalous)."""

    supervised = True

    class Options(Config):
        filters: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, max_length=6)] = (
            16,
            32,
        )
        kernel: Annotated[int, Field(ge=3, le=257)] = 9
        pool: Annotated[int, Field(ge=1, le=64)] = 4

    def __init__(self, options: Options, steps: int, sensors: int) -> None:  # noqa: ARG002 - any number of steps fits
        super().__init__(ConvClassifierNet(sensors, options.filters, options.kernel, options.pool))

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        logits = self.infer(windows)[:, 0, 0].astype(np.float64)
        return ModelOutput(score=1.0 / (1.0 + np.exp(-logits)))

    def loss(self, windows: torch.Tensor, known: torch.Tensor, labels: torch.Tensor, kind: Loss) -> torch.Tensor:  # noqa: ARG002
        """Cross entropy: labels (B,), 1 = anomalous. Both classes weigh the same, however many examples each has."""
        logits = self.module(windows)[:, 0, 0]
        targets = labels.to(logits.dtype)
        positives = targets.mean().clamp(0.01, 0.99)
        weights = torch.where(labels.bool(), 0.5 / positives, 0.5 / (1 - positives))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weights)
