"""One worker's detection: records of a partition in, alarms, scores, dead letters and snapshots out. No I/O, no clock.

What comes out is a function of the log and the bundle, however the log is cut into batches (docs/architecture.md).
"""

import math
from collections.abc import Mapping

import numpy as np

from stream_detector.bundle import Bundle
from stream_detector.deciding import Decider
from stream_detector.decoding import Decoder
from stream_detector.detection.attribution import shares, top
from stream_detector.detection.grid import Grid
from stream_detector.frames import FrameScores, score_frame
from stream_detector.limits import Limits
from stream_detector.partition import Partition
from stream_detector.records import AssetStatus, Closed, Counts, Outcome, RecordBatch
from stream_detector.rules import Rules
from stream_detector.snapshots import load

__all__ = [
    "AssetStatus",
    "Closed",
    "Counts",
    "Engine",
    "FrameScores",
    "Limits",
    "Outcome",
    "RecordBatch",
    "score_frame",
]


class Engine:
    """Live state of the partitions that a worker owns."""

    def __init__(self, bundle: Bundle | Rules, limits: Limits | None = None) -> None:
        self.rules = bundle if isinstance(bundle, Rules) else Rules.of(bundle)
        self._limits = limits or Limits()
        samples = self.rules.grid.step_seconds if self.rules.grid.kind == "samples" else None
        self._decoder = Decoder(self.rules.sensors, self.rules.assets, samples)
        self._partitions: dict[int, Partition] = {}

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome:
        """Handle a batch: the next records of its partition."""
        if batch.partition not in self._partitions:
            self.restore(batch.partition, {})
        return self._partitions[batch.partition].process(batch, publish_scores)

    def low(self, partition: int) -> int | None:
        """The oldest offset that live state still needs; None where nothing is held."""
        return self._partitions[partition].low() if partition in self._partitions else None

    def restore(self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0) -> None:
        """Begin a partition anew, before its first batch.

        snapshots: of all its assets, as last acknowledged. silent_until: the committed offset; the log is to be read
        from `low`, and records below this offset rebuild state and have no other effect. A damaged snapshot counts as
        none.
        """
        known = {asset: snapshot for asset, data in snapshots.items() if (snapshot := load(data)) is not None}
        self._partitions[partition] = Partition(self.rules, self._decoder, self._limits, known, silent_until)

    def forget(self, partition: int) -> None:
        """The partition belongs to another worker now."""
        self._partitions.pop(partition, None)

    def status(self) -> list[AssetStatus]:
        """Every live asset as it stands, for gauges and the console."""
        return [status for number, partition in self._partitions.items() for status in _status(number, partition)]


def _status(number: int, partition: Partition) -> list[AssetStatus]:
    grid, decider, rules = partition.grid, partition.decider, partition.rules
    found = []
    for slot, asset in partition.roster.assets.items():
        parts = shares(decider.evidence[slot].astype(np.float64))
        position = int(grid.last[slot] - grid.run_start[slot])
        found.append(
            AssetStatus(
                asset=asset.name,
                partition=number,
                watermark=float(grid.watermark[slot]),
                score=float(decider.score[slot]),
                probability=float(decider.probability[slot]),
                threshold=rules.threshold,
                alarm_open=decider.standings[slot].alarm is not None,
                degraded=int(decider.degraded[slot]),
                warming_up=position + 1 < rules.window.shortest,
                drift=0.0,
                top_shares=[(rules.sensors[sensor], float(parts[sensor])) for sensor in top(parts)],
                scored_until=_end(decider, slot, grid),
                newest=decider.newest[slot].copy(),
                expected=decider.expected[slot].copy(),
            )
        )
    return found


def _end(decider: Decider, slot: int, grid: Grid) -> float:
    """End of the newest scored step of a slot; NaN before the first."""
    return math.nan if np.isnan(decider.score[slot]) else float(grid.steps.start_of(int(decider.step[slot]) + 1))
