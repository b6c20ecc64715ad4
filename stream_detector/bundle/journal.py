"""An append-only file of JSON lines: who did what when. Each line carries the hash of the one before it.

A line that was changed, taken out or put in breaks the chain. What a crash left half written at the end was never
acknowledged: readers pass it over, and the next writer cuts it off.
"""

import fcntl
import hashlib
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from stream_detector.bundle import object_store
from stream_detector.errors import BundleError, StoreError, UsageError

BEFORE = "before"
"""Key of the hash of the line before; empty in the first line."""

DIGITS = 16

MOST_ATTEMPTS = 100
"""To write an object that others write too."""


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add one line and have it on the disk before returning; writers of several processes wait for each other.

    Raises:
        BundleError: the chain is broken.
        StoreError: the object store in which it lies does not answer, or refuses.
        UsageError: the file cannot be written.
    """
    if object_store.is_address(path):
        _append_object(path, entry)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            whole = _whole_lines(file.read())
            line = _line_after(path, whole, entry)
            file.truncate(sum(map(len, whole)))
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def read(path: Path) -> list[dict[str, Any]]:
    """All entries, oldest first; none where there is no such file.

    Raises:
        BundleError: the file cannot be read, or the chain is broken; the message names the line.
        StoreError: as for `append`.
    """
    if object_store.is_address(path):
        found = object_store.read(path)
        return [] if found is None else _parse(path, _whole_lines(found[0]))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None
    return _parse(path, _whole_lines(content))


def _append_object(path: Path, entry: Mapping[str, Any]) -> None:
    """An object is written whole, in place of the very content that was read: else the line is made anew.

    A store that has written and could not say so is asked again by its client, and refuses then: what it holds tells.
    """
    content = None
    for attempt in range(MOST_ATTEMPTS):
        found = object_store.read(path)
        if content is not None and found is not None and found[0].startswith(content):
            return
        whole = [] if found is None else _whole_lines(found[0])
        content = b"".join([*whole, _line_after(path, whole, entry)])
        try:
            if object_store.write(path, content, None if found is None else found[1]):
                return
        except StoreError:
            # Where only its answer was lost, the next append would do the same a second time.
            after = object_store.read(path)
            if after is None or not after[0].startswith(content):
                raise
            return
        time.sleep(random.uniform(0.0, 0.05 * min(attempt + 1, 10)))
    raise StoreError(f"{object_store.shown(path)} is written by too many at once; try again")


def _line_after(path: Path, lines: list[bytes], entry: Mapping[str, Any]) -> bytes:
    _parse(path, lines)
    line = {**entry, BEFORE: _digest(lines[-1]) if lines else ""}
    return orjson.dumps(line, option=orjson.OPT_SORT_KEYS) + b"\n"


def _whole_lines(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def _parse(path: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    entries, before = [], ""
    for number, line in enumerate(lines, 1):
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            entry = None
        if not isinstance(entry, dict) or entry.pop(BEFORE, None) != before:
            raise BundleError(
                f"line {number} of {object_store.shown(path)} does not follow from the lines before it: the record was "
                "changed by hand; restore the file from a backup"
            )
        entries.append(entry)
        before = _digest(line)
    return entries


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:DIGITS]
