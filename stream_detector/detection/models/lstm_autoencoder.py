"""The LSTM autoencoder: a window squeezed into one small vector and drawn again from it.

After Malhotra et al. 2016, "LSTM-based encoder-decoder for multi-sensor anomaly detection"; the decoder reads the
repeated code, as in the Keras form that most published industrial recipes use.
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.torch_model import TorchModel


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


class LstmAutoencoder(TorchModel):
    """Kind "lstm-autoencoder"."""

    class Options(Config):
        hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=8)] = (
            32,
            16,
        )
        """Units of the encoder's layers; the decoder mirrors them."""
        output: Literal["linear", "sigmoid"] = Field(
            default="linear", description='"sigmoid" for inputs scaled to [0, 1]'
        )

    def __init__(self, options: Options, steps: int, sensors: int) -> None:  # noqa: ARG002 - any number of steps fits
        super().__init__(LstmAutoencoderNet(sensors, list(options.hidden), options.output))
