"""Slots: the numbers by which arrays know the live assets of an engine."""


class Slots:
    """Gives out numbers from 0 on; those that were given back come first."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._next = 0

    def take(self) -> int:
        if self._free:
            return self._free.pop()
        self._next += 1
        return self._next - 1

    def give_back(self, slot: int) -> None:
        self._free.append(slot)
