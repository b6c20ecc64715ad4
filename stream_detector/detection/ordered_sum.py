"""Sums whose bits do not hang on how many of them are made at once: the terms are added one after the other."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def sum_in_order(terms: FloatArray) -> FloatArray:
    """(N, ...) -> (...): 0 plus the first term plus the second and so on, each addition rounded.

    One call, where a loop in Python takes longer than the additions. numpy adds one term after the other unless it
    "sums along the fast axis in memory" (`numpy.sum`), as it would for terms of a single number.
    """
    terms = np.ascontiguousarray(terms)
    if len(terms) and terms[0].size == 1:
        in_order: FloatArray = np.add.accumulate(terms, axis=0)[-1] + 0.0
        return in_order
    total: FloatArray = np.add.reduce(terms, axis=0, initial=0.0)
    return total
