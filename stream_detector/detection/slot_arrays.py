"""Arrays with one row a slot that grow together."""

from dataclasses import dataclass, fields

import numpy as np

LEAST_ROWS = 16


@dataclass(slots=True)
class SlotArrays:
    """Base of dataclasses whose fields are arrays with one row a slot.

    Growing replaces every array, so whoever keeps one beside this object keeps an old one.
    """

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def make_room(self, slot: int) -> None:
        """Have a row for this slot; rows at least double, and new ones are zero."""
        if slot < len(self):
            return
        rows = max(LEAST_ROWS, 2 * len(self), slot + 1)
        for field in fields(self):
            array = getattr(self, field.name)
            larger = np.zeros((rows, *array.shape[1:]), array.dtype)
            larger[: len(array)] = array
            setattr(self, field.name, larger)
