"""Cells of text to numbers: missing words, decimal comma, thousands, and the units that a panel writes behind them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.historian.layout import MISSING_WORDS

MINUS = "\u2212"
"""The typographer's minus, which the locales of Sweden, Norway and others write."""

SPACES = " \u00a0\u202f\u2009"
DECIMAL_COMMA = re.compile(rf"^[-+]?(?:\d{{1,3}}(?:[.'’{SPACES}]\d{{3}})+|\d+),\d+(?:[eE][-+]?\d+)?(?:\s*[^\d,.].*)?$")
THOUSANDS_COMMA = re.compile(r"^[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?:\s*[^\d,.].*)?$")
DECIMAL_POINT = re.compile(r"^[-+]?(?:\d{1,3}(?:,\d{3})+|\d*)\.\d+(?:[eE][-+]?\d+)?(?:\s*[^\d,.].*)?$")
THOUSANDS_POINT = re.compile(r"^[-+]?\d{1,3}(?:\.\d{3})+(?:\s*[^\d,.].*)?$")


GROUPED = re.compile(rf"^[-+]?[1-9]\d{{0,2}}(?P<mark>[.,'’{SPACES}])\d{{3}}(?:(?P=mark)\d{{3}})*(?P<rest>[.,]\d+)?$")
"""A number whose thousands are set apart."""


class NotANumber(Exception):  # noqa: N818 - it names the cell, and never reaches a user
    """Cell `index` holds `text`, which is neither a number nor a word for a missing value."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index
        self.text = text


@dataclass
class CellReader:
    """Reads the cells of one file.

    Attributes:
        decimal, thousands: marks within numbers; thousands None = found out where one shows itself.
        with_units: a text behind a number is its unit.
        words: words for a missing value, in lower case.
        found_words: how often each word stood in place of a value, by sensor.
        units: the units of each sensor.
    """

    decimal: str = "."
    thousands: str | None = None
    with_units: bool = False
    words: frozenset[str] = MISSING_WORDS
    found_words: dict[str, Counter[str]] = field(default_factory=dict)
    units: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mark = re.escape(self.decimal)
        group = f"[{SPACES}]" if self.thousands == " " else re.escape(self.thousands or "")
        digits = rf"\d{{1,3}}(?:{group}\d{{3}})+|\d*" if group else r"\d*"
        self._number = re.compile(rf"^([-+]?(?:{digits})(?:{mark}\d*)?(?:[eE][-+]?\d+)?)\s*(.*)$")

    def floats(self, sensors: str | Sequence[str], cells: Sequence[str]) -> NDArray[np.float64]:
        """(N,) numbers, NaN = missing. `sensors`: the sensor, or (N,) that of each cell. Raises NotANumber."""
        if self.decimal == ".":
            numbers = _plain(cells)
            if numbers is not None:
                return numbers
        found = np.empty(len(cells))
        for index, cell in enumerate(cells):
            found[index] = self._float(sensors if isinstance(sensors, str) else sensors[index].strip(), index, cell)
        return found

    def _float(self, sensor: str, index: int, cell: str) -> float:
        text = cell.strip().replace(MINUS, "-")
        if text.lower() in self.words:
            if text:
                self.found_words.setdefault(sensor, Counter())[text] += 1
            return float("nan")
        match = self._number.match(text)
        if match is None or not any(letter.isdigit() for letter in match[1]):
            raise NotANumber(index, cell)
        if match[2] and self._finds_thousands(text):
            return self._float(sensor, index, cell)
        if match[2]:
            if not self.with_units or match[2][0] in ".,'0123456789":
                raise NotANumber(index, cell)
            self.units.setdefault(sensor, set()).add(match[2])
        number = "".join(match[1].split()) if self.thousands == " " else match[1]
        number = number.replace(self.thousands, "") if self.thousands else number
        try:
            return float(number.replace(self.decimal, "."))
        except ValueError:
            raise NotANumber(index, cell) from None

    def _finds_thousands(self, text: str) -> bool:
        """Take the mark between thousands that a number shows, unless it may as well be a decimal mark."""
        found = GROUPED.match(text)
        if self.thousands is not None or found is None or found["mark"] == self.decimal:
            return False
        mark, rest = found["mark"], found["rest"]
        if rest is not None and rest[0] != self.decimal:
            return False
        if mark in ".," and rest is None and text.count(mark) == 1:
            return False  # 1,510 may be 1.51
        self.thousands = " " if mark in SPACES else mark
        self.__post_init__()
        return True


def _plain(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """The usual column, in one call; None where a cell is anything but a number or empty."""
    if "" in cells:
        cells = ["nan" if cell == "" else cell for cell in cells]
    try:
        found = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    return None if "_" in "".join(cells) else found  # Python takes 1_000 for a number


def decimal_mark(cells: Iterable[str]) -> str | None:
    """The decimal mark that these cells show: "," or "."; None where none or both are shown.

    A number such as 1,010 shows nothing by itself: it may be thousands. One cell that can only be a decimal comma
    (20,5) settles all of them.
    """
    comma = point = False
    for cell in cells:
        text = cell.strip().replace(MINUS, "-")
        comma |= bool(DECIMAL_COMMA.match(text)) and not THOUSANDS_COMMA.match(text)
        point |= bool(DECIMAL_POINT.match(text)) and not THOUSANDS_POINT.match(text)
    if comma == point:
        return None
    return "," if comma else "."
