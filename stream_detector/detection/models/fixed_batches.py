"""Models see batches of fixed sizes only, so that a window's result does not depend on the windows beside it.

Libraries round a matrix product otherwise for other numbers of rows (measured with MKL: principal components of 16 and
of 304 rows), and some compute the last elements of an array by other instructions than the rest (torch beyond a
multiple of 32: a sigmoid of 48 values is not that of 64). One size leaves nothing to choose from; that a window's place
in the batch does not matter either is held by tests. A model may offer a second size, for many windows at a time, once
it has found that both give the same bits on this processor.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.models.registry import Model, ModelOutput, takes_many

BATCH_WINDOWS = 16
"""Small, so that few windows at a time are cheap."""

MANY_WINDOWS = 128
"""Of so many at a time a network scores a third more in a second than of `BATCH_WINDOWS`."""


def run_in_batches(model: Model, windows: NDArray[np.float32], known: NDArray[np.bool_]) -> ModelOutput:
    """`model.run` on (B, T, F) windows, B > 0: as many as may be in batches of `MANY_WINDOWS` where the model takes
    those, the others in batches of `BATCH_WINDOWS`, the last one filled up with zeros."""
    many = len(windows) // MANY_WINDOWS * MANY_WINDOWS
    if many and not takes_many(model):
        many = 0
    parts = [
        model.run(windows[start : start + MANY_WINDOWS], known[start : start + MANY_WINDOWS])
        for start in range(0, many, MANY_WINDOWS)
    ]
    parts += [
        model.run(_filled(windows[start : start + BATCH_WINDOWS]), _filled(known[start : start + BATCH_WINDOWS]))
        for start in range(many, len(windows), BATCH_WINDOWS)
    ]
    return ModelOutput(
        reconstruction=_joined([part.reconstruction for part in parts], len(windows)),
        errors=_joined([part.errors for part in parts], len(windows)),
        score=_joined([part.score for part in parts], len(windows)),
    )


def _filled(rows: NDArray[Any]) -> NDArray[Any]:
    if len(rows) == BATCH_WINDOWS:
        return rows
    filled = np.zeros((BATCH_WINDOWS, *rows.shape[1:]), rows.dtype)
    filled[: len(rows)] = rows
    return filled


def _joined(parts: list[NDArray[Any] | None], count: int) -> NDArray[Any] | None:
    """The first `count` rows of all parts; None where a model has no such output."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    return found[0][:count] if len(found) == 1 else np.concatenate(found)[:count]
