"""The training loop of networks: Adam, shuffled batches, early stopping on the newest part of the training windows."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from stream_detector.errors import DataError
from trainer.fitting.adam import Adam
from trainer.fitting.losses import Losses
from trainer.fitting.networks.torch_network import TorchNetwork
from trainer.fitting.threads import one_thread
from trainer.recipe import TrainConfig

CHUNK = 4096


def train_network(
    model: TorchNetwork,
    windows: NDArray[np.float32],
    known: NDArray[np.bool_],
    labels: NDArray[np.bool_],
    config: TrainConfig,
    on_epoch: Callable[[int, float, float], None],
) -> Losses:
    """Train `model` in place and leave it, on the CPU, as it was in its best epoch.

    windows, known: (B, T, F) in the order of time, 0 and False where masked; labels: (B,). `on_epoch` gets the number
    of epochs done and both losses. The same arguments give the same weights on the same machine.
    """
    held = max(1, round(len(windows) * config.holdout))
    if len(windows) - held < 1:
        raise DataError(f"{len(windows)} normal training windows are too few to learn from; give a longer file")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.module.to(device)
    inputs, masks, targets = (
        torch.from_numpy(windows).to(device),
        torch.from_numpy(known).to(device),
        torch.from_numpy(labels).to(device),
    )
    learnt = slice(0, len(windows) - held)
    held_out = slice(len(windows) - held, len(windows))
    optimizer = Adam(model.module.parameters(), config.learning_rate)
    order = torch.Generator().manual_seed(config.seed)
    train_losses: list[float] = []
    holdout_losses: list[float] = []
    best, best_state = -1, model.arrays()
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # dropout
        for epoch in range(config.epochs):
            model.module.train()
            total = 0.0
            shuffled = torch.randperm(learnt.stop, generator=order)
            for start in range(0, learnt.stop, config.batch_size):
                chosen = shuffled[start : start + config.batch_size].to(device)
                optimizer.zero_grad()
                loss = model.loss(inputs[chosen], masks[chosen], targets[chosen], config.loss)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.module.parameters(), 1.0)
                optimizer.step()
                total += float(loss.detach()) * len(chosen)
            train_losses.append(total / learnt.stop)
            holdout_losses.append(_mean_loss(model, inputs[held_out], masks[held_out], targets[held_out], config))
            on_epoch(epoch + 1, train_losses[-1], holdout_losses[-1])
            if best < 0 or holdout_losses[-1] < holdout_losses[best]:
                best, best_state = epoch, model.arrays()
            elif epoch - best >= config.patience:
                break
    model.module.to("cpu")
    model.load(best_state)
    return Losses(tuple(train_losses), tuple(holdout_losses), best)


def _mean_loss(
    model: TorchNetwork, inputs: torch.Tensor, masks: torch.Tensor, targets: torch.Tensor, config: TrainConfig
) -> float:
    model.module.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(inputs), CHUNK):
            part = slice(start, start + CHUNK)
            total += float(model.loss(inputs[part], masks[part], targets[part], config.loss)) * len(inputs[part])
    return total / len(inputs)
