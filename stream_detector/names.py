"""Names of assets and sensors come from the bus and from files: they are data, whatever they hold."""

from collections.abc import Iterable
from itertools import islice

LONGEST_SHOWN = 80


def printable(text: str) -> str:
    """The text with an escape for whatever a terminal would act on or break the line at.

    >>> printable("pump 7"), printable("pump" + chr(27) + "[2J")
    ('pump 7', 'pump\\\\x1b[2J')
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def listed(names: Iterable[str], most: int = 10) -> str:
    """Some of the names, none of them longer than a line.

    >>> listed(["b", "a", "c" * 100], most=2)
    'b, a, ...'
    """
    some = list(islice(names, most + 1))
    shown = [printable(name[:LONGEST_SHOWN]) + ("..." if len(name) > LONGEST_SHOWN else "") for name in some[:most]]
    return ", ".join(shown) + (", ..." if len(some) > most else "")
