"""Losses of a training run, epoch by epoch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Losses:
    """Mean loss of each epoch: on what was learnt from, and on what was held out. `best` is the epoch that was kept.

    Empty for a model that is not trained by epochs.
    """

    train: tuple[float, ...] = ()
    holdout: tuple[float, ...] = ()
    best: int = 0
