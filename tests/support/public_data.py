"""Where the public data sets lie that some tests and benchmarks need, and that are no part of the project."""

import os
from pathlib import Path

from tests.support.paths import ROOT


def public_data() -> Path:
    """The folder that `STREAM_DETECTOR_DATA` names, else `shared/data` beside the checkout; it may be absent."""
    return Path(os.environ.get("STREAM_DETECTOR_DATA", ROOT.parent / "shared" / "data"))


def data_set(data: Path, name: str) -> Path:
    """The folder of one set; the test that asks is skipped where the set is absent."""
    import pytest

    folder = data / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder
