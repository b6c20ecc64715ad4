"""The training loop: the same seed gives the same weights, it stops early, and it keeps the best epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_detector.detection.models.networks.lstm_autoencoder import LstmAutoencoder
from trainer.fitting.adam import Adam
from trainer.fitting.losses import Losses
from trainer.fitting.networks.torch_network import TorchNetwork, torch_network
from trainer.fitting.training import train_network
from trainer.recipe import TrainConfig

STEPS, SENSORS = 4, 2


def network(seed: int = 0) -> TorchNetwork:
    return torch_network(LstmAutoencoder(LstmAutoencoder.Options(hidden=(4, 2)), STEPS, SENSORS), seed)


def waves(count: int = 120) -> NDArray[np.float32]:
    phase = np.arange(count)[:, None] / 7 + np.arange(STEPS) / 3
    return np.stack([np.sin(phase), np.cos(phase)], axis=2).astype(np.float32)


def train(
    model: TorchNetwork, windows: NDArray[np.float32], on_epoch: Callable[..., Any] = lambda *_: None, **options: float
) -> Losses:
    known = np.ones(windows.shape, bool)
    config = TrainConfig(**{"epochs": 6, "batch_size": 16, "learning_rate": 1e-2, **options})
    return train_network(model, windows, known, np.zeros(len(windows), bool), config, on_epoch)


def naive_adam(
    gradients: list[float], rate: float, first_decay: float = 0.9, second_decay: float = 0.999, epsilon: float = 1e-8
) -> float:
    """Algorithm 1 of the paper, for one number: how far it is moved by a sequence of gradients."""
    value = first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        first = first_decay * first + (1 - first_decay) * gradient
        second = second_decay * second + (1 - second_decay) * gradient**2
        value -= rate * (first / (1 - first_decay**step)) / ((second / (1 - second_decay**step)) ** 0.5 + epsilon)
    return value


def test_adam_moves_as_the_paper_says() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = Adam([parameter], 0.1)
    gradients = [3.0, -1.0, 0.5, 0.0, 2.0]
    for gradient in gradients:
        optimizer.zero_grad()
        (parameter * gradient).sum().backward()
        optimizer.step()
    assert abs(parameter.item() - naive_adam(gradients, 0.1)) < 1e-12


def test_training_lowers_the_loss_and_reports_each_epoch() -> None:
    seen = []
    losses = train(network(), waves(), on_epoch=lambda *numbers: seen.append(numbers), epochs=12)
    assert losses.holdout[losses.best] < 0.8 * losses.holdout[0]
    assert [epoch for epoch, _, _ in seen] == list(range(1, len(losses.train) + 1))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    models = [network(), network(), network()]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        train(model, waves(), seed=seed)
    first, again, other = (model.arrays() for model in models)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_training_stops_early_and_keeps_the_weights_of_the_best_epoch() -> None:
    windows = waves()
    windows[-12:] *= -40  # what is held out looks like nothing that is learnt
    model = network()
    losses = train(model, windows, epochs=60, patience=2, learning_rate=0.1)
    assert len(losses.train) == losses.best + 1 + 2 < 60
    held_out = torch.from_numpy(windows[-12:])
    known, labels = torch.ones(held_out.shape, dtype=torch.bool), torch.zeros(12, dtype=torch.bool)
    assert model.loss(held_out, known, labels, "squared").item() == losses.holdout[losses.best]


def test_masked_cells_teach_nothing() -> None:
    windows, known = waves(), np.ones((120, STEPS, SENSORS), bool)
    known[:, 1, 0] = False
    windows[:, 1, 0] = 0.0
    config = TrainConfig(epochs=2, batch_size=16)
    model = network()
    batch = torch.from_numpy(windows[:8]), torch.from_numpy(known[:8])
    before = model.loss(*batch, torch.zeros(8, dtype=torch.bool), "absolute")
    drawn = model.module(batch[0]).detach().numpy()
    cells = [abs(drawn[index] - windows[:8][index]) for index in np.ndindex(drawn.shape) if known[:8][index]]
    assert abs(before.item() - float(np.mean(cells))) < 1e-6
    train_network(model, windows, known, np.zeros(120, bool), config, lambda *_: None)
