"""What all torch models share: inference on one thread, and a state of named arrays."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from stream_detector.detection.models.registry import ModelOutput
from stream_detector.detection.models.threads import one_thread

Loss = Literal["squared", "absolute"]


class TorchModel:
    """A network `module`: (B, T, F) float32 -> reconstruction (B, R, F) of the newest R steps."""

    supervised = False

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        return ModelOutput(reconstruction=self.infer(windows))

    def infer(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The module's output for (B, T, F)."""
        if self.module.training:
            self.module.eval()
        with one_thread(), torch.inference_mode():
            output: NDArray[np.float32] = self.module(torch.from_numpy(windows)).numpy()
        return output

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

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        wanted = {name: tuple(tensor.shape) for name, tensor in self.module.state_dict().items()}
        found = {name: tuple(array.shape) for name, array in arrays.items()}
        if wanted != found:
            differing = sorted(wanted.items() ^ found.items())[:4]
            raise ValueError(f"the weights do not fit the model: names and shapes differ in {differing}")
        self.module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
