"""Offsets that are known of each asset, by slot."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.detection.slot_arrays import SlotArrays

Ints = NDArray[np.int64]

NEVER = np.iinfo(np.int64).max
"""Stands for the offset of a record that has not come."""

NOT_KEPT = -1
"""Stands in `since_kept` where no windows are kept."""


def _none() -> Ints:
    return np.empty(0, np.int64)


@dataclass(slots=True)
class AssetOffsets(SlotArrays):
    """Offsets of each asset's records, one row a slot.

    Attributes:
        last: offset of the last record of the asset that was used. since: offset of its first record.
        decided_until: steps that close with a record below this offset were decided before a restart.
        since_kept: offset of its first record since its windows were kept in a snapshot; NEVER, NOT_KEPT.
    """

    last: Ints = field(default_factory=_none)
    since: Ints = field(default_factory=_none)
    decided_until: Ints = field(default_factory=_none)
    since_kept: Ints = field(default_factory=_none)
