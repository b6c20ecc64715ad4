"""The median of what is known of each sensor in a window."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def known_median(values: Floats) -> Floats:
    """Median over the steps of what is known: (B, T, F) -> (B, F), NaN where nothing is."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)[:, None]
    lower = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=1)[:, 0]
    upper = np.take_along_axis(ordered, count // 2, axis=1)[:, 0]
    # Where nothing is known, the first cell is NaN.
    middle: Floats = (lower + upper) / 2
    return middle
