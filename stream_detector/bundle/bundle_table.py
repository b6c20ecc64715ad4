"""Several bundles of one worker, and which of them decides for which assets."""

import hashlib
from collections.abc import Iterable
from functools import cached_property

from msgspec import Struct

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.manifest import Manifest
from stream_detector.decoding.asset_table import ID_DIGITS, AssetTable
from stream_detector.errors import UsageError


class TableManifest(Struct, frozen=True, dict=True):
    """What is told of a table, as a manifest tells of a bundle. `manifests`: of each bundle once, by their ids."""

    assets: AssetTable
    manifests: tuple[Manifest, ...]

    @property
    def bundle_id(self) -> str:
        """The same lines of globs and bundles have the same id, in whatever order they stand."""
        return self.assets.table_id

    @property
    def recipe(self) -> str:
        """The recipes of its bundles."""
        return ", ".join(dict.fromkeys(manifest.recipe for manifest in self.manifests))

    def of_asset(self, asset: str) -> Manifest | None:
        """That of the bundle that decides for the asset; None where no line fits."""
        bundle_id = self.assets.owner(asset)
        return None if bundle_id is None else self._by_id[bundle_id]

    @cached_property
    def _by_id(self) -> dict[str, Manifest]:
        return {manifest.bundle_id: manifest for manifest in self.manifests}


AnyManifest = Manifest | TableManifest


class BundleTable(Struct, frozen=True, dict=True):
    """Bundles in memory, each once, and the lines that give them assets (glob, bundle id)."""

    assets: AssetTable
    bundles: tuple[Bundle, ...]

    @classmethod
    def of(cls, lines: Iterable[tuple[str, Bundle]]) -> "BundleTable":
        """Raises UsageError where two equally specific lines give one asset to different bundles."""
        lines = list(lines)
        bundles = {bundle.manifest.bundle_id: bundle for _, bundle in lines}
        try:
            assets = AssetTable((glob, bundle.manifest.bundle_id) for glob, bundle in lines)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return cls(assets, tuple(bundles[bundle_id] for bundle_id in sorted(bundles)))

    @cached_property
    def manifest(self) -> TableManifest:
        return TableManifest(self.assets, tuple(bundle.manifest for bundle in self.bundles))

    @property
    def score_fingerprint(self) -> str:
        """How the scores of its bundles round; see `Bundle`."""
        text = "\n".join(bundle.score_fingerprint for bundle in self.bundles)
        return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


AnyBundle = Bundle | BundleTable


def bundles_of(bundle: AnyBundle) -> tuple[Bundle, ...]:
    """A bundle alone, or those of a table."""
    return bundle.bundles if isinstance(bundle, BundleTable) else (bundle,)


def manifests_of(manifest: AnyManifest) -> tuple[Manifest, ...]:
    """The manifest of a bundle alone, or those of a table."""
    return manifest.manifests if isinstance(manifest, TableManifest) else (manifest,)


def manifest_for(manifest: AnyManifest, asset: str) -> Manifest | None:
    """Of the bundle that decides for the asset; None where the table gives it to none."""
    return manifest.of_asset(asset) if isinstance(manifest, TableManifest) else manifest
