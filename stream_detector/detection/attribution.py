"""Attribution: the share of each sensor in a score."""

import numpy as np
from numpy.typing import NDArray

LARGEST = np.finfo(np.float64).max

TOP_SENSORS = 3
"""Sensors that an alarm names: as many as an operator can act on at once."""


def shares(attribution: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each sensor's part of the evidence for an alarm: (..., F) -> (..., F), sums to 1 along the sensors; all 0 where
    nothing speaks for one.

    Evidence is an error or a head's contribution; what is negative speaks against an alarm and has no share.

    >>> shares(np.array([3.0, 1.0, -2.0])).tolist()
    [0.75, 0.25, 0.0]
    """
    positive = np.fmin(np.fmax(attribution, 0.0), LARGEST)
    largest = positive.max(axis=-1, keepdims=True, initial=0.0)
    # Divided by the largest first: a sum of numbers near the end of float64 overflows.
    scaled = positive / np.where(largest > 0, largest, 1.0)
    total = scaled.sum(axis=-1, keepdims=True)
    result: NDArray[np.float64] = scaled / np.where(total > 0, total, 1.0)
    return result


def top(parts: NDArray[np.float64], count: int = TOP_SENSORS) -> list[int]:
    """Indices of the `count` largest shares that are above 0, largest first; equal ones in the order of the sensors.

    >>> top(np.array([0.2, 0.0, 0.4, 0.4]))
    [2, 3, 0]
    """
    return top_of_each(parts[np.newaxis], count)[0]


def top_of_each(parts: NDArray[np.float64], count: int = TOP_SENSORS) -> list[list[int]]:
    """`top` of each row (N, F)."""
    order = np.argsort(-parts, axis=1, kind="stable")[:, :count]
    return [
        [sensor for sensor in leading if row[sensor] > 0] for leading, row in zip(order.tolist(), parts, strict=True)
    ]
