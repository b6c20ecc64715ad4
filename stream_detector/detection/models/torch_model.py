"""What all torch models share: inference that does not depend on the batch, and a state of named arrays."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from stream_detector.detection.models.registry import ModelOutput
from stream_detector.detection.models.threads import one_thread

BATCH_MULTIPLE = 16
"""Batches are padded to a multiple of this. A matrix product of one row takes another path than one of many and rounds
differently (measured with torch 2 and MKL: batches of 1, and odd ones for layers of 2 units); padded ones all agree."""

BATCH_SIZES = BATCH_MULTIPLE * np.array([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64])
"""Networks see batches of these sizes only (above the last: of multiples of it). oneDNN prepares a network anew for
each size that it has not met, and keeps that: 7 ms and up to 10 MB a size, measured with four LSTM layers."""

Loss = Literal["squared", "absolute"]


def padded(count: int) -> int:
    """The size to which a batch of `count` windows is filled up."""
    if count > BATCH_SIZES[-1]:
        return count + -count % int(BATCH_SIZES[-1])
    return int(BATCH_SIZES[np.searchsorted(BATCH_SIZES, count)])


class TorchModel:
    """A network `module`: (B, T, F) float32 -> reconstruction (B, R, F) of the newest R steps."""

    supervised = False

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def run(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:  # noqa: ARG002
        return ModelOutput(reconstruction=self.infer(windows))

    def infer(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The module's output for (B, T, F), bitwise the same however the windows are batched."""
        count = len(windows)
        padding = padded(count) - count
        if padding:
            windows = np.concatenate([windows, np.zeros((padding, *windows.shape[1:]), np.float32)])
        if self.module.training:
            self.module.eval()
        with one_thread(), torch.inference_mode():
            output: NDArray[np.float32] = self.module(torch.from_numpy(windows)).numpy()
        return output[:count]

    def prepare(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
        """What a kind learns from the training windows (B, T, F) before its network is trained: here nothing."""

    def loss(self, windows: torch.Tensor, known: torch.Tensor, labels: torch.Tensor, kind: Loss) -> torch.Tensor:  # noqa: ARG002
        """What training minimises for a batch (B, T, F): the mean error over the known cells."""
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
