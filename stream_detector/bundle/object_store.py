"""Registries of bundles in an object store: S3, and what speaks like it. Nothing is lost where two write at once.

Commands and settings hand addresses on as paths, and pathlib makes `s3:/bucket/name` of `s3://bucket/name`: here both
are the same. An object is written only where none is, or in place of the very one that was read.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from stream_detector.bundle import files
from stream_detector.bundle.manifest import parse
from stream_detector.errors import BundleError, StoreError, UsageError, without_password
from stream_detector.extras import need
from stream_detector.settings import Settings

SCHEME = "s3:"
TIMEOUT_SECONDS = 20.0
RETRIES = 2
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
OTHER_TAG = f'"{"0" * 32}"'
"""Of no content that is ever written."""

ValueT = TypeVar("ValueT")


def is_address(path: Path) -> bool:
    """Whether a path is an address in an object store."""
    return path.parts[:1] == (SCHEME,)


def shown(path: Path) -> str:
    """The path as people write it: `s3://bucket/name`, or that of a file."""
    return f"{SCHEME}//{'/'.join(path.parts[1:])}" if is_address(path) else str(path)


def read(path: Path) -> tuple[bytes, str] | None:
    """An object and the tag of this content; None where there is none.

    Raises:
        StoreError: the store does not answer, or refuses.
        UsageError: the address names no bucket, or what reads it is not installed.
    """
    import obstore

    store, name = _place(path)

    def get() -> tuple[bytes, str] | None:
        try:
            found = obstore.get(store, name)
            return bytes(found.bytes()), str(found.meta["e_tag"])
        except FileNotFoundError:
            return None

    return _asked(path, get)


def write(path: Path, content: bytes, instead_of: str | None = None) -> bool:
    """Write an object where none is, or in place of the one with this tag; False where that is not so any more.

    Raises as `read`.
    """
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    store, name = _place(path)

    def put() -> bool:
        try:
            obstore.put(store, name, content, mode="create" if instead_of is None else {"e_tag": instead_of})
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    return _asked(path, put)


def replace(path: Path, content: bytes) -> None:
    """Let an object hold this, whether there is one or not. Raises as `read`, and BundleError where others write it."""
    found = read(path)
    if found is not None and found[0] == content:
        return
    if not write(path, content, None if found is None else found[1]):
        raise BundleError(f"{shown(path)} was written by somebody else at the same time; do it again")


def names(folder: Path) -> list[str]:
    """Names of all objects under an address, from there on, sorted. Raises as `read`."""
    import obstore

    store, name = _place(folder, least=2)

    def listed() -> list[str]:
        pages = obstore.list(store, prefix=name or None)
        return sorted(str(entry["path"]).removeprefix(f"{name}/" if name else "") for page in pages for entry in page)

    return _asked(folder, listed)


def require_conditional_writes(path: Path) -> None:
    """UsageError where the store writes over an object that is there although it was told not to."""
    found = read(path)
    assert found is not None
    for name, tag in (("If-None-Match", None), ("If-Match", OTHER_TAG)):
        if write(path, found[0], tag):
            raise UsageError(
                f"the store of {shown(path)} knows no conditional writes ({name}), without which two who write at once "
                "would lose what one of them wrote; name another store"
            )


def put_bundle(incoming: Path, place: Path) -> tuple[bool, bool]:
    """Whether the bundle in the folder is new at its address, and whether a signature came to one that had none.

    The manifest goes last: what has none is no bundle yet, and is finished by whoever puts it again.
    """
    present = files.list_folder(incoming)
    new = files.MANIFEST not in names(place)
    if new:
        for name in [*sorted(present - {files.MANIFEST}), files.MANIFEST]:
            content = files.read_file(incoming, name)
            if not write(place / name, content) and (read(place / name) or (b"", ""))[0] != content:
                raise BundleError(f"{shown(place / name)} is there already, with other content; remove it by hand")
        return True, False
    if files.SIGNATURE not in present:
        return False, False
    return False, write(place / files.SIGNATURE, files.read_file(incoming, files.SIGNATURE))


def fetched(registry: Path, bundle_id: str, marker: tuple[str, bytes], again: bool = False) -> Path:
    """A bundle of the registry at this address as a folder of this machine, where it is kept under its id.

    marker: name and content of the file that makes a folder a registry; so is the one in which the copies lie.
    again: read it from the store even if there is a whole copy.
    """
    copies = _copies(registry)
    place, source = copies / "bundles" / bundle_id, registry / "bundles" / bundle_id
    there = {name for name in names(source) if name in files.MAX_BYTES}
    if not again and place.is_dir() and _is_whole(place, bundle_id, there):
        return place
    if files.MANIFEST not in there:
        return place  # which does not exist, and says so
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        (copies / marker[0]).write_bytes(marker[1])
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=copies))
        try:
            for name in sorted(there):
                found = read(source / name)
                if found is not None:
                    (incoming / name).write_bytes(found[0])
            if not (place.is_dir() and _same(incoming, place)):
                # Whoever reads a whole copy meanwhile finds no folder for a moment: so it stays where it is.
                incoming.chmod(0o755)
                _replace(incoming, place)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"{copies} cannot keep copies of bundles: {error.strerror or error}; name another folder with "
            "STREAM_DETECTOR_BUNDLE_CACHE"
        ) from None
    return place


def kept(registry: Path, bundle_id: str) -> Path | None:
    """The copy of a bundle that is whole on this machine; None where there is none. Asks no store."""
    place = _copies(registry) / "bundles" / bundle_id
    try:
        return place if place.is_dir() and _is_whole(place, bundle_id, files.list_folder(place)) else None
    except BundleError:
        return None


def _same(one: Path, other: Path) -> bool:
    names = {entry.name for entry in one.iterdir()}
    if names != {entry.name for entry in other.iterdir()}:
        return False
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def _replace(incoming: Path, place: Path) -> None:
    if place.exists():
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=incoming.parent))
        place.rename(aside / place.name)
        shutil.rmtree(aside, ignore_errors=True)
    try:
        incoming.rename(place)
    except OSError:
        # Another process was quicker; what it put there is checked when it is loaded.
        if not place.exists():
            raise


def _is_whole(place: Path, bundle_id: str, there: set[str]) -> bool:
    try:
        present = files.list_folder(place)
        manifest = parse(files.read_file(place, files.MANIFEST))
        files.read_hashed(place, present, manifest.files)
    except BundleError:
        return False
    return manifest.bundle_id == bundle_id and present == there


def _copies(registry: Path) -> Path:
    root = Settings.load().bundle_cache
    if root is None:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "stream-detector"
    endpoint = re.sub(r"[^A-Za-z0-9.-]+", "_", without_password(_environment("AWS_ENDPOINT_URL")) or "aws")
    return root.joinpath(endpoint, *registry.parts[1:])


def _place(path: Path, least: int = 3) -> tuple[Any, str]:
    """The client of a bucket, and the name in it. `least`: parts of the address, with the scheme."""
    need("a registry in an object store", "obstore")
    if len(path.parts) < least:
        raise UsageError(f"{shown(path)} names no bucket; s3://BUCKET/NAME is wanted")
    for name in CREDENTIALS:
        if not _environment(name).isprintable():
            raise UsageError(f"{name} holds a line break or the like, which no credential has; set it without")
    endpoint, key = _environment("AWS_ENDPOINT_URL"), _environment("AWS_ACCESS_KEY_ID")
    client = _asked(path, lambda: _client(path.parts[1], endpoint, key))
    return client, "/".join(path.parts[2:])


@cache
def _client(bucket: str, endpoint: str, _key: str) -> Any:
    """One for each bucket, so that connections are used again; credentials and region come from the environment."""
    from obstore.store import S3Store

    return S3Store(
        bucket,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "timeout": timedelta(seconds=TIMEOUT_SECONDS),
            "connect_timeout": timedelta(seconds=TIMEOUT_SECONDS / 4),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=TIMEOUT_SECONDS)},
    )


def _environment(name: str) -> str:
    return os.environ.get(name, "")


def _asked(path: Path, question: Callable[[], ValueT]) -> ValueT:
    from obstore.exceptions import BaseError

    try:
        return question()
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(f"{shown(path)} does not answer, or refuses: {_sentence(error)}") from None


def _sentence(error: Exception) -> str:
    """What the store says, or else the first line of what its client says."""
    text = str(error)
    said = re.search(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", text, re.DOTALL)
    if said is not None:
        return f"{said[1]}: {said[2]}"
    return without_password(text.split("\n", maxsplit=1)[0].strip())
