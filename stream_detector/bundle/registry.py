"""A registry of bundles: a place in which each bundle lies under its id and never changes. See docs/bundle.md.

The place is a folder, or an address in an object store (`s3://BUCKET/NAME`), with the same content:

    registry.json               says that this is a registry
    bundles/ID/                 the bundle; ID is a hash of its content
    records/ID.jsonl            what happened to it: who, when, from which data, with which verdict (append-only)
    aliases/NAME.jsonl          which bundle a name stands for, since when, by whom, why (append-only; the last counts)
    lines/GROUP.jsonl           which bundle decides for which assets of a group, where its table was changed in the log

A bundle is named by its path, by `REGISTRY/ID`, by a part of the id from its beginning, or by `REGISTRY/ALIAS`.
"""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import orjson
from pydantic import Field, ValidationError

from stream_detector.bundle import journal, object_store
from stream_detector.bundle.files import MANIFEST
from stream_detector.bundle.manifest import ID_DIGITS
from stream_detector.detection.config import Config
from stream_detector.errors import BundleError, StoreError, UsageError, in_words

log = logging.getLogger(__name__)

MARKER = "registry.json"
FORMAT = 1
MARKER_TEXT = orjson.dumps({"format": FORMAT}) + b"\n"
SHORTEST_PREFIX = 4

ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
PREFIX = re.compile(rf"[0-9a-f]{{{SHORTEST_PREFIX},{ID_DIGITS}}}")
ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,62}")


ConfigT = TypeVar("ConfigT", bound=Config)


class Record(Config):
    """One line of a bundle's record. `verdict`: what a comparison or a backtest found, as it was given."""

    at: str
    who: str
    what: Literal["added", "judged", "signed"]
    manifest_sha256: str = ""
    data: dict[str, Any] = Field(default={})
    verdict: dict[str, Any] = Field(default={})
    note: str = ""


class AliasChange(Config):
    """One line of an alias: from now on the name stands for this bundle.

    `group`: the consumer group in whose log a control record says so too; None = there is none.
    """

    at: str
    who: str
    what: Literal["promoted", "rolled back"]
    bundle: str
    why: str = ""
    group: str | None = None


class LineChange(Config):
    """One line about a group's table: from now on its line for `assets` names this bundle; None = it is taken out.

    `instead_of`: what the line named until then; None = there was no such line.
    """

    at: str
    who: str
    what: Literal["promoted", "rolled back"]
    assets: str
    bundle: str | None = None
    instead_of: str | None = None
    why: str = ""


class Registry:
    """The registry in a folder, or at an address; what changes is not cached, for others write to it too."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError unless `folder` is a registry of this format, StoreError where its store does not say."""
        self.folder = folder
        try:
            found = orjson.loads(_marker(folder) or b"")
        except orjson.JSONDecodeError:
            raise UsageError(
                f"{self} is no registry of bundles (no {MARKER} can be read in it); "
                "`stream-detector bundles add BUNDLE --registry DIR` begins one"
            ) from None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise UsageError(f"{self}/{MARKER}: format {FORMAT} is wanted; another version wrote this registry")

    @classmethod
    def create(cls, folder: Path) -> "Registry":
        """The registry in `folder`, begun where there is none; UsageError where something else lies there."""
        if object_store.is_address(folder):
            if not is_registry(folder):
                if object_store.names(folder):
                    raise UsageError(
                        f"{object_store.shown(folder)} holds something else than a registry of bundles; name an empty "
                        "address"
                    )
                object_store.write(folder / MARKER, MARKER_TEXT)
            # Each time: a store that was refused has the marker by then.
            object_store.require_conditional_writes(folder / MARKER)
        elif not is_registry(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if any(folder.iterdir()):
                    raise UsageError(f"{folder} holds something else than a registry of bundles; name an empty folder")
                (folder / MARKER).write_bytes(MARKER_TEXT)
            except OSError as error:
                raise UsageError(f"no registry can be made at {folder}: {error.strerror or error}") from None
        return cls(folder)

    def __str__(self) -> str:
        return object_store.shown(self.folder)

    def ids(self) -> list[str]:
        """Ids of all bundles, sorted."""
        if object_store.is_address(self.folder):
            # One that is on its way has no manifest yet.
            parts = [name.split("/") for name in object_store.names(self.folder / "bundles")]
            return [part[0] for part in parts if part[1:] == [MANIFEST] and ID.fullmatch(part[0])]
        try:
            return sorted(name for name in os.listdir(self.folder / "bundles") if ID.fullmatch(name))
        except FileNotFoundError:
            return []

    def folder_of(self, bundle_id: str, again: bool = False) -> Path:
        """Where a bundle lies, or would lie. Of a store: a copy on this machine; `again`: a new one, not one kept."""
        if object_store.is_address(self.folder):
            return object_store.fetched(self.folder, bundle_id, (MARKER, MARKER_TEXT), again)
        return self.folder / "bundles" / bundle_id

    def resolve(self, reference: str) -> str:
        """The id that an alias, an id or the beginning of one stands for.

        Raises:
            BundleError: it stands for none, or for several.
        """
        changes = self.changes(reference) if ALIAS.fullmatch(reference) else []
        if changes:
            return changes[-1].bundle
        ids = self.ids()
        found = [name for name in ids if PREFIX.fullmatch(reference) and name.startswith(reference)]
        if len(found) == 1:
            return found[0]
        if found:
            raise BundleError(f"{reference!r} stands for {len(found)} bundles of {self}: {', '.join(found[:5])}")
        raise BundleError(
            f"{self} holds no bundle {reference!r}: {len(ids)} bundles, "
            f"aliases {', '.join(self.aliases()) or 'none'}; `stream-detector bundles list` shows them"
        )

    def records(self, bundle_id: str) -> list[Record]:
        """What happened to a bundle, oldest first."""
        path = self.folder / "records" / f"{bundle_id}.jsonl"
        return [_checked(Record, entry, path) for entry in journal.read(path)]

    def record(self, bundle_id: str, record: Record) -> None:
        """Write down what happened to a bundle."""
        journal.append(self.folder / "records" / f"{bundle_id}.jsonl", record.model_dump(mode="json"))

    def aliases(self) -> dict[str, AliasChange]:
        """{alias: what it stands for now}, sorted."""
        folder = self.folder / "aliases"
        try:
            there = object_store.names(folder) if object_store.is_address(folder) else os.listdir(folder)
        except FileNotFoundError:
            return {}
        names = sorted(Path(name).stem for name in there if name.endswith(".jsonl"))
        return {name: changes[-1] for name in names if (changes := self.changes(name))}

    def changes(self, alias: str) -> list[AliasChange]:
        """What an alias stood for, oldest first; empty where there is no such alias."""
        path = self._alias_file(alias)
        return [_checked(AliasChange, entry, path) for entry in journal.read(path)]

    def promote(self, alias: str, bundle_id: str, at: str, who: str, why: str = "", group: str | None = None) -> bool:
        """From now on the alias stands for the bundle; False where it does already, and nothing is written.

        Raises:
            UsageError: the alias is no name for one, or cannot be written.
            BundleError: the registry does not hold the bundle.
        """
        if not ALIAS.fullmatch(alias) or PREFIX.fullmatch(alias):
            raise UsageError(
                f"alias {alias!r}: wanted is a small letter, then small letters, digits, dots or dashes, "
                "and nothing that could be an id (digits and a to f alone)"
            )
        if bundle_id not in self.ids():
            raise BundleError(f"{self} does not hold bundle {bundle_id}; `stream-detector bundles add` it first")
        changes = self.changes(alias)
        if changes and (changes[-1].bundle, changes[-1].group) in ((bundle_id, group), (bundle_id, None)):
            return False
        self._change(alias, AliasChange(at=at, who=who, what="promoted", bundle=bundle_id, why=why, group=group))
        return True

    def roll_back(self, alias: str, at: str, who: str, why: str = "", group: str | None = None) -> AliasChange:
        """The alias stands again for what it stood for before the last promotion that is not rolled back yet.

        Raises:
            BundleError: there is nothing to go back to.
        """
        change = AliasChange(at=at, who=who, what="rolled back", bundle=self.before(alias), why=why, group=group)
        self._change(alias, change)
        return change

    def before(self, alias: str) -> str:
        """What the alias stood for before the last promotion that is not rolled back yet.

        Raises:
            BundleError: it stood for nothing.
        """
        stack = held(self.changes(alias))
        if len(stack) < 2:
            raise BundleError(f"alias {alias!r} of {self} stood for nothing before; promote a bundle instead")
        return stack[-2]

    def lines(self, group: str, assets: str | None = None) -> list[LineChange]:
        """How the table of a group was changed in its log, oldest first; of the line of `assets` alone where given."""
        path = self._lines_file(group)
        found = [_checked(LineChange, entry, path) for entry in journal.read(path)]
        return [change for change in found if assets in (None, change.assets)]

    def change_line(self, group: str, change: LineChange) -> bool:
        """Write down what the log says now; False where the last promotion of the line says so already."""
        known = self.lines(group, change.assets)
        if change.what == "promoted" and known and known[-1].bundle == change.bundle:
            return False
        journal.append(self._lines_file(group), change.model_dump(mode="json", exclude_none=True))
        return True

    def line_before(self, group: str, assets: str) -> tuple[str, str | None]:
        """What the last promotion of a line that is not rolled back yet has named, and what the line named before it.

        Raises:
            BundleError: there is none.
        """
        stack: list[LineChange] = []
        for change in self.lines(group, assets):
            if change.what == "promoted":
                stack.append(change)
            else:
                stack.pop()
        if not stack or stack[-1].bundle is None:
            known = sorted({change.assets for change in self.lines(group)})
            raise BundleError(
                f"{self} knows no promotion for {assets!r} in group {group} that could be rolled back; lines that were "
                f"promoted: {', '.join(map(repr, known)) or 'none'}"
            )
        return stack[-1].bundle, stack[-2].bundle if len(stack) > 1 else stack[0].instead_of

    def _lines_file(self, group: str) -> Path:
        return self.folder / "lines" / f"{quote(group, safe='')}.jsonl"

    def _change(self, alias: str, change: AliasChange) -> None:
        # Without what is not said, which versions before would take for an error.
        journal.append(self._alias_file(alias), change.model_dump(mode="json", exclude_none=True))

    def _alias_file(self, alias: str) -> Path:
        return self.folder / "aliases" / f"{alias}.jsonl"


def held(changes: Sequence[AliasChange]) -> list[str]:
    """The bundles that promotions put one upon another and no rollback took away; the last one counts now."""
    stack: list[str] = []
    for change in changes:
        if change.what == "rolled back":
            stack.pop()
        else:
            stack.append(change.bundle)
    return stack


def is_registry(folder: Path) -> bool:
    """Whether there is a registry, of whatever format."""
    return _marker(folder) is not None


def is_alias(path: Path) -> bool:
    """Whether a bundle's path is REGISTRY/ALIAS, and so may stand for another bundle one day."""
    if ID.fullmatch(path.name):
        return False
    return is_registry(path.parent) and not path.exists() and bool(Registry(path.parent).changes(path.name))


def bundle_folder(path: Path) -> Path:
    """The folder that a path to a bundle or a reference `REGISTRY/ID` or `REGISTRY/ALIAS` names.

    Raises:
        BundleError: the registry holds no such bundle.
        UsageError: the registry is of another format.
    """
    remote = object_store.is_address(path)
    if remote and ID.fullmatch(path.name):
        try:
            return Registry(path.parent).folder_of(path.name)
        except StoreError as error:
            # Its content says that it is the one, whatever the store would say.
            kept = object_store.kept(path.parent, path.name)
            if kept is None:
                raise
            log.warning("%s; the copy of bundle %s on this machine is whole, and is used", error, path.name)
            return kept
    if remote or (is_registry(path.parent) and not path.exists()):
        registry = Registry(path.parent)
        return registry.folder_of(registry.resolve(path.name))
    return path


def registered_id(folder: Path) -> str | None:
    """The id under which the registry holds the bundle in this folder; None where it lies in no registry."""
    if object_store.is_address(folder):
        return None
    place = folder.resolve()
    return place.name if place.parent.name == "bundles" and is_registry(place.parent.parent) else None


def registry_around(path: Path) -> Path | None:
    """The folder of the registry that a bundle's path or reference leads into; None where it leads into none."""
    if object_store.is_address(path) or is_registry(path.parent):
        return path.parent
    return path.resolve().parent.parent if registered_id(path) is not None else None


def _marker(folder: Path) -> bytes | None:
    """The content of the file that makes it a registry; None where there is none, or none that can be read."""
    if object_store.is_address(folder):
        found = object_store.read(folder / MARKER)
        return None if found is None else found[0]
    try:
        return (folder / MARKER).read_bytes()
    except OSError:
        return None


def _checked(kind: type[ConfigT], entry: dict[str, Any], path: Path) -> ConfigT:
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        where = object_store.shown(path)
        raise BundleError(f"{where}: {in_words(error.errors()[0])}; another version wrote this record") from None
