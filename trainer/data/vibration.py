"""Reads vibration recordings: MATLAB files (version 5, as the bearing data sets are kept), one or a folder of them.

A channel "DE" is the variable that is called so or whose name ends in `_DE_time`. Recordings made faster than the
recipe's rate are low-passed and decimated, or a network would tell the recorders apart instead of the bearings.
"""

import hashlib
import zlib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import DataError
from trainer.recipe import SignalConfig

FILE_SECONDS = 10_000.0
"""File k starts at k times this: far enough apart that no window spans two files."""


@dataclass(frozen=True)
class Recordings:
    """One or more recordings end to end.

    Attributes:
        times: (N,) seconds; file k starts at k * FILE_SECONDS.
        values: (N, C) one column a channel.
        files: (N,) which file a sample is from.
        labels: (N,) True = from a faulty machine; None where the config names no normal files.
    """

    names: tuple[str, ...]
    sha256: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    files: NDArray[np.int64]
    labels: NDArray[np.bool_] | None


def is_recording(path: Path) -> bool:
    """Whether `read_recordings` is the reader for this path: a .mat file, or a folder that holds one."""
    return path.suffix == ".mat" or (path.is_dir() and any(path.glob("*.mat")))


def read_recordings(path: Path, config: SignalConfig) -> Recordings:
    """Read a .mat file, or all of a folder in the order of their names.

    Raises DataError: no file, not MATLAB 5, a channel is missing, channels differ in length, a rate is no multiple.
    """
    files = sorted(path.glob("*.mat")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise DataError(f"{path} is no .mat file and no folder of them")
    digest = hashlib.sha256()
    parts = []
    for file in files:
        digest.update(file.read_bytes())
        parts.append(_read(file, config))
    longest = max(len(part) for part in parts)
    if longest / config.rate_hertz >= FILE_SECONDS:
        raise DataError(
            f"{path}: a recording of {longest / config.rate_hertz:,.0f} s is too long; cut it into files of less than "
            f"{FILE_SECONDS:,.0f} s"
        )
    labels = None
    if config.normal_files is not None:
        faulty = [not fnmatch(file.name.lower(), config.normal_files.lower()) for file in files]
        labels = np.repeat(np.array(faulty), [len(part) for part in parts])
    return Recordings(
        tuple(file.name for file in files),
        digest.hexdigest(),
        np.concatenate([k * FILE_SECONDS + np.arange(len(part)) / config.rate_hertz for k, part in enumerate(parts)]),
        np.concatenate(parts),
        np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        labels,
    )


def _read(file: Path, config: SignalConfig) -> NDArray[np.float64]:
    """(N, C) at the config's rate."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(file)
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError, MatReadError, zlib.error) as error:
        raise DataError(f"{file} cannot be read as a MATLAB 5 file: {error}") from error
    channels = [_channel(file, content, channel) for channel in config.channels]
    if len({len(channel) for channel in channels}) > 1:
        lengths = ", ".join(f"{name} {len(c)}" for name, c in zip(config.channels, channels, strict=True))
        raise DataError(f"{file}: the channels differ in length: {lengths}; name fewer in data.signal.channels")
    return _at_rate(file, np.column_stack(channels), config)


def _channel(file: Path, content: dict[str, object], channel: str) -> NDArray[np.float64]:
    names = [name for name in content if name == channel or name.endswith(f"_{channel}_time")]
    if len(names) != 1:
        variables = ", ".join(sorted(name for name in content if not name.startswith("__")))
        found = "none" if not names else ", ".join(names)
        raise DataError(f"{file}: wanted one variable for channel {channel!r}, found {found}; it has {variables}")
    values = np.asarray(content[names[0]], dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise DataError(f"{file}: channel {channel!r} holds values that are no finite numbers")
    return values


def _at_rate(file: Path, values: NDArray[np.float64], config: SignalConfig) -> NDArray[np.float64]:
    recorded = [rate for pattern, rate in config.recorded_hertz.items() if fnmatch(file.name.lower(), pattern.lower())]
    ratio = (recorded[0] if recorded else config.rate_hertz) / config.rate_hertz
    factor = round(ratio)
    if factor < 1 or abs(ratio - factor) > 1e-9:
        raise DataError(f"{file}: recorded at {recorded[0]:g} Hz, which is no multiple of {config.rate_hertz:g} Hz")
    if factor == 1:
        return values
    from scipy.signal import decimate

    return np.asarray(decimate(values, factor, ftype="fir", axis=0), dtype=np.float64)
