"""What all networks have in common while they are fitted: a torch module, a loss, and arrays to serve from."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from stream_detector.detection.models.networks.network import Network

Loss = Literal["squared", "absolute"]


class TorchNetwork:
    """A network `module`: (B, T, F) float32 -> reconstruction (B, R, F) of the newest R steps."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def prepare(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
        """Learn from the training windows (B, T, F) before the network is trained; most kinds learn nothing here."""

    def loss(self, windows: torch.Tensor, known: torch.Tensor, labels: torch.Tensor, kind: Loss) -> torch.Tensor:  # noqa: ARG002
        """Training loss of a batch (B, T, F): the mean error over the known cells."""
        output = self.module(windows)
        newest = output.shape[1]
        difference = (output - windows[:, -newest:]) * known[:, -newest:]
        error = difference.abs() if kind == "absolute" else difference.square()
        mean: torch.Tensor = error.sum() / known[:, -newest:].sum().clamp(min=1)
        return mean

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.module.state_dict().items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` gave."""
        self.module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})


def torch_network(model: Network, seed: int) -> TorchNetwork:
    """The torch form of a network; its first weights follow from the seed."""
    kind = type(model).__module__.rpartition(".")[2]
    module = import_module(f"trainer.fitting.networks.{kind}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cast("TorchNetwork", module.build(model))
