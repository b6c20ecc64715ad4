"""Training data out of InfluxDB: the rows of an InfluxQL query, read as a file with its columns would be.

Versions 1, 2 and 3 answer the same question (`/query`) with the same CSV, so no client of either is needed.
"""

import csv
import io
import json
import os
import re
import tempfile
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import TextIO
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from stream_detector.errors import DataError, UsageError, without_password
from trainer.data.dataset import Dataset, read_query_dataset
from trainer.recipe import DataConfig

SCHEMES = {"influxdb": "http", "influxdbs": "https"}
PORT = 8086
TIMEOUT_SECONDS = 300.0
MOST_SAID = 500

COMMA, SIGN, ESCAPED = re.compile(r"(?<!\\),"), re.compile(r"(?<!\\)="), re.compile(r"\\([,= ])")

NAME, TAGS = "name", "tags"
"""Columns that InfluxDB puts before those of the query: the measurement, and what the query groups by."""


def read_influx_dataset(url: str, query: str, config: DataConfig) -> Dataset:
    """The rows of a query on `influxdb://[USER@]HOST[:PORT]/DATABASE`, or `influxdbs://` for TLS.

    The password is that of the environment (INFLUX_PASSWORD), or there is a token (INFLUX_TOKEN). What the query groups
    by becomes columns.

    Raises:
        DataError: the database cannot be reached or refuses the query; it has no rows, or they are not what the config
            says.
        UsageError: the URL is no such address.
    """
    address = _address(url)
    name = f"{address.hostname}{address.path}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "query.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            _write(out, _rows(address, query, name), name)
        return read_query_dataset(file, config, name)


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        complete = bool(address.hostname and address.path.strip("/") and (address.port or PORT))
    except ValueError:
        complete = False
    if not complete:
        raise UsageError(f"--from-sql {without_password(url)}: influxdb://HOST:{PORT}/DATABASE is wanted")
    if address.password:
        raise UsageError("a password in an address is seen by everyone; put it into INFLUX_PASSWORD")
    return address


def _rows(address: SplitResult, query: str, name: str) -> Iterator[list[str]]:
    parameters = urlencode({"db": unquote(address.path.strip("/")), "q": query, "chunked": "true"})
    place = f"{address.hostname}:{address.port or PORT}"
    request = urllib.request.Request(  # noqa: S310 - the scheme is one of ours
        f"{SCHEMES[address.scheme]}://{place}/query?{parameters}",
        headers={"Accept": "application/csv"},
    )
    for header, value in _who(address).items():
        request.add_unredirected_header(header, value)  # for this host, and for none that it names
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - see above
            yield from csv.reader(io.TextIOWrapper(answer, encoding="utf-8", newline=""))
    except HTTPError as error:
        raise DataError(f"{name} refuses the query: {_said(error)}") from None
    except (UnicodeError, csv.Error) as error:
        raise DataError(f"{name} does not answer as InfluxDB does: {error}") from None
    except (OSError, HTTPException) as error:
        raise DataError(f"{name} does not answer the query: {getattr(error, 'reason', error)}") from None


def _who(address: SplitResult) -> dict[str, str]:
    # A file of which a variable was filled ends with a line break.
    token = os.environ.get("INFLUX_TOKEN", "").strip()
    if token:
        if not (token.isascii() and token.isprintable()):
            raise UsageError("INFLUX_TOKEN holds characters that no token has; set it to the token alone")
        return {"Authorization": f"Token {token}"}
    if not address.username:
        return {}
    pair = f"{unquote(address.username)}:{os.environ.get('INFLUX_PASSWORD', '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _said(error: HTTPError) -> str:
    """What the database says is wrong: CSV, JSON or a line, by its version."""
    text = error.read(MOST_SAID).decode("utf-8", "replace").strip()
    try:
        content = json.loads(text)
        text = str(content.get("error") or content.get("message") or text) if isinstance(content, dict) else text
    except ValueError:
        text = text.removeprefix("error").strip().strip('"')
    return " ".join(text.split()) or f"{error.code} {error.reason}"


def _write(out: TextIO, rows: Iterator[list[str]], name: str) -> None:
    """The rows with a column for each tag that the query groups by, and with the measurement's name if it is not the
    same everywhere.

    A series without such a tag names none, so which there are is known at the end alone.
    """
    header = next(rows, None)
    if not header:
        raise DataError(f"the query on {name} has no rows; does the database hold what it asks for?")
    if header == ["error"]:
        raise DataError(f"{name} refuses the query: {' '.join(next(rows, ['']))}")
    if header[:2] != [NAME, TAGS]:
        raise DataError(f"{name} does not answer as InfluxDB does: the first line is {','.join(header)[:80]!r}")
    grouped, measurements = dict[str, None](), set[str]()
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as kept:
        keep = csv.writer(kept)
        for row in rows:
            if len(row) != len(header) or row == header:
                raise DataError(f"the query on {name} gives several tables; ask one question, and name its fields")
            grouped.update(dict.fromkeys(_tags(row[1])))
            measurements.add(row[0])
            keep.writerow(row)
        kept.seek(0)
        write = csv.writer(out)
        named = int(len(measurements) < 2)
        write.writerow([*header[named:1], *header[2:], *grouped])
        for row in csv.reader(kept):
            tags = _tags(row[1])
            write.writerow([*row[named:1], *row[2:], *(tags.get(tag, "") for tag in grouped)])


def _tags(text: str) -> dict[str, str]:
    """`machine=pm-1,line=2`, in which a comma, an equals sign or a blank of a name stands behind a backslash."""
    found = {}
    for part in COMMA.split(text) if text else ():
        key, *value = SIGN.split(part, maxsplit=1)
        found[ESCAPED.sub(r"\1", key)] = ESCAPED.sub(r"\1", "".join(value))
    return found
