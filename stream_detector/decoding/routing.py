"""Which records are about whose assets: where several bundles share a topic, each decodes its own, and only those.

A record is about the asset that its key or its own field names, and is read by the decoder of that asset's owner alone.
One that holds readings of several assets is read by the decoder of each of their owners, which passes over the others
(`AssetNames.is_elsewhere`). What names no asset, or one that is nobody's, goes to a decoder of its own.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stream_detector.decoding.asset_names import CACHED_ASSETS, Name, text_of
from stream_detector.decoding.decoded import RefusedError
from stream_detector.decoding.record_formats import StrictRecord, loose_record

Ints = NDArray[np.int64]
T = TypeVar("T")

WORD, ESCAPE = b"asset", b"\\"
"""A record that names an asset beside its key holds one of these, for the word may be written with escapes."""

SEARCHED = 4_096
"""So many records are searched as one."""


class _Names(msgspec.Struct, gc=False):
    """The parts of a record that say which assets it is about."""

    asset: str | None = None
    event: Any = None
    readings: Any = None


class Share(Struct, frozen=True):
    """Records of a batch that one decoder reads. `places`: (N,) in the batch, ascending."""

    places: Ints
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]


class Router:
    """Shares batches out. `owner_of`: number of an asset's owner, None: nobody's. `owners`: how many there are.

    Attributes:
        nobody: stands for the owner of what is nobody's.
    """

    def __init__(self, owner_of: Callable[[str], int | None], owners: int) -> None:
        self.nobody = owners
        self._owner_of = owner_of
        self._known: dict[Name, int] = {}
        self._names = msgspec.json.Decoder(_Names).decode
        self._record = msgspec.json.Decoder(StrictRecord).decode

    def owner(self, name: Name) -> int:
        """Whose the asset of this name is."""
        found = self._known.get(name)
        if found is None:
            try:
                owner = self._owner_of(text_of(name))
            except RefusedError:
                owner = None
            if len(self._known) >= CACHED_ASSETS:
                self._known.clear()
            found = self._known[name] = self.nobody if owner is None else owner
        return found

    def shares(self, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> list[Share]:
        """The records of each owner, and at the end those of nobody."""
        try:
            owners = np.fromiter(map(self._known.get, keys), np.int64, len(keys))
        except TypeError:  # a key that was not asked for yet
            owners = np.fromiter(map(self.owner, keys), np.int64, len(keys))
        others: dict[int, list[int]] = {}
        for place in _with_names(values):
            found = self._owners_in(keys[place], values[place] or b"")
            owners[place] = found[0]
            for owner in found[1:]:
                others.setdefault(owner, []).append(place)
        return [self._share(owner, owners, others.get(owner, []), keys, values) for owner in range(self.nobody + 1)]

    def _share(
        self,
        owner: int,
        owners: Ints,
        others: list[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> Share:
        places = np.flatnonzero(owners == owner)
        if len(places) == len(keys):
            return Share(places, keys, values)
        if others:
            places = np.sort(np.concatenate([places, np.array(others, np.int64)]))
        return Share(places, _pick(keys, places), _pick(values, places))

    def _owners_in(self, key: Name, value: bytes) -> list[int]:
        """The owners of what a record is about, as the decoder will understand it."""
        try:
            names = self._names(value)
            if names.readings is None or names.event is not None:
                return [self.owner(names.asset or key)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            names = _Names()
        try:
            message = self._record(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            try:
                message = loose_record(value)  # type: ignore[assignment]
            except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
                return [self.owner(names.asset or key)]
        name = message.asset or key
        if message.readings is None or message.event is not None:
            return [self.owner(name)]
        return sorted({self.owner(item.asset or name) for item in message.readings}) or [self.nobody]


def _with_names(values: Sequence[bytes | None]) -> list[int]:
    """Places of the records that may name an asset beside their key."""
    found: list[int] = []
    for begin in range(0, len(values), SEARCHED):
        part = values[begin : begin + SEARCHED]
        try:
            together = b"\n".join(part)  # type: ignore[arg-type]
        except TypeError:  # one has no value
            together = b"\n".join(filter(None, part))
        # One search of all is four times as fast as one of each.
        if ESCAPE in together or WORD in together:
            places = enumerate(part, begin)
            found += [place for place, value in places if value and (WORD in value or ESCAPE in value)]
    return found


def _pick(values: Sequence[T], places: Ints) -> Sequence[T]:
    wanted = places.tolist()
    if len(wanted) < 2:
        return [values[place] for place in wanted]
    return itemgetter(*wanted)(values)  # type: ignore[no-any-return]
