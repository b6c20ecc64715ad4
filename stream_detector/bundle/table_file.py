"""The file of a table: which bundle decides for which assets.

[[bundles]]
assets = "line1-*"                  # a glob over names of assets, or a list of globs
bundle = "bundles/paper-mill"       # a folder, from where this file lies, or REGISTRY/ID (also s3://...)
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from stream_detector.bundle.bundle import Bundle
from stream_detector.bundle.bundle_table import BundleTable
from stream_detector.bundle.object_store import is_address
from stream_detector.bundle.registry import is_alias, registry_around
from stream_detector.detection.config import Config
from stream_detector.errors import BundleError, UsageError, in_words

MOST_BYTES = 2**20

Glob = Annotated[str, StringConstraints(min_length=1, max_length=249)]


class TableLine(Config):
    """One `[[bundles]]`."""

    assets: Annotated[list[Glob], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)] = Field(
        min_length=1
    )
    bundle: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]


class TableFile(Config):
    """The whole file."""

    bundles: Annotated[list[TableLine], Field(min_length=1, max_length=10_000)]


def is_table(path: Path) -> bool:
    """Whether what is named as a bundle is the file of a table."""
    return path.suffix.lower() == ".toml" and not is_address(path) and not path.is_dir()


def registry_of_bundle(path: Path) -> Path | None:
    """The registry that a bundle's path or reference leads into, or of a table's the first line that leads into one."""
    if not is_table(path):
        return registry_around(path)
    found = (registry_around(_folder(path, line)) for line in read_table(path).bundles)
    return next((registry for registry in found if registry is not None), None)


def _folder(path: Path, line: TableLine) -> Path:
    named = Path(line.bundle)
    return named if is_address(named) else path.parent / named


def load_table(path: Path, load: Callable[[Path], Bundle]) -> BundleTable:
    """The table in a file, its bundles loaded by `load`, each once.

    Raises:
        UsageError: the file cannot be read, is no table, or gives an asset to two bundles.
        BundleError: a bundle is refused.
    """
    bundles: dict[Path, Bundle] = {}
    lines = []
    for line in read_table(path).bundles:
        folder = _folder(path, line)
        if is_alias(folder):
            raise UsageError(
                f"{path}: bundle = {line.bundle!r} is an alias, which may stand for another bundle one day, and a "
                "table must not change by itself; name the bundle by its id (`stream-detector bundles list`)"
            )
        if folder not in bundles:
            try:
                bundles[folder] = load(folder)
            except (BundleError, UsageError) as error:
                raise type(error)(f"{path}: bundle = {line.bundle!r}: {error}") from None
        lines += [(glob, bundles[folder]) for glob in line.assets]
    try:
        return BundleTable.of(lines)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def read_table(path: Path) -> TableFile:
    """The lines of a file.

    Raises:
        UsageError: it cannot be read, or is no table.
    """
    try:
        text = path.read_bytes()
        if len(text) > MOST_BYTES:
            raise ValueError(f"it has {len(text):,} bytes, {MOST_BYTES:,} at most are read")
        return TableFile.model_validate(tomllib.loads(text.decode("utf-8-sig")))
    except OSError as error:
        raise UsageError(f"the table of bundles {path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UsageError(
            f"the table of bundles {path} cannot be used: {where}: {in_words(first)}; wanted is for each bundle "
            '[[bundles]], assets = "GLOB", bundle = "DIR"'
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the table of bundles {path} cannot be used: {error}") from None
