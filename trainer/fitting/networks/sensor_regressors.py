"""One small network a sensor predicts it from the other sensors; the residuals are the errors.

The idea that does best on attacked water networks: physics ties the sensors together, and an attacker who moves one
cannot move them all (Housh and Ohar 2018, "Model-based approach for cyber-physical attack detection in water
distribution systems"; there with a hydraulic simulator, here learnt). All networks train at once, as one batched
product.
"""

import torch

from stream_detector.detection.models.sensor_regressors import SensorRegressors, others
from trainer.fitting.networks.torch_network import Loss, TorchNetwork


class SensorRegressorsNet(torch.nn.Module):
    """(B, T, F) -> (B, T - lags, F): each sensor from the others in the same and the `lags` steps before."""

    def __init__(self, sensors: int, lags: int, hidden: int) -> None:
        super().__init__()
        inputs = sensors * (lags + 1)
        self.lags = lags
        self.weight_in = torch.nn.Parameter(torch.randn(sensors, inputs, hidden) / inputs**0.5)
        self.bias_in = torch.nn.Parameter(torch.zeros(sensors, 1, hidden))
        self.weight_out = torch.nn.Parameter(torch.randn(sensors, hidden, 1) / hidden**0.5)
        self.bias_out = torch.nn.Parameter(torch.zeros(sensors, 1, 1))
        self.others: torch.Tensor
        self.register_buffer("others", torch.from_numpy(others(sensors, lags)), persistent=False)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        length = windows.shape[1] - self.lags
        lagged = [windows[:, self.lags - lag : self.lags - lag + length] for lag in range(self.lags + 1)]
        rows = torch.cat(lagged, dim=2).flatten(end_dim=1)
        weight = self.weight_in * self.others
        hidden = torch.relu(rows.expand(len(weight), -1, -1) @ weight + self.bias_in)
        predicted = (hidden @ self.weight_out + self.bias_out)[:, :, 0]
        return predicted.T.reshape(len(windows), length, -1)


class TorchRegressors(TorchNetwork):
    """noise: standard deviation of what is added to the inputs while training."""

    def __init__(self, module: torch.nn.Module, noise: float) -> None:
        self._noise = noise
        super().__init__(module)

    def loss(self, windows: torch.Tensor, known: torch.Tensor, labels: torch.Tensor, kind: Loss) -> torch.Tensor:  # noqa: ARG002
        """Huber loss of the predictions from noisy inputs: valves jump, and their jumps should not rule the fit."""
        inputs = windows
        if self.module.training and self._noise:
            inputs = windows + self._noise * torch.randn_like(windows)
        output = self.module(inputs)
        newest = output.shape[1]
        errors = torch.nn.functional.huber_loss(output, windows[:, -newest:], reduction="none") * known[:, -newest:]
        mean: torch.Tensor = errors.sum() / known[:, -newest:].sum().clamp(min=1)
        return mean


def build(model: SensorRegressors) -> TorchNetwork:
    options = model.options
    return TorchRegressors(SensorRegressorsNet(model.sensors, options.lags, options.hidden), options.noise)
