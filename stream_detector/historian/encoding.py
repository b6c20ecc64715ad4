"""Bytes of a file to text: the encoding is told, marked, or found out and named."""

import gzip
from dataclasses import dataclass
from pathlib import Path

from stream_detector.errors import DataError

MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""Byte-order marks."""

GZIP = b"\x1f\x8b"

FIRST_HANGUL, LAST_HANGUL = "\uac00", "\ud7a3"


@dataclass(frozen=True)
class Text:
    """A file's text; `guessed`: its encoding was neither given nor marked, and is not UTF-8."""

    content: str
    encoding: str
    guessed: bool


def read_text(path: Path, encoding: str | None) -> Text:
    """Read a file, unpacked where it is gzip.

    Raises:
        DataError: the file cannot be read, is not what its name says, or has no text in that encoding.
    """
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz" or content.startswith(GZIP):
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    if not content.strip():
        raise DataError(f"{path} is empty")
    if encoding is not None:
        try:
            return Text(content.decode(encoding), encoding, guessed=False)
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{path} is not {encoding}: {error}; leave `encoding` out to have it found out") from error
    for mark, marked in MARKS:
        if content.startswith(mark):
            return Text(content.decode(marked, errors="replace"), marked, guessed=False)
    if b"\0" in content:
        raise DataError(
            f"{path} holds zero bytes, so it is no text; give a file of the form that its name says, or the `encoding` "
            "where it is UTF-16 without a mark"
        )
    try:
        return Text(content.decode(), "utf-8", guessed=False)
    except UnicodeDecodeError:
        return _guessed(content)


def _guessed(content: bytes) -> Text:
    """Korean where it reads as Korean, else the Western code page that reads anything."""
    try:
        korean = content.decode("cp949")
    except UnicodeDecodeError:
        korean = ""
    if any(FIRST_HANGUL <= letter <= LAST_HANGUL for letter in korean):
        return Text(korean, "cp949", guessed=True)
    return Text(content.decode("cp1252", errors="replace"), "cp1252", guessed=True)
