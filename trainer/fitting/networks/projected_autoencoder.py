"""An LSTM autoencoder on a few principal components instead of all sensors.

The projection is learnt before the network (`prepare`), travels as two arrays, and what the network gets wrong is
carried back to the sensors, so that an alarm still names sensors.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from stream_detector.detection.models.networks.projected_autoencoder import ProjectedAutoencoder
from trainer.fitting.networks.lstm_autoencoder import LstmAutoencoderNet
from trainer.fitting.networks.torch_network import TorchNetwork


class ProjectedNet(torch.nn.Module):
    """(B, T, F) -> (B, T, F): the window plus what the inner network gets wrong in the plane of the components.

    Because the components are orthonormal, squared errors summed over sensors are those summed over components.
    """

    def __init__(self, inner: LstmAutoencoderNet, components: int, sensors: int) -> None:
        super().__init__()
        self.inner = inner
        self.mean: torch.Tensor
        self.directions: torch.Tensor
        self.register_buffer("mean", torch.zeros(sensors))
        self.register_buffer("directions", torch.eye(components, sensors))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        projected = (windows - self.mean) @ self.directions.T
        drawn: torch.Tensor = windows + (self.inner(projected) - projected) @ self.directions
        return drawn


class TorchProjected(TorchNetwork):
    """Learns the projection first."""

    def __init__(self, net: ProjectedNet) -> None:
        self._net = net
        super().__init__(net)

    def prepare(self, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> None:  # noqa: ARG002
        """Learn mean and components from the newest step of each training window (B, T, F), before any training.

        Raises ValueError where there are fewer windows than components.
        """
        wanted = len(self._net.directions)
        if len(windows) < wanted:
            raise ValueError(
                f"{wanted} components cannot be learnt from {len(windows)} training windows; wanted at least as many "
                "windows: give a longer file, or fewer components"
            )
        rows = windows[:, -1].astype(np.float64)
        mean = rows.mean(axis=0)
        _, _, directions = np.linalg.svd(rows - mean, full_matrices=False)
        kept = directions[:wanted]
        # The sign of a component is arbitrary; the largest weight is made positive so that a fit can be repeated.
        kept = kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)])[:, None]
        self._net.mean.copy_(torch.from_numpy(mean.astype(np.float32)))
        self._net.directions.copy_(torch.from_numpy(kept.astype(np.float32)))


def build(model: ProjectedAutoencoder) -> TorchNetwork:
    inner = LstmAutoencoderNet(model.components, list(model.options.hidden), model.options.output)
    return TorchProjected(ProjectedNet(inner, model.components, model.sensors))
