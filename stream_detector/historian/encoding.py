"""Bytes of a file to lines of text: the encoding is told, marked, or found out and named."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stream_detector.errors import DataError

MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""Byte-order marks."""

GZIP = b"\x1f\x8b"

FIRST_HANGUL, LAST_HANGUL = "\uac00", "\ud7a3"

BLOCK = 1 << 18
"""Bytes that are looked at at once."""


@dataclass(frozen=True)
class Text:
    """A file's text. `guessed`: its encoding is neither given nor marked, and is not UTF-8. `errors`: as for `open`."""

    path: Path
    encoding: str
    guessed: bool = False
    errors: str = "strict"

    def lines(self) -> Iterator[str]:
        """Each line with its end, read as it is asked for: a long file takes no more memory than a short one."""
        with _opened(self.path) as raw, io.TextIOWrapper(raw, self.encoding, self.errors, newline="") as text:
            yield from text


def text_of(path: Path, encoding: str | None) -> Text:
    """What a file's text is to be read as, unpacked where it is gzip. The whole file is looked at.

    Raises:
        DataError: the file cannot be read, is not what its name says, or has no text in that encoding.
    """
    try:
        return _text_of(path, encoding)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error


def _text_of(path: Path, encoding: str | None) -> Text:
    if not any(block.strip() for block in _blocks(path)):
        raise DataError(f"{path} is empty")
    if encoding is not None:
        try:
            codecs.lookup(encoding)
            for _ in _decoded(path, encoding):
                pass
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{path} is not {encoding}: {error}; leave `encoding` out to have it found out") from error
        return Text(path, encoding)
    first = next(_blocks(path))
    for mark, marked in MARKS:
        if first.startswith(mark):
            return Text(path, marked, errors="replace")
    if any(b"\0" in block for block in _blocks(path)):
        raise DataError(
            f"{path} holds zero bytes, so it is no text; give a file of the form that its name says, or the `encoding` "
            "where it is UTF-16 without a mark"
        )
    try:
        for _ in _decoded(path, "utf-8"):
            pass
    except UnicodeDecodeError:
        return _guessed(path)
    return Text(path, "utf-8")


def _guessed(path: Path) -> Text:
    """Korean where it reads as Korean, else the Western code page that reads anything."""
    korean = False
    try:
        for text in _decoded(path, "cp949"):
            korean = korean or any(FIRST_HANGUL <= letter <= LAST_HANGUL for letter in text)
    except UnicodeDecodeError:
        korean = False
    if korean:
        return Text(path, "cp949", guessed=True)
    return Text(path, "cp1252", guessed=True, errors="replace")


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    with path.open("rb") as file:
        packed = path.suffix.lower() == ".gz" or file.read(len(GZIP)) == GZIP
    return gzip.open(path) if packed else path.open("rb")


def _blocks(path: Path) -> Iterator[bytes]:
    with _opened(path) as raw:
        while block := raw.read(BLOCK):
            yield block


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    """The text, block by block.

    Raises:
        UnicodeDecodeError: it has none in this encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    for block in _blocks(path):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)
