"""One worker's detection: records of a partition in, alarms, scores, dead letters and snapshots out. No I/O, no clock.

What comes out is a function of the log and the bundle, however the log is cut into batches (docs/event-time.md).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from stream_detector.bundle.bundle import Bundle
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.detection.attribution import shares, top
from stream_detector.engine.assets.snapshots import load
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.limits import Limits
from stream_detector.engine.offline import score_frame
from stream_detector.engine.outcome import AssetStatus, Closed, Counts, Outcome, RecordBatch
from stream_detector.engine.partition import Partition

__all__ = [
    "AssetStatus",
    "Closed",
    "Counts",
    "Engine",
    "Limits",
    "Outcome",
    "RecordBatch",
    "score_frame",
]


class Engine:
    """Live state of the partitions that a worker owns. `keep_steps`: outcomes tell every scored step."""

    def __init__(
        self,
        bundle: Bundle | DetectorSpec,
        limits: Limits | None = None,
        keep_steps: bool = False,
        unknown: UnknownPolicies = IGNORING,
    ) -> None:
        """unknown: what becomes of readings of sensors and assets that the bundle does not know."""
        self._keep_steps = keep_steps
        self.spec = bundle if isinstance(bundle, DetectorSpec) else DetectorSpec.of(bundle)
        self._limits = limits or Limits()
        samples = self.spec.grid.step_seconds if self.spec.grid.kind == "samples" else None
        self._decoder = Decoder(self.spec.sensors, self.spec.assets, samples, unknown, self._limits.allowed_assets)
        self._partitions: dict[int, Partition] = {}

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome:
        """Handle a batch: the next records of its partition."""
        if batch.partition not in self._partitions:
            self.restore(batch.partition, {})
        return self._partitions[batch.partition].process(batch, publish_scores)

    def low(self, partition: int) -> int | None:
        """The oldest offset that live state still needs; None where nothing is held."""
        return self._partitions[partition].low() if partition in self._partitions else None

    def restore(self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0, id_term: int = 0) -> None:
        """Begin a partition anew, before its first batch.

        snapshots: of all its assets, as last acknowledged. silent_until: the committed offset; the log is to be read
        from `low`, and records below this offset rebuild state and have no other effect. A damaged snapshot counts as
        none. id_term: counts the changes of bundle in this partition; it goes into the ids of alarms.
        """
        known = {asset: snapshot for asset, data in snapshots.items() if (snapshot := load(data)) is not None}
        self._partitions[partition] = Partition(
            self.spec, self._decoder, self._limits, known, silent_until, self._keep_steps, id_term
        )

    def retire(self, topic: str, partition: int, asset: str, offset: int) -> Outcome:
        """The asset lives in another partition as of `offset`, the next one of this partition, which `topic` holds.

        It is forgotten here, and an open alarm is cleared in words that follow from it.
        """
        if partition not in self._partitions:
            return Outcome()
        return self._partitions[partition].retire(topic, partition, asset, offset)

    def snapshots(self, partition: int, processed: int | None = None) -> list[tuple[str, bytes | None]]:
        """Snapshots of all assets of a partition, whatever was acknowledged.

        processed: the next offset, where it is known that the last ones before it hold no reading.
        """
        return self._partitions[partition].snapshots(processed) if partition in self._partitions else []

    def forget(self, partition: int) -> None:
        """Forget a partition that belongs to another worker now."""
        self._partitions.pop(partition, None)

    def status(self, detailed: int | None = None) -> list[AssetStatus]:
        """Every live asset as it stands, for gauges and the console; those with an alarm up come first.

        detailed: so many of the first have `top_shares`, `newest` and `expected`, which cost most of the time; the
        others have none. None: all.
        """
        found = [pair for number, partition in self._partitions.items() for pair in _status(number, partition)]
        found.sort(key=lambda pair: not pair[1].alarm_open)
        return [
            _with_details(status, self._partitions[status.partition], slot)
            if detailed is None or index < detailed
            else status
            for index, (slot, status) in enumerate(found)
        ]


_NONE_KNOWN = np.empty(0, np.float32)


def _status(number: int, partition: Partition) -> list[tuple[int, AssetStatus]]:
    """(slot, status without details) of every asset; columns at once, since there may be 100,000 rows."""
    grid, latest, spec, assets = partition.grid, partition.decider.latest, partition.spec, partition.assets.by_slot
    slots = np.fromiter(assets, np.int64, len(assets))
    columns = (
        grid.positions.watermark[slots].tolist(),
        latest.score[slots].tolist(),
        latest.probability[slots].tolist(),
        latest.degraded[slots].tolist(),
        (grid.positions.last[slots] - grid.positions.run_start[slots] + 1 < spec.window.shortest).tolist(),
        grid.positions.not_running[slots].tolist(),
        (grid.positions.next_step[slots] * grid.steps.step_seconds).tolist(),
        np.where(np.isnan(latest.score[slots]), np.nan, (latest.step[slots] + 1) * grid.steps.step_seconds).tolist(),
    )
    return [
        (
            slot,
            AssetStatus(
                asset=assets[slot].name,
                partition=number,
                watermark=watermark,
                score=score,
                probability=probability,
                threshold=spec.threshold,
                alarm_open=partition.decider.states[slot].alarm is not None,
                degraded=degraded,
                warming_up=warming_up and not not_running,
                top_shares=[],
                scored_until=scored_until,
                newest=_NONE_KNOWN,
                expected=_NONE_KNOWN,
                not_running=not_running,
                closed_until=closed_until,
            ),
        )
        for slot, watermark, score, probability, degraded, warming_up, not_running, closed_until, scored_until in zip(
            assets, *columns, strict=True
        )
    ]


def _with_details(status: AssetStatus, partition: Partition, slot: int) -> AssetStatus:
    latest, sensors = partition.decider.latest, partition.spec.sensors
    parts = shares(latest.attribution[slot].astype(np.float64))
    return replace(
        status,
        top_shares=[(sensors[sensor], float(parts[sensor])) for sensor in top(parts)],
        newest=latest.newest[slot].copy(),
        expected=latest.expected[slot].copy(),
    )
