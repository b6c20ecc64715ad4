"""The kinds of probability head that a recipe can name. A kind is one module and one line in `KINDS`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from numpy.typing import NDArray

from stream_detector.detection.config import GridConfig, HeadConfig, LeadConfig
from stream_detector.detection.head.head import Head

KINDS: dict[str, str] = {"calibrated": "stream_detector.detection.head.calibrated_head:build"}
"""Kind -> "module:function"; the function has the arguments of `build_head`."""


def build_head(
    config: HeadConfig,
    arrays: Mapping[str, NDArray[Any]],
    sensors: tuple[str, ...],
    grid: GridConfig,
    lead: LeadConfig,
) -> Head:
    """A fitted head from its arrays; ValueError for an unknown kind, or arrays that do not fit it."""
    if config.kind not in KINDS:
        raise ValueError(f"head kind {config.kind!r} is unknown; known are: {', '.join(sorted(KINDS)) or 'none'}")
    module, name = KINDS[config.kind].split(":")
    return cast("Head", getattr(import_module(module), name)(config, arrays, sensors, grid, lead))
