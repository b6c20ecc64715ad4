"""Puts bundles into a registry, and checks what lies there."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stream_detector.bundle import files, object_store
from stream_detector.bundle.bundle import load_bundle
from stream_detector.bundle.manifest import Manifest
from stream_detector.bundle.registry import Record, Registry
from stream_detector.errors import BundleError, UsageError
from stream_detector.messages import to_iso


@dataclass(frozen=True, slots=True)
class Added:
    """What came of `add_bundle`.

    Attributes:
        new: the registry did not hold the bundle before.
        repaired: it held it damaged, and holds it whole now.
    """

    manifest: Manifest
    new: bool
    repaired: bool = False


def add_bundle(
    registry: Registry,
    folder: Path,
    at: float,
    who: str,
    *,
    verdict: dict[str, Any] | None = None,
    note: str = "",
    public_key: bytes | None = None,
) -> Added:
    """Copy a bundle into the registry, whole or not at all, and write down who did it, when and why.

    What is checked is the copy. A bundle that is there already stays as it is, but for a signature that it lacked, and
    for files of it that were damaged; a crash between copy and record is mended by adding the bundle again.

    Raises:
        BundleError: the bundle is refused, or not signed by the key.
        StoreError: the object store of the registry does not answer, or refuses.
        UsageError: the registry cannot be written.
    """
    present = files.list_folder(folder)
    contents = {name: files.read_file(folder, name) for name in sorted(present)}
    try:
        # Beside its place in a folder, into which it is then moved.
        beside = None if object_store.is_address(registry.folder) else registry.folder
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=beside))
    except OSError as error:
        raise UsageError(f"{registry} cannot be written: {error.strerror or error}") from None
    try:
        _write(incoming, contents)
        manifest = load_bundle(incoming, public_key).manifest
        new, signed, repaired = _put(incoming, registry, manifest.bundle_id, contents)
    except OSError as error:
        raise UsageError(f"{registry} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    known = registry.records(manifest.bundle_id)
    added = any(record.what == "added" for record in known)
    what: Literal["added", "judged", "signed"] = (
        "judged" if added and verdict else "signed" if added and signed else "added"
    )
    if not added or verdict or signed:
        registry.record(
            manifest.bundle_id,
            Record(
                at=to_iso(at),
                who=who,
                what=what,
                manifest_sha256=files.sha256(contents[files.MANIFEST]),
                data=data_of(manifest),
                verdict=verdict or {},
                note=note,
            ),
        )
    return Added(manifest, new, repaired)


def data_of(manifest: Manifest) -> dict[str, Any]:
    """What a bundle was learnt from, in words for its record."""
    training = manifest.training
    span = {"from": training.from_time, "until": training.until_time}
    return {
        "name": training.data_name,
        "sha256": training.data_sha256,
        "rows": training.rows,
        **{key: to_iso(time) for key, time in span.items() if time is not None},
    }


def check_registered(registry: Registry, bundle_id: str, public_key: bytes | None = None) -> Manifest:
    """A registered bundle as a worker would load it, and its record; BundleError for whatever is wrong with either."""
    folder = registry.folder_of(bundle_id, again=True)
    manifest = load_bundle(folder, public_key).manifest
    records = registry.records(bundle_id)
    if not any(record.what == "added" for record in records):
        raise BundleError(f"{folder} has no record of who added it; add it again with `stream-detector bundles add`")
    found = files.sha256(files.read_file(folder, files.MANIFEST))
    for record in records:
        if record.manifest_sha256 and record.manifest_sha256 != found:
            raise BundleError(
                f"{folder}: its manifest has sha256 {found[:12]}…, its record of {record.at} says "
                f"{record.manifest_sha256[:12]}…; do not use it"
            )
    return manifest


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        (folder / name).chmod(0o444)
    folder.chmod(0o755)


def _put(incoming: Path, registry: Registry, bundle_id: str, contents: dict[str, bytes]) -> tuple[bool, bool, bool]:
    """Whether the bundle is new at its place, whether a signature came to one that had none, and whether it is mended.

    A bundle is named by the hash of its content: a file that differs from what was given was damaged.
    """
    in_store = object_store.is_address(registry.folder)
    place = registry.folder / "bundles" / bundle_id if in_store else registry.folder_of(bundle_id)
    if in_store:
        new, signed = object_store.put_bundle(incoming, place)
    else:
        place.parent.mkdir(exist_ok=True)
        new = not place.exists()
        if new:
            incoming.rename(place)
        signed = not new and files.SIGNATURE in contents and not (place / files.SIGNATURE).exists()
    if new:
        return True, False, False
    repaired = False
    try:
        load_bundle(registry.folder_of(bundle_id, again=True))
    except BundleError:
        whole = [name for name in contents if name not in (files.SIGNATURE, files.MANIFEST)]
        for name in [*whole, files.MANIFEST]:
            if in_store:
                object_store.replace(place / name, contents[name])
            else:
                (incoming / name).replace(place / name)
        load_bundle(registry.folder_of(bundle_id, again=True))
        repaired = True
    if signed and not in_store:
        (incoming / files.SIGNATURE).rename(place / files.SIGNATURE)
    return False, signed, repaired
