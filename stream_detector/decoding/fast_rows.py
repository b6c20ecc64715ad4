"""Parses rows that have the names of rows before them; any other record is left over.

The rows of a topic look alike, so a record type with a field for each of their names parses them in half the time of
one that makes a dictionary of each.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from stream_detector.decoding.columns import float_rows
from stream_detector.decoding.decoded import ROW
from stream_detector.decoding.fast_forms import parse_most
from stream_detector.decoding.notes import Notes
from stream_detector.decoding.record_formats import Layout
from stream_detector.detection.grid.contents import Cells, WholeRows

REMEMBERED = 100
"""Layouts whose record types are kept: an asset of each kind may send another one."""


class FastRows:
    """Parses rows of these names, of which `layout` says the known ones."""

    kind = ROW

    def __init__(self, decode: Callable[[Any], Any], layout: Layout, size: int) -> None:
        """decode: of a record of these names. size: how many they are."""
        self._decode = decode
        self._layout = layout
        self.has_unknown = bool(layout.unknown)
        self._size = size

    def parse(self, values: Sequence[bytes | None]) -> tuple[list[Any], list[int]] | None:
        """The rows, and the places of all other records; None where those are many."""
        return parse_most(self._decode, values)

    def size_of(self, message: Any) -> int:  # noqa: ARG002 - any of them
        return self._size

    def seconds_of(self, message: Any) -> float:  # noqa: ARG002 - any of them
        return 0.0

    def contents(
        self, messages: list[Any], times: NDArray[np.float64], index: NDArray[np.int64], notes: Notes
    ) -> WholeRows | Cells:
        """What is in the rows. Unknown names are noted."""
        layout = self._layout
        rows = map(astuple, [message.values for message in messages])
        if layout.unknown:
            rows = map(itemgetter(slice(len(layout.sensors))), rows)
            for place in index.tolist():
                notes.unknown_sensors(place, layout.unknown)
        width = len(layout.sensors)
        values = float_rows(rows, len(messages), width)
        if layout.whole:
            return WholeRows(times, values)
        record = np.repeat(np.arange(len(messages)), width)
        return Cells(record, np.tile(layout.sensors, len(messages)), times[record], values.reshape(-1))


class RowForms:
    """The forms of rows that were seen."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, ...], FastRows | None] = {}

    def of(self, names: tuple[str, ...], layout: Layout) -> FastRows | None:
        """The form of rows of these names; None where there is none."""
        if names not in self._forms:
            if len(self._forms) >= REMEMBERED:
                self._forms.clear()
            decode = _decoder(layout.known(list(names)), layout.unknown)
            self._forms[names] = None if decode is None else FastRows(decode, layout, len(names))
        return self._forms[names]


def _decoder(known: Sequence[str], unknown: Sequence[str]) -> Callable[[Any], Any] | None:
    """Of records with a time and values of these names, all of them and no others; the unknown ones hold anything.

    None where a name holds what no record type can: a quote, a backslash, a control character.
    """
    names = [*known, *unknown]
    kinds: list[Any] = [float | None] * len(known) + [msgspec.Raw] * len(unknown)
    fields = [(f"f{place}", kind) for place, kind in enumerate(kinds)]
    rename = {f"f{place}": name for place, name in enumerate(names)}
    try:
        values = msgspec.defstruct("RowValues", fields, rename=rename, gc=False, forbid_unknown_fields=True)
    except ValueError:
        return None
    row = msgspec.defstruct(
        "PlainRow", [("time", str | float), ("values", values)], gc=False, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(row).decode
