"""The label column: which rows something happened in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError

NO, YES = frozenset({"", "0", "0.0", "false", "no", "nan"}), frozenset({"1", "1.0", "true", "yes"})

Bools = NDArray[np.bool_]


def marked(texts: Sequence[str], marks: Sequence[float | str]) -> tuple[Bools, dict[str, int]]:
    """(N,) which rows hold one of the marks, and how many rows hold each.

    "1", 1 and 1.0 are the same label, for files differ in writing it.
    """
    cells = np.array([text.strip() for text in texts], object)
    numbers = np.array([_number(text) for text in cells])
    found, counts = np.zeros(len(cells), np.bool_), {}
    for mark in marks:
        same = np.asarray(cells == str(mark), np.bool_)
        if not isinstance(mark, str):
            same |= numbers == float(mark)
        counts[f"{mark:g}" if isinstance(mark, float | int) else mark] = int(same.sum())
        found |= same
    return found, counts


def happened(path: Path, column: str, texts: Sequence[str]) -> Bools:
    """(N,) rows whose label is above 0 or says yes; an empty one is no.

    Raises:
        DataError: a label is neither a number nor a yes or no.
    """
    found = np.zeros(len(texts), np.bool_)
    for row, text in enumerate(texts):
        word = text.strip().lower()
        if word in YES:
            found[row] = True
        elif word not in NO:
            number = _number(word)
            if number != number:
                raise DataError(
                    f"{path}: label column {column!r} holds {text!r} in data row {row + 1}; wanted 0 or 1 (or false or "
                    "true), or label_values in the recipe"
                )
            found[row] = number > 0
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
