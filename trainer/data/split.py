"""Splits rows into those that are learnt from, that choose the threshold, and that judge."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from trainer.recipe import SplitConfig


@dataclass(frozen=True)
class Split:
    """Three disjoint masks (N,) over the rows of a file."""

    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]


def split_rows(config: SplitConfig, rows: int, seed: int, parts: NDArray[np.int64] | None = None) -> Split:
    """Split a file of `rows` rows: by time, the first rows are learnt from and the last ones judge.

    parts: (N,) ascending, where several recordings lie end to end; then each of them is split by itself.

    The same arguments give the same split, so that `evaluate` finds the rows again that nothing was chosen on.
    """
    if parts is not None and len(np.unique(parts)) > 1:
        splits = [split_rows(config, int((parts == part).sum()), seed) for part in np.unique(parts)]
        return Split(
            np.concatenate([split.train for split in splits]),
            np.concatenate([split.validation for split in splits]),
            np.concatenate([split.test for split in splits]),
        )
    order = np.arange(rows) if config.by == "time" else np.random.default_rng(seed).permutation(rows)
    first = round(config.train * rows)
    second = round((config.train + config.validation) * rows)
    if config.train_rows is not None and first > config.train_rows:
        first, second = config.train_rows, second - (first - config.train_rows)
    if first == 0:
        raise DataError(f"{rows} rows leave none to learn from at split.train = {config.train}; give a longer file")
    masks = []
    for part in (order[:first], order[first:second], order[second:]):
        mask = np.zeros(rows, dtype=bool)
        mask[part] = True
        masks.append(mask)
    return Split(*masks)
