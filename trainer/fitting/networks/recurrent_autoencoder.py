"""The small recurrent autoencoder of the bearing studies: a few hidden units that read a short sequence and redraw it.

Unlike the LSTM autoencoder its code is the sequence of hidden states, one a step, so that even two units can follow a
signal; the narrow place is the number of units.
"""

from typing import Literal

import torch

from stream_detector.detection.models.networks.recurrent_autoencoder import RecurrentAutoencoder
from stream_detector.detection.models.networks.recurrent_layer import Cell
from trainer.fitting.networks.torch_network import TorchNetwork

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


def build(model: RecurrentAutoencoder) -> TorchNetwork:
    options = model.options
    return TorchNetwork(
        RecurrentAutoencoderNet(model.sensors, model.sequence, options.hidden, options.cell, options.output)
    )
