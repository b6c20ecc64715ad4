"""Runs within a history: stretches that hang together, whose times may start again."""

import numpy as np
from numpy.typing import NDArray

from stream_detector.historian.assets import rows_of_assets
from stream_detector.historian.columns import Columns
from stream_detector.historian.layout import Layout

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RUN_GAP_SECONDS = 100 * 86_400.0
"""Runs whose times start again are moved by multiples of this: a step length divides it, so rows keep their grid."""


def runs_of(columns: Columns, layout: Layout, codes: Ints | None) -> Ints | None:
    """(N,) number of the run that a row is in; a file that was cut into its runs needs no column that tells them."""
    names = [name for name in layout.run_columns if name in columns.texts or name in columns.numbers]
    if not names or len(names) < len(layout.run_columns):
        return None
    keys = [columns.texts.get(name) or columns.numbers[name].tolist() for name in names]
    runs = np.empty(len(keys[0]), np.int64)
    for rows in rows_of_assets(codes, len(runs)):
        before = [None, *rows[:-1].tolist()]
        changed = [
            last is None or any(key[row] != key[last] for key in keys)
            for row, last in zip(rows.tolist(), before, strict=True)
        ]
        runs[rows] = np.cumsum(changed) - 1
    return runs


def end_to_end_of_assets(times: Floats, parts: Ints, codes: Ints | None) -> Floats:
    """Move runs of an asset whose times start again behind the run before, so far that no window spans two of them."""
    moved = times.copy()
    for rows in rows_of_assets(codes, len(times)):
        moved[rows] = end_to_end(times[rows], parts[rows])
    return moved


def end_to_end(times: Floats, parts: Ints) -> Floats:
    """Move parts whose times start again behind the part before, so far that no window spans two of them."""
    moved = times.copy()
    starts = np.flatnonzero(np.diff(parts, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(times)], strict=True):
        if start and moved[start] <= moved[start - 1]:
            behind = moved[start - 1] + RUN_GAP_SECONDS - times[start]
            moved[start:stop] = times[start:stop] + np.ceil(behind / RUN_GAP_SECONDS) * RUN_GAP_SECONDS
    return moved
