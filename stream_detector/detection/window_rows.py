"""Windows of consecutive rows, each row once, however many windows it lies in.

Whoever catches up scores windows that share all rows but one: what is done cell by cell is done once for each row.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

EVERY = slice(None)


class WindowRows(Struct, frozen=True):
    """N windows of `steps` rows each.

    Attributes:
        rows: (R, F) sensor units, NaN = masked. end: (N,) place of the newest row of each window.
    """

    rows: Floats
    end: Ints
    steps: int

    @classmethod
    def apart(cls, values: Floats) -> "WindowRows":
        """Windows (N, W, F) that share no row."""
        count, steps, sensors = values.shape
        return cls(values.reshape(-1, sensors), np.arange(1, count + 1) * steps - 1, steps)

    @classmethod
    def joined(cls, parts: Sequence["WindowRows"]) -> "WindowRows":
        """All windows of the parts, at least one, in their order."""
        if len(parts) == 1:
            return parts[0]
        begin = np.cumsum([0, *(len(part.rows) for part in parts)]).tolist()
        ends = [part.end + first for part, first in zip(parts, begin[:-1], strict=True)]
        return cls(np.concatenate([part.rows for part in parts]), np.concatenate(ends), parts[0].steps)

    def __len__(self) -> int:
        return len(self.end)

    @property
    def values(self) -> Floats:
        """(N, W, F) the windows themselves; to be read alone, for they may be the rows as these are kept."""
        return self.of(self.rows)

    @property
    def newest(self) -> Floats:
        """(N, F) the newest row of each window."""
        return self.rows[self.end]

    def of(self, rows: NDArray[T], chosen: slice = EVERY) -> NDArray[T]:
        """(M, W, F) those windows of what was made of each row (R, F)."""
        found: NDArray[T]
        if len(rows) == len(self) * self.steps and (np.diff(self.end, prepend=-1) == self.steps).all():
            found = rows.reshape(len(self), self.steps, *rows.shape[1:])[chosen]
        else:
            found = rows[self.end[chosen, None] - np.arange(self.steps - 1, -1, -1)]
        return found

    @property
    def share(self) -> bool:
        """Whether there are fewer rows than the windows have together."""
        return len(self.rows) < len(self) * self.steps

    @property
    def value_bytes(self) -> int:
        """What `values` would take."""
        return len(self) * self.steps * int(self.rows[:1].nbytes)

    def select(self, index: Ints | Bools) -> "WindowRows":
        """The windows at an index or mask."""
        return WindowRows(self.rows, self.end[index], self.steps)

    def replaced(self, chosen: Bools, values: Floats) -> "WindowRows":
        """With other values (M, W, F) for the M windows of a mask (N,)."""
        others = WindowRows.apart(values)
        if chosen.all():
            return others
        end = self.end.copy()
        end[chosen] = others.end + len(self.rows)
        return WindowRows(np.concatenate([self.rows, others.rows]), end, self.steps)
