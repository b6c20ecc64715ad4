"""The version of what is installed."""

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

DISTRIBUTION = "stream-detector"


@cache
def version() -> str:
    """As the package manager knows it; `unknown` where the code runs without being installed."""
    try:
        return version_of(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
