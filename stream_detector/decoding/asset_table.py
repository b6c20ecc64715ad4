"""Which owner an asset has, as lines of globs say; of several that fit its name the most specific line counts."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from functools import cache
from itertools import takewhile

from stream_detector.decoding.asset_names import CACHED_ASSETS

TABLE_PREFIX = "table-"
"""Of a table's id, where the id of a bundle may stand too: in snapshots, commits and facts of a group."""

ID_DIGITS = 16

Line = tuple[str, str]
"""(glob over names of assets, owner)."""

_WILDCARDS = re.compile(r"\*+|\?|\[!?+(?:\][^]]*|[^]]+)\]")


class AssetTable:
    """Lines of globs, in whatever order they were given.

    The most specific line is the one with the most characters that stand for themselves; among equals the one with more
    `[...]`, then with more `?`. A glob without wildcards is a name, and comes before all others.

    >>> table = AssetTable([("*", "any"), ("line1-*", "a"), ("line1-pump", "b")])
    >>> table.owner("line1-fan"), table.owner("line1-pump"), table.owner("oven"), AssetTable([("a", "b")]).owner("c")
    ('a', 'b', 'any', None)

    Attributes:
        lines: sorted, each once.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        """Raises ValueError where two lines of different owners are equally specific and fit one name."""
        self.lines = tuple(sorted(set(lines)))
        for (one, its), (other, others) in _with_one_head(self.lines):
            if its != others and may_fit_one_name(one, other):
                raise ValueError(
                    f"{one!r} and {other!r} are equally specific, fit the same assets and name different bundles; "
                    "make one of them more specific"
                )
        ranked = sorted(self.lines, key=lambda line: specificity(line[0]), reverse=True)
        self._ranked = [(re.compile(translate(glob)).match, owner) for glob, owner in ranked]
        self._known: dict[str, str | None] = {}

    def owner(self, asset: str) -> str | None:
        """Whose the asset is; None where no line fits."""
        if asset not in self._known:
            if len(self._known) >= CACHED_ASSETS:
                self._known.clear()
            self._known[asset] = next((owner for fits, owner in self._ranked if fits(asset)), None)
        return self._known[asset]

    @property
    def table_id(self) -> str:
        """With a hash of the lines: tables of the same lines share it."""
        text = "".join(f"{glob}\0{owner}\n" for glob, owner in self.lines)
        return TABLE_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def specificity(glob: str) -> tuple[bool, int, int, int]:
    """By which of two globs the more specific one is the larger.

    >>> sorted(["*", "line?", "line1", "line*", "line[12]"], key=specificity)
    ['*', 'line*', 'line?', 'line[12]', 'line1']
    """
    parts = _parts(glob)
    classes = sum(part.startswith("[") and len(part) > 1 for part in parts)
    singles, stars = parts.count("?"), parts.count("*")
    return not (classes or singles or stars), len(parts) - classes - singles - stars, classes, singles


def may_fit_one_name(one: str, other: str) -> bool:
    """Whether some name fits both globs.

    >>> may_fit_one_name("a*", "*b"), may_fit_one_name("a*", "b*"), may_fit_one_name("m[12]", "m[3-9]")
    (True, False, False)
    """
    left, right = _parts(one), _parts(other)
    seen: set[tuple[int, int]] = set()
    todo = [(0, 0)]
    while todo:
        at, on = place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        if at == len(left) and on == len(right):
            return True
        its = left[at] if at < len(left) else ""
        others = right[on] if on < len(right) else ""
        # A star stands for nothing, or for what comes next in the other glob.
        if its == "*" or others == "*":
            todo += [(at + 1, on)] if its else []
            todo += [(at, on + 1)] if others else []
        elif its and others and _share_a_character(its, others):
            todo.append((at + 1, on + 1))
    return False


def _with_one_head(lines: Iterable[Line]) -> Iterator[tuple[Line, Line]]:
    """Pairs of equally specific lines whose characters before the first wildcard do not exclude each other.

    Among thousands of lines these are few, and looking at every pair takes minutes.
    """
    headed = sorted((specificity(line[0]), _head(line[0]), line) for line in lines)
    for place, (rank, head, line) in enumerate(headed):
        for at in range(place + 1, len(headed)):
            its_rank, its_head, other = headed[at]
            if its_rank != rank or not its_head.startswith(head):
                break
            yield line, other


def _head(glob: str) -> str:
    """The characters before the first wildcard."""
    return "".join(takewhile(lambda part: len(part) == 1 and part not in "*?", _parts(glob)))


@cache
def _parts(glob: str) -> list[str]:
    """A glob's single characters and wildcards; neighbouring stars are one."""
    found: list[str] = []
    at = 0
    while at < len(glob):
        wildcard = _WILDCARDS.match(glob, at)
        part = wildcard.group() if wildcard else glob[at]
        found.append("*" if part.startswith("*") else part)
        at += len(part)
    return found


def _share_a_character(one: str, other: str) -> bool:
    """Whether two parts that stand for one character may be the same: one that they name, or any."""
    named = {*one, *other}
    return any(map(_fits(one), filter(_fits(other), named))) or not _characters(one).isdisjoint(_characters(other))


@cache
def _fits(part: str) -> Callable[[str], object]:
    return re.compile(translate(part)).match


@cache
def _characters(part: str) -> frozenset[str]:
    """What a part that stands for one character may be, among those of the first plane."""
    if len(part) == 1 and part != "?":
        return frozenset(part)
    return frozenset(filter(_fits(part), map(chr, range(0x10000))))
