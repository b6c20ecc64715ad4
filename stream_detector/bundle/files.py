"""The files of a bundle, read with distrust: plain files only, no links, bounded sizes, known names, right hashes."""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stream_detector.errors import BundleError

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
WEIGHTS = "weights.safetensors"
SCALER = "scaler.safetensors"
PROBE = "probe.safetensors"
HEAD = "head.safetensors"

REQUIRED = (WEIGHTS, SCALER, PROBE)

MAX_BYTES = {
    MANIFEST: 16 << 20,
    SIGNATURE: 64,
    WEIGHTS: 1 << 30,
    SCALER: 64 << 20,
    PROBE: 256 << 20,
    HEAD: 256 << 20,
}
"""No larger file is read into memory."""

Arrays = dict[str, NDArray[Any]]


def list_folder(folder: Path) -> set[str]:
    """Names in a bundle's folder; BundleError unless all are known names of plain files.

    The folder itself may be reached through a link (`current -> 2026-11-22`), its content may not.
    """
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    except FileNotFoundError:
        raise BundleError(f"no bundle at {folder}: there is no such folder; `trainer fit --out` writes one") from None
    except NotADirectoryError:
        raise BundleError(f"{folder} is a file; a bundle is a folder that holds {MANIFEST}") from None
    except OSError as error:
        raise BundleError(f"{folder} cannot be read: {error.strerror}") from error
    for name in sorted(found):
        if name not in MAX_BYTES:
            raise BundleError(f"{folder} holds {name!r}, which is no part of a bundle; remove it to use the bundle")
        if not found[name]:
            raise BundleError(f"{folder / name} is a link or a folder; a bundle has plain files only")
    if MANIFEST not in found:
        raise BundleError(f"{folder} holds no {MANIFEST}, so it is no bundle; `trainer fit --out` writes one")
    return set(found)


def read_file(folder: Path, name: str) -> bytes:
    """The whole content of one file, read once, so that what is hashed is what is used."""
    path = folder / name
    try:
        # Non-blocking, or a FIFO put there in the meantime would hang the detector.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is not a plain file")
        content = file.read(MAX_BYTES[name] + 1) if status.st_size <= MAX_BYTES[name] else b""
    if status.st_size > MAX_BYTES[name] or len(content) > MAX_BYTES[name]:
        raise BundleError(f"{path} has {status.st_size:,} bytes; at most {MAX_BYTES[name]:,} are read")
    return content


def read_hashed(folder: Path, present: set[str], hashes: Mapping[str, str]) -> dict[str, bytes]:
    """All files that the manifest names; BundleError if one is missing, extra, unknown or changed."""
    for name in hashes:
        if name not in MAX_BYTES or name in (MANIFEST, SIGNATURE):
            raise BundleError(f"manifest.json lists {name!r}, which is no file of a bundle")
    for name in (*REQUIRED, *hashes):
        if name not in hashes:
            raise BundleError(f"manifest.json does not list {name}, without which a bundle cannot score")
        if name not in present:
            raise BundleError(f"{folder} lacks {name}, which its manifest lists; copy the bundle again, whole")
    extra = sorted(present - set(hashes) - {MANIFEST, SIGNATURE})
    if extra:
        raise BundleError(
            f"{folder} holds {extra[0]}, which its manifest does not list; remove it or copy the bundle again"
        )
    contents = {}
    for name, wanted in sorted(hashes.items()):
        contents[name] = read_file(folder, name)
        found = sha256(contents[name])
        if found != wanted:
            raise BundleError(
                f"{folder / name} was changed: its sha256 is {found[:12]}…, the manifest says {wanted[:12]}…; "
                "get the bundle again from where it was fitted"
            )
    return contents


def sha256(content: bytes) -> str:
    """Hex digest, as the manifest lists it."""
    return hashlib.sha256(content).hexdigest()


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as safetensors; the same arrays give the same bytes."""
    return bytes(save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}))


def unpack(name: str, content: bytes) -> Arrays:
    """Arrays of a safetensors file; BundleError if it is none."""
    try:
        arrays: Arrays = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"{name} is not a safetensors file that this version reads: {error}") from error
    return arrays
