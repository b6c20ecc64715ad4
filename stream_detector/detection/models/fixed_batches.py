"""Models see batches of fixed sizes only, so that a window's result does not depend on the windows beside it.

Libraries round a matrix product otherwise for other numbers of rows (measured with MKL: principal components of 16 and
of 304 rows), and some compute the last elements of an array by other instructions than the rest (torch beyond a
multiple of 32: a sigmoid of 48 values is not that of 64). One size leaves nothing to choose from; that a window's place
in the batch does not matter either is held by tests. A model may take other sizes, for many windows at a time and for
few, once it has found that they give the same bits on this processor.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.models.registry import Model, ModelOutput, takes

BATCH_WINDOWS = 16
"""Small, so that few windows at a time are cheap."""

FEW_WINDOWS = 4
"""So many take a network a half (5 steps of 50 sensors) or a third (30 of 61) of the time of `BATCH_WINDOWS`. A worker
that keeps up with its readings scores a few windows at a time."""

MANY_WINDOWS = 128
"""Of so many at a time a network scores a third more in a second than of `BATCH_WINDOWS`."""


def run_in_batches(model: Model, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
    """`model.run` on (B, T, F) windows, B > 0, in batches of the sizes that the model takes, the last one filled up
    with zeros."""
    parts, start = [], 0
    for size in _sizes(model, len(windows)):
        span = slice(start, start + size)
        parts.append(model.run(_filled(windows[span], size), _filled(known[span], size)))
        start += size
    return ModelOutput(
        reconstruction=_joined([part.reconstruction for part in parts], len(windows)),
        errors=_joined([part.errors for part in parts], len(windows)),
        score=_joined([part.score for part in parts], len(windows)),
    )


def _sizes(model: Model, count: int) -> list[int]:
    """Of the batches of `count` windows."""
    many = count // MANY_WINDOWS
    if many and not takes(model, MANY_WINDOWS):
        many = 0
    whole, rest = divmod(count - many * MANY_WINDOWS, BATCH_WINDOWS)
    last = FEW_WINDOWS if 0 < rest <= BATCH_WINDOWS // 2 and takes(model, FEW_WINDOWS) else BATCH_WINDOWS
    return [MANY_WINDOWS] * many + [BATCH_WINDOWS] * whole + [last] * -(-rest // last)


def _filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    if len(rows) == size:
        return rows
    filled = np.zeros((size, *rows.shape[1:]), rows.dtype)
    filled[: len(rows)] = rows
    return filled


def _joined(parts: list[NDArray[Any] | None], count: int) -> NDArray[Any] | None:
    """The first `count` rows of all parts; None where a model has no such output."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    return found[0][:count] if len(found) == 1 else np.concatenate(found)[:count]
