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
"""Every model takes so many; small, so that few windows at a time are cheap."""

SIZES = (4, 8, BATCH_WINDOWS, 32, 64, 128)
"""What a call of a network costs by itself is that of eight windows of 5 steps, or of two of 30: few at a time, as a
worker scores that keeps up with its readings, want small batches, and many want large ones."""


def run_in_batches(model: Model, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
    """`model.run` on (B, T, F) windows, B > 0, in batches of the sizes that the model takes, the last one filled up
    with zeros."""
    parts, start = [], 0
    for size in sizes_of(model, len(windows)):
        span = slice(start, start + size)
        parts.append(model.run(_filled(windows[span], size), _filled(known[span], size)))
        start += size
    return ModelOutput(
        reconstruction=_joined([part.reconstruction for part in parts], len(windows)),
        errors=_joined([part.errors for part in parts], len(windows)),
        score=_joined([part.score for part in parts], len(windows)),
    )


def sizes_of(model: Model, count: int) -> list[int]:
    """Of the batches of `count` windows: the largest first, the last one with room for what is left."""
    found: list[int] = []
    while count > 0:
        room = _room(model, count)
        found.append(room)
        count -= room
    return found


def try_sizes(model: Model) -> None:
    """Find out now which sizes the model takes; else the first batch that might want one waits for that.

    Another thread may score meanwhile: what both of them try has the same answer.
    """
    for size in SIZES:
        takes(model, size)


def _room(model: Model, count: int) -> int:
    """Of the next batch. Zeros are scored, too: beyond the usual size they fill a quarter of a batch at most."""
    below = BATCH_WINDOWS
    for size in SIZES:
        if size != BATCH_WINDOWS and not takes(model, size):
            continue
        if size >= count and (size <= BATCH_WINDOWS or 4 * count >= 3 * size):
            return size
        if size >= count:
            break
        below = size
    return below


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
