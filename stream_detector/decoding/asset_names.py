"""The name of the asset that a record is about, from its key or its own field, and whether it is one of ours."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from fnmatch import translate

from stream_detector.decoding.decoded import BAD_KEY, UNKNOWN_ASSET, RefusedError

LONGEST_ASSET = 249
"""Characters of an asset's name; as long as the name of a Kafka topic may be."""

CACHED_ASSETS = 100_000

Name = bytes | str | None


def text_of(name: Name) -> str:
    """The name as text. RefusedError where it is none that an asset may have."""
    if not name:
        raise RefusedError(BAD_KEY, "the record has neither a key nor an asset")
    try:
        text = name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError as error:
        raise RefusedError(BAD_KEY, f"the key is not UTF-8: {error.reason}") from error
    if len(text) > LONGEST_ASSET:
        raise RefusedError(BAD_KEY, f"the asset's name has {len(text)} characters, at most {LONGEST_ASSET} may be")
    return text


def fitting(globs: str, allowed: Iterable[str] = ("*",)) -> Callable[[str], bool]:
    """Whether a name fits the bundle's globs and one of those that are allowed."""
    of_bundle = re.compile(translate(globs)).match
    of_allowed = re.compile("|".join(map(translate, allowed))).match
    return lambda asset: of_bundle(asset) is not None and of_allowed(asset) is not None


class AssetNames:
    """Names of records to assets; most come many times, so both kinds are remembered.

    Attributes:
        known: the asset of each name that was asked for. strangers: the names of other people's assets.
    """

    def __init__(
        self,
        is_ours: Callable[[str], object],
        is_elsewhere: Callable[[Name], bool] = lambda _: False,
        whose: str = "this bundle",
    ) -> None:
        """is_ours: whether an asset is ours. is_elsewhere: whether another decoder reads what a record says of this
        name. whose: an asset ought to be, in words."""
        self.known: dict[Name, str] = {}
        self.strangers: set[Name] = set()
        self.is_elsewhere = is_elsewhere
        self.whose = whose
        self._is_ours = is_ours

    def all_or_none(self, names: Sequence[Name]) -> list[str] | None:
        """The asset of each record; None where one record has none that this bundle watches."""
        assets = list(map(self.known.get, names))
        if not all(assets):
            if len(self.known) >= CACHED_ASSETS:
                self.known.clear()
            for name in set(names) - self.known.keys() - self.strangers:
                with suppress(RefusedError):
                    self.of(name)
            assets = list(map(self.known.get, names))
        return assets if all(assets) else None  # type: ignore[return-value]

    def of(self, name: Name) -> str:
        """The asset. RefusedError where there is no name, or it is not one of ours."""
        found = self.known.get(name)
        if found is not None:
            return found
        text = text_of(name)
        if not self._is_ours(text):
            if len(self.strangers) >= CACHED_ASSETS:
                self.strangers.clear()
            self.strangers.add(name)
            raise RefusedError(UNKNOWN_ASSET, f"{text[:40]!r} is not an asset of {self.whose}")
        self.known[name] = text
        return text

    def is_stranger(self, name: Name) -> bool:
        """Whether the name is that of an asset which this bundle does not watch."""
        if name in self.known or not name:
            return False
        if name in self.strangers:
            return True
        try:
            self.of(name)
        except RefusedError as refusal:
            return refusal.reason == UNKNOWN_ASSET
        return False
