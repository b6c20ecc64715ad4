"""The small recurrent autoencoder of the bearing studies: a few hidden units that read a short sequence and redraw it.

Unlike the LSTM autoencoder its code is the sequence of hidden states, one a step, so that even two units can follow a
signal; the narrow place is the number of units.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from stream_detector.detection.config import Config
from stream_detector.detection.models.torch_model import TorchModel

Cell = Literal["rnn", "gru", "lstm"]
CELLS: dict[Cell, type[torch.nn.RNN | torch.nn.GRU | torch.nn.LSTM]] = {
    "rnn": torch.nn.RNN,
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}


class RecurrentAutoencoderNet(torch.nn.Module):
    """(B, T, F) -> (B, T, F): a recurrent layer of `hidden` units, another that reads its states, a dense output.

    A window is redrawn in sequences of `sequence` steps, each by itself.
    """

    def __init__(
        self, sensors: int, sequence: int, hidden: int, cell: Cell, output: Literal["linear", "sigmoid"]
    ) -> None:
        super().__init__()
        self.sequence = sequence
        self.encoder = CELLS[cell](sensors, hidden, batch_first=True)
        self.decoder = CELLS[cell](hidden, hidden, batch_first=True)
        self.output = torch.nn.Linear(hidden, sensors)
        self.sigmoid = output == "sigmoid"

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        states, _ = self.encoder(windows.reshape(-1, self.sequence, windows.shape[2]))
        drawn, _ = self.decoder(states)
        values: torch.Tensor = self.output(drawn)
        values = values.reshape(windows.shape)
        return torch.sigmoid(values) if self.sigmoid else values


class RecurrentAutoencoder(TorchModel):
    """Kind "recurrent-autoencoder"."""

    class Options(Config):
        hidden: Annotated[int, Field(ge=1, le=1024)] = 2
        sequence: Annotated[int, Field(ge=0)] = 0
        """Steps of a sequence; the window's length must be a multiple. 0: the whole window is one."""
        cell: Cell = "lstm"
        output: Literal["linear", "sigmoid"] = Field(
            default="sigmoid", description='"sigmoid" for inputs scaled to [0, 1]'
        )

    def __init__(self, options: Options, steps: int, sensors: int) -> None:
        sequence = options.sequence or steps
        if steps % sequence:
            raise ValueError(f"a window of {steps} steps is no multiple of sequence = {sequence}")
        super().__init__(RecurrentAutoencoderNet(sensors, sequence, options.hidden, options.cell, options.output))
