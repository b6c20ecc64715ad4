"""A table of bundles as it holds in one partition, where records of the log have changed its lines one after another.

An asset whose bundle stays is not disturbed by a change of other lines. So each line says since when it holds, and a
line that was taken out is remembered: it, too, ended what was decided about its assets.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import cached_property

from msgspec import Struct

from stream_detector.decoding.asset_table import AssetTable, Line, may_fit_one_name, specificity


class HeldLine(Struct, frozen=True):
    """One line.

    Attributes:
        glob: over names of assets.
        owner: id of the bundle that decides for them; None = the line was taken out.
        term: of the switch since which that is so (`BundleSwitch.term`).
        id_term: goes into the ids of alarms (`BundleSwitch.id_term`).
        low: the offset from which its windows were first read; None = from the beginning.
    """

    glob: str
    owner: str | None
    term: int
    id_term: int
    low: int | None = None


class Seat(Struct, frozen=True):
    """A bundle that decides without interruption since a term, and the assets for which it does so."""

    owner: str
    term: int
    id_term: int
    low: int | None


class HeldTable(Struct, frozen=True, dict=True):
    """`lines`: one for each glob, sorted.

    >>> held = HeldTable.begun([("*", "a"), ("line1-*", "a")], term=2, id_term=0).changed("line1-*", "b", 3, 1, 70)
    >>> held.seat("line1-fan"), held.seat("oven")
    (Seat(owner='b', term=3, id_term=1, low=70), Seat(owner='a', term=2, id_term=0, low=None))
    >>> held.changed("line1-*", None, 4, 2, 90).seat("line1-fan")
    Seat(owner='a', term=4, id_term=2, low=90)
    """

    lines: tuple[HeldLine, ...]

    @classmethod
    def begun(cls, lines: Iterable[Line], term: int, id_term: int, low: int | None = None) -> "HeldTable":
        """Every line holds since the same switch."""
        return cls(tuple(HeldLine(glob, owner, term, id_term, low) for glob, owner in sorted(set(lines))))

    def changed(self, glob: str, owner: str | None, term: int, id_term: int, low: int | None) -> "HeldTable":
        """The line with this glob names another bundle, is new, or (None) is taken out.

        Raises:
            ValueError: an equally specific line gives some of its assets to another bundle, or none would be left.
        """
        kept = [line for line in self.lines if line.glob != glob]
        found = HeldTable(tuple(sorted([*kept, HeldLine(glob, owner, term, id_term, low)], key=lambda line: line.glob)))
        if not found.in_force:
            raise ValueError(f"{glob!r} is the last line of the table, which cannot be without one")
        AssetTable(found.in_force)
        return found

    def owner_of(self, glob: str) -> str | None:
        """The bundle that the line with this glob names; None where there is no such line."""
        return next((line.owner for line in self.lines if line.glob == glob), None)

    @property
    def in_force(self) -> list[Line]:
        """(glob, bundle id) of the lines that were not taken out."""
        return [(line.glob, line.owner) for line in self.lines if line.owner is not None]

    @cached_property
    def table(self) -> AssetTable:
        """What a file of the lines in force would say."""
        return AssetTable(self.in_force)

    @property
    def is_changed(self) -> bool:
        """Whether its lines do not all hold since the same switch."""
        return len({line.term for line in self.lines}) > 1

    @property
    def owners(self) -> list[str]:
        """The bundles that it names, each once."""
        return sorted({owner for _, owner in self.in_force})

    def seat(self, asset: str) -> Seat | None:
        """Who decides for the asset; None where no line fits."""
        owner, newest = self._deciding(asset)
        return None if owner is None or newest is None else Seat(owner, newest.term, newest.id_term, newest.low)

    def since(self, asset: str) -> int:
        """The term since which whoever decides for the asset does so, or nobody does."""
        newest = self._deciding(asset)[1]
        return min((line.term for line in self.lines), default=0) if newest is None else newest.term

    @cached_property
    def seats(self) -> list[Seat]:
        """All that `seat` may give, in an order that is always the same."""
        found = {
            Seat(str(line.owner), ended.term, ended.id_term, ended.low)
            for line in self.lines
            for ended in (line, *self._ended_above(line))
            if line.owner is not None
        }
        return sorted(found, key=lambda seat: (seat.owner, seat.term))

    def _ended_above(self, line: HeldLine) -> list[HeldLine]:
        """Lines that may have given assets to this one when they changed after it."""
        return [
            other
            for other in self._later
            if other.term > line.term
            and other.owner in (None, line.owner)
            and specificity(other.glob) >= specificity(line.glob)
            and may_fit_one_name(other.glob, line.glob)
        ]

    @cached_property
    def _later(self) -> list[HeldLine]:
        """Lines that were changed since the table began: few, whereas a table may have thousands."""
        began = min((line.term for line in self.lines), default=0)
        return [line for line in self.lines if line.term > began]

    def _deciding(self, asset: str) -> tuple[str | None, HeldLine | None]:
        """The owner of the asset, and the newest of the lines by whose change it came to decide."""
        owner: str | None = None
        newest: HeldLine | None = None
        least = None
        for rank, fits, line in self._ranked:
            if least is not None and rank < least:
                break
            if not fits.match(asset):
                continue
            if newest is None or line.term > newest.term:
                newest = line
            if line.owner is not None and least is None:
                owner, least = line.owner, rank
        return owner, newest

    @cached_property
    def _ranked(self) -> Sequence[tuple[tuple[bool, int, int, int], re.Pattern[str], HeldLine]]:
        ranked = [(specificity(line.glob), re.compile(translate(line.glob)), line) for line in self.lines]
        return sorted(ranked, key=lambda entry: entry[0], reverse=True)
