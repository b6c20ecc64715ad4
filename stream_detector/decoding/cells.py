"""What stands in a cell that ought to hold a number: a number, or nothing and the reason why."""

import math
from typing import Any

CELL_REASONS = BAD_QUALITY, NOT_FINITE, BOOLEAN, NUMBER_AS_TEXT, TEXT, OTHER = (
    "bad-quality", "not-finite", "boolean", "number-as-text", "text", "other",
)  # fmt: skip
"""Why a cell is missing although something stands in it. A null is missing too, and needs no reason."""


def number_or_reason(found: Any) -> tuple[float | None, str | None]:
    """The finite number in a cell and None, or None and the reason; None and None for a null.

    >>> number_or_reason(3), number_or_reason(None), number_or_reason("Bad")
    ((3.0, None), (None, None), (None, 'text'))
    """
    if found is None:
        return None, None
    if isinstance(found, bool):
        return None, BOOLEAN
    if isinstance(found, int | float):
        try:
            number = float(found)
        except OverflowError:
            return None, NOT_FINITE
        return (number, None) if math.isfinite(number) else (None, NOT_FINITE)
    if isinstance(found, str):
        try:
            return None, NUMBER_AS_TEXT if math.isfinite(float(found)) else NOT_FINITE
        except ValueError:
            return None, TEXT
    return None, OTHER
