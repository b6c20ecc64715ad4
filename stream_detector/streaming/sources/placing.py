"""Says under which asset's key a record belongs. Readings of several assets in one record belong under several keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from stream_detector.errors import UsageError

Placed = tuple[bytes | None, bytes | None]
"""Key and value of a record."""

NOT_OURS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Raised for a record that is none of ours; it goes on as it is."""


class _Names(msgspec.Struct, gc=False):
    """The names in a record, or in one of its readings, that decide where it belongs."""

    sensor: str | None = None
    asset: str | None = None
    values: dict[str, Any] | None = None


class _Array(msgspec.Struct, gc=False):
    """Several readings in a record."""

    time: str | float
    readings: list[msgspec.Raw]
    asset: str | None = None


def read_map(file: Path) -> dict[str, str]:
    """{sensor: asset} from a JSON file.

    Raises:
        UsageError: the file cannot be read, or is no such map.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except OSError as error:
        raise UsageError(f"sensor map {file} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f'sensor map {file} is no JSON object {{"sensor": "asset"}}: {error}') from None


class Placing:
    """Places records by the asset that they name, or by a map {sensor: asset}."""

    def __init__(self, assets: Mapping[str, str]) -> None:
        self._keys = {sensor: asset.encode() for sensor, asset in assets.items()}
        self._decoder = msgspec.json.Decoder(_Names)
        self._array_decoder = msgspec.json.Decoder(_Array)
        self._encoder = msgspec.json.Encoder()

    def placed(self, key: bytes | None, value: bytes | None) -> list[Placed]:
        """Key and value of the record; of several where it holds readings of several assets."""
        by_asset = self._split(key, value) if b'"readings"' in (value or b"") else {}
        return list(by_asset.items()) or [(self.key_of(key, value), value)]

    def key_of(self, key: bytes | None, value: bytes | None) -> bytes | None:
        """The asset that a record belongs to; its own key where that cannot be found out."""
        try:
            names = self._decoder.decode(value or b"")
        except NOT_OURS:
            return key
        if names.asset:
            return names.asset.encode()
        sensor = names.sensor if names.sensor is not None else next(iter(names.values or ()), None)
        return self._keys.get(sensor, key) if sensor is not None else key

    def _split(self, key: bytes | None, value: bytes | None) -> dict[bytes | None, bytes | None]:
        """Several readings in a record, by the assets that they belong to; empty where it holds no such thing."""
        try:
            found = self._array_decoder.decode(value or b"")
            each = [(self._decoder.decode(raw), raw) for raw in found.readings]
        except NOT_OURS:
            return {}
        parts: dict[bytes | None, list[msgspec.Raw]] = {}
        for names, raw in each:
            asset = names.asset or found.asset
            owner = asset.encode() if asset else self._keys.get(names.sensor or "", key)
            parts.setdefault(owner, []).append(raw)
        head = {"time": found.time} | ({} if found.asset is None else {"asset": found.asset})
        return {owner: self._encoder.encode(head | {"readings": readings}) for owner, readings in parts.items()}
