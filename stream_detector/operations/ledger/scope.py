"""What a challenger decides about, as a header of its alarms says: of other assets its book would only hold misses."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

import orjson
from msgspec import Struct

from stream_detector.bundle.bundle_table import AnyManifest, TableManifest, manifests_of
from stream_detector.decoding.asset_names import fitting
from stream_detector.decoding.asset_table import AssetTable, Line

SCOPE = "scope"
"""Name of the header."""

MOST_BYTES = 16_384
"""Larger ones are left out: an alarm is to stay a small message."""


class Scope(Struct, frozen=True, dict=True):
    """What the workers of a group decide about.

    Attributes:
        detector: id of their bundle, or of their table of bundles.
        bundles: {id: its own glob over assets}.
        lines: of the table; none of a bundle alone.
        allowed: globs of the assets that the settings allow.
    """

    detector: str
    bundles: Mapping[str, str]
    lines: tuple[Line, ...] = ()
    allowed: tuple[str, ...] = ("*",)

    @classmethod
    def of(cls, manifest: AnyManifest, allowed: tuple[str, ...]) -> "Scope":
        """That of workers that run this bundle or table."""
        lines = manifest.assets.lines if isinstance(manifest, TableManifest) else ()
        return cls(manifest.bundle_id, {each.bundle_id: each.assets for each in manifests_of(manifest)}, lines, allowed)

    def watches(self, asset: str) -> bool:
        """Whether they decide about the asset.

        >>> scope = Scope("table-1", {"a": "*", "b": "line*"}, (("line1-*", "a"), ("*", "b")))
        >>> [asset for asset in ("line1-fan", "line2-fan", "oven") if scope.watches(asset)]
        ['line1-fan', 'line2-fan']
        """
        owner = self._table.owner(asset) if self.lines else self.detector
        return owner in self._fits and self._fits[owner](asset)

    def to_header(self) -> bytes | None:
        """The header's value; None where it would be too large."""
        body = {"detector": self.detector, "bundles": self.bundles, "lines": self.lines, "allowed": self.allowed}
        found = orjson.dumps(body)
        return found if len(found) <= MOST_BYTES else None

    @cached_property
    def _table(self) -> AssetTable:
        return AssetTable(self.lines)

    @cached_property
    def _fits(self) -> dict[str | None, Callable[[str], bool]]:
        return {bundle_id: fitting(glob, self.allowed) for bundle_id, glob in self.bundles.items()}


def read_scope(headers: Iterable[tuple[str, bytes]]) -> Scope | None:
    """What `to_header` wrote; None where there is no such header, or somebody else wrote it."""
    try:
        body = orjson.loads(dict(headers)[SCOPE])
        lines = tuple((str(glob), str(owner)) for glob, owner in body["lines"])
        bundles = {str(bundle_id): str(glob) for bundle_id, glob in body["bundles"].items()}
        AssetTable(lines)
        return Scope(str(body["detector"]), bundles, lines, tuple(map(str, body["allowed"])))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
