"""The label column: which rows something happened in."""

from collections import Counter
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
    distinct = Counter(texts)  # a label has few values
    holds = dict.fromkeys(distinct, False)
    counts = {}
    for mark in marks:
        same = [text for text in distinct if _is(mark, text.strip())]
        counts[f"{mark:g}" if isinstance(mark, float | int) else mark] = sum(distinct[text] for text in same)
        holds |= dict.fromkeys(same, True)
    return np.fromiter(map(holds.__getitem__, texts), np.bool_, len(texts)), counts


def _is(mark: float | str, text: str) -> bool:
    return text == str(mark) or (not isinstance(mark, str) and _number(text) == float(mark))


def happened(path: Path, column: str, texts: Sequence[str]) -> Bools:
    """(N,) rows whose label is above 0 or says yes; an empty one is no.

    Raises:
        DataError: a label is neither a number nor a yes or no.
    """
    holds: dict[str, bool] = {}
    for text in dict.fromkeys(texts):
        word = text.strip().lower()
        number = 1.0 if word in YES else 0.0 if word in NO else _number(word)
        if number != number:
            raise DataError(
                f"{path}: label column {column!r} holds {text!r} in data row {texts.index(text) + 1}; wanted 0 or 1 "
                "(or false or true), or label_values in the recipe"
            )
        holds[text] = number > 0
    return np.fromiter(map(holds.__getitem__, texts), np.bool_, len(texts))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
