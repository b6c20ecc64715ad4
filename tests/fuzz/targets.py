"""One function a decoder: any bytes in, and either a clean result or the decoder's own kind of error.

Anything else (another exception, a broken promise about the result, a call that takes seconds) is a finding, and every
finding becomes an entry of `tests/fuzz/corpus.py`.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stream_detector.errors import BundleError, DataError, RecipeError, StreamDetectorError

Target = Callable[[bytes], None]


def manifest(data: bytes) -> None:
    """A bundle's manifest: parsed, or refused with a BundleError."""
    from stream_detector.manifest import parse

    try:
        parse(data)
    except BundleError as error:
        assert str(error)


def arrays(data: bytes) -> None:
    """A bundle's arrays: unpacked, or refused with a BundleError."""
    from stream_detector.bundle_files import WEIGHTS, unpack

    try:
        unpack(WEIGHTS, data)
    except BundleError as error:
        assert str(error)


def recipe(data: bytes) -> None:
    """A recipe's text: parsed, or refused with a RecipeError."""
    from trainer.recipe import parse_recipe

    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        parse_recipe(text, "fuzz")
    except RecipeError as error:
        assert str(error)


def csv(data: bytes) -> None:
    """A historian's file: read with finite times and one column a sensor, or refused with a DataError."""
    from stream_detector.historian import Layout, read_history

    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(data)
        file.flush()
        try:
            history = read_history(Path(file.name), Layout())
        except DataError as error:
            assert str(error)
            return
    assert history.values.shape == (len(history.times), len(history.sensors))
    assert np.isfinite(history.times).all()


def event_time(data: bytes) -> None:
    """ISO 8601 texts: a finite number of seconds, or a ValueError."""
    from stream_detector.messages import from_iso

    try:
        seconds = from_iso(data.decode("utf-8", "replace"))
    except (ValueError, OverflowError):
        return
    assert np.isfinite(seconds)


def settings(data: bytes) -> None:
    """A value of a setting: accepted, or refused with our error."""
    from stream_detector.settings import Settings

    text = data.decode("utf-8", "replace").replace("\0", "")
    try:
        Settings.load(bootstrap=text, metrics_port=text, security_protocol=text)
    except StreamDetectorError as error:
        assert str(error)


TARGETS: dict[str, Target] = {
    "manifest": manifest,
    "arrays": arrays,
    "recipe": recipe,
    "csv": csv,
    "event-time": event_time,
    "settings": settings,
}
