"""Streaming anomaly detection for plants. `from stream_detector import Detector` is the Python API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_detector.api import Detector

__all__ = ["Detector"]


def __getattr__(name: str) -> Any:
    # On first use: the commands' `--help` must not wait for numpy and torch.
    if name == "Detector":
        from stream_detector.api import Detector  # noqa: PLC0415 - every command imports the package

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
