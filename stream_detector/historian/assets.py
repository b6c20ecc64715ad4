"""Several assets in one history: which asset a file, or a row, belongs to."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError

ASSET_NAMES = (
    "asset", "asset_id", "assetid", "asset_name", "machine", "machine_id", "machineid", "machine_name", "equipment",
    "equipment_id", "equipmentid", "device", "device_id", "deviceid", "device_name", "unit_id", "unit", "well",
    "well_id", "well_name", "turbine", "turbine_id", "pump_id", "engine_id", "station", "station_id", "host",
)  # fmt: skip
"""Columns that usually name the asset, in lower case."""

PARTITION = re.compile(r"^([^=]+)=(.+)$")
"""A folder as lakes write it: `asset=pm-1`."""
DATED = re.compile(r"^[\d\-_.T:Z]+$")
"""A folder that is named after a day, a month, a number."""

Ints = NDArray[np.int64]


def assets_of_files(root: Path, files: Sequence[Path], pattern: str | None) -> list[str | None]:
    """The asset of each file; None where nothing tells one.

    pattern: a regular expression that is searched for in the path below `root`; its group `asset`, else its first
    group, else all of it is the name. Without one, files in folders below `root` belong to the asset that the first
    folder is named after, unless these are the folders of days.

    Raises:
        DataError: the pattern is no regular expression, or one of several files does not fit it.
    """
    base = root if root.is_dir() else root.parent
    places = [file.relative_to(base) for file in files]
    if pattern is None:
        return _of_folders(places)
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise DataError(f"asset_pattern = {pattern!r} is no regular expression: {error}") from error
    found: list[str | None] = []
    for place in places:
        match = wanted.search(place.as_posix())
        if match is None and len(files) > 1:
            raise DataError(f"{base / place}: its name does not fit asset_pattern = {pattern!r}; mend the pattern")
        found.append(None if match is None else _named_by(match))
    return found


def _named_by(match: re.Match[str]) -> str:
    named = match.groupdict().get("asset") or (match[1] if match.re.groups else match[0])
    return str(named)


def _of_folders(places: Sequence[Path]) -> list[str | None]:
    folders = [place.parts[:-1] for place in places]
    for level in range(max(map(len, folders), default=0)):
        names = [parts[level] if len(parts) > level else "" for parts in folders]
        partitions = [PARTITION.match(name) for name in names]
        if all(partitions):
            if str(partitions[0] and partitions[0][1]).lower() in ASSET_NAMES:
                return [match[2] if match else None for match in partitions]
            continue
        if all(names) and not any(map(DATED.match, names)):
            return list(names) if len(set(names)) > 1 else [None] * len(names)
    return [None] * len(places)


def codes_of(path: Path, column: str, texts: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """The assets in the order in which they first come, and (N,) the place of each row's asset among them.

    Raises:
        DataError: a row names no asset.
    """
    places: dict[str, int] = {}
    codes = np.fromiter((places.setdefault(text.strip(), len(places)) for text in texts), np.int64, len(texts))
    if "" in places:
        row = int(np.argmax(codes == places[""]))
        raise DataError(f"{path}: column {column!r} names no asset in data row {row + 1}; every row needs one")
    return tuple(places), codes


def rows_of_assets(codes: Ints | None, count: int) -> list[Ints]:
    """The rows of each asset, in the order of the file; all of them where there is one asset."""
    if codes is None:
        return [np.arange(count)]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))
    return np.split(order, ends[:-1])
