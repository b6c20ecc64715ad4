"""The dense autoencoder: a whole window, laid out as one vector, through a narrow middle and back.

Serves lots and beats (one row = one sample, a window of one step), stretches of vibration (many steps of one sensor)
and short windows of a plant. With batch normalisation and leaky ReLU it is the "linear" autoencoder of the bearing
studies; after Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks".
"""

from itertools import pairwise
from typing import Literal

import torch

from stream_detector.detection.models.networks.dense_autoencoder import Activation, DenseAutoencoder
from trainer.fitting.networks.torch_network import TorchNetwork

ACTIVATIONS: dict[Activation, type[torch.nn.Module]] = {
    "relu": torch.nn.ReLU,
    "leaky-relu": torch.nn.LeakyReLU,
    "tanh": torch.nn.Tanh,
}


class DenseAutoencoderNet(torch.nn.Module):
    """(B, T, F) -> (B, T, F) by way of T * F inputs, the layers of `hidden` and the same backwards."""

    def __init__(
        self,
        steps: int,
        sensors: int,
        hidden: tuple[int, ...],
        activation: Activation,
        batch_norm: bool,
        output: Literal["linear", "sigmoid"],
    ) -> None:
        super().__init__()
        inputs = steps * sensors
        widths = [inputs, *hidden, *reversed(hidden[:-1]), inputs]
        layers: list[torch.nn.Module] = []
        for index, (narrow, wide) in enumerate(pairwise(widths)):
            layers.append(torch.nn.Linear(narrow, wide))
            if index < len(widths) - 2:
                if batch_norm:
                    layers.append(BatchNorm(wide))
                layers.append(ACTIVATIONS[activation]())
        if output == "sigmoid":
            layers.append(torch.nn.Sigmoid())
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        drawn: torch.Tensor = self.layers(windows.flatten(start_dim=1))
        return drawn.reshape(windows.shape)


class BatchNorm(torch.nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) of (B, units), with float arrays for its whole state.

    torch's own also keeps a counter, a scalar that a bundle's arrays would not give back in the same shape.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(units))
        self.bias = torch.nn.Parameter(torch.zeros(units))
        self.mean: torch.Tensor
        self.variance: torch.Tensor
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("variance", torch.ones(units))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        # A batch of one row has no variance; it is normalised by what the batches before it taught.
        learning = self.training and len(values) > 1
        return torch.nn.functional.batch_norm(
            values, self.mean, self.variance, self.weight, self.bias, training=learning, momentum=0.1
        )


def build(model: DenseAutoencoder) -> TorchNetwork:
    options = model.options
    return TorchNetwork(
        DenseAutoencoderNet(
            model.steps, model.sensors, options.hidden, options.activation, options.batch_norm, options.output
        )
    )
