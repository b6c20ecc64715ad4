"""Files that a command writes for the user."""

from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from stream_detector.errors import UsageError


def write_json(path: Path, content: Any) -> None:
    """Machine-readable results; a number that is not finite becomes null."""
    write_bytes(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file; UsageError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def read_key(path: Path) -> bytes:
    """A key file's content; UsageError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"key {path} cannot be read: {error.strerror}") from error


def error_console() -> Console:
    """Console for progress: standard error, so that standard output holds results alone."""
    return Console(stderr=True)
