"""One worker's detection: records of a partition in, alarms, scores, dead letters and snapshots out. No I/O, no clock.

What comes out is a function of the log and the bundle, however the log is cut into batches (docs/event-time.md).
"""

from collections.abc import Mapping, Sequence

from stream_detector.bundle.bundle import Bundle
from stream_detector.decoding.asset_names import AssetNames, fitting
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.fast_forms import Parsed
from stream_detector.decoding.routing import Share
from stream_detector.decoding.unknown_names import IGNORING, UnknownPolicies
from stream_detector.engine.asset_status import statuses
from stream_detector.engine.assets.snapshots import load
from stream_detector.engine.batch_in_hand import BatchInHand, share_out
from stream_detector.engine.detector_spec import DetectorSpec
from stream_detector.engine.limits import Limits
from stream_detector.engine.offline import score_frame
from stream_detector.engine.outcome import AssetStatus, Closed, Counts, Outcome, RecordBatch
from stream_detector.engine.partition import Partition
from stream_detector.engine.parts import Part, joined
from stream_detector.engine.plain_batches import OwnBatch, PlainBatches
from stream_detector.engine.shared_state import SharedState

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
        assets: AssetNames | None = None,
    ) -> None:
        """unknown: what becomes of readings of sensors and assets that the bundle does not know.

        assets: says which assets are ours; None: those that fit the bundle's glob and the limits'.
        """
        self._keep_steps = keep_steps
        self.spec = bundle if isinstance(bundle, DetectorSpec) else DetectorSpec.of(bundle)
        self._limits = limits or Limits()
        samples = self.spec.grid.step_seconds if self.spec.grid.kind == "samples" else None
        names = assets or AssetNames(fitting(self.spec.assets, self._limits.allowed_assets))
        self._decoder = Decoder(self.spec.sensors, names, samples, unknown)
        self._partitions: dict[int, Partition] = {}
        self._state = SharedState(self.spec, self._limits, keep_steps)

    def process(self, batch: RecordBatch, publish_scores: bool = False) -> Outcome:
        """Handle a batch: the next records of its partition."""
        return self.process_all([batch], publish_scores)[0]

    def process_all(self, batches: Sequence[RecordBatch], publish_scores: bool = False) -> list[Outcome]:
        """Handle batches of different partitions at once. Their outcomes are those that each would have had alone.

        Only counts of what became of steps are told with one of them, for all, and names that are told as unknown may
        come in another order.
        """
        parts = self.take(batches, publish_scores)
        return [joined(batch, [part]) for batch, part in zip(batches, parts, strict=True)]

    def take(
        self,
        batches: Sequence[RecordBatch],
        publish_scores: bool = False,
        shares: Sequence[Share] | None = None,
    ) -> list[Part]:
        """The same, as parts of the outcomes. shares: the records of each batch that are ours; None: all."""
        for batch in batches:
            if batch.partition not in self._partitions:
                self.restore(batch.partition, {})
        decider, in_hand = self._state.decider, [BatchInHand(batch, number) for number, batch in enumerate(batches)]
        decider.publish_scores = publish_scores
        partitions = [self._partitions[batch.partition] for batch in batches]
        own = [
            OwnBatch(partition, each, None if shares is None else shares[each.number])
            for partition, each in zip(partitions, in_hand, strict=True)
        ]
        plain = PlainBatches(own, self._decoder, self._state)
        together = plain.read()
        if together is not None:
            self._state.take_told(together)
        else:
            self._take_segments(own, plain.parsed)
        decisions = decider.take()
        share_out(decisions, in_hand)
        changed = decisions.changed | self._state.grid.turned
        self._state.grid.turned.clear()
        return [
            partition.conclude(each, changed, Closed() if each.number else decisions.closed)
            for partition, each in zip(partitions, in_hand, strict=True)
        ]

    def _take_segments(self, batches: Sequence[OwnBatch], parsed: Sequence[Parsed | None]) -> None:
        going = [
            each.partition.segments(each.in_hand, each.share, known)
            for each, known in zip(batches, parsed, strict=True)
        ]
        while going:
            found = [(segments, taken) for segments in going if (taken := next(segments, None)) is not None]
            self._state.take([taken for _, taken in found])
            going = [segments for segments, _ in found]

    def low(self, partition: int) -> int | None:
        """The oldest offset that live state still needs; None where nothing is held."""
        return self._partitions[partition].low() if partition in self._partitions else None

    def restore(self, partition: int, snapshots: Mapping[str, bytes], silent_until: int = 0, id_term: int = 0) -> None:
        """Begin a partition anew, before its first batch.

        snapshots: of all its assets, as last acknowledged. silent_until: the committed offset; the log is to be read
        from `low`, and records below this offset rebuild state and have no other effect. A damaged snapshot counts as
        none. id_term: counts the changes of bundle in this partition; it goes into the ids of alarms.
        """
        self.forget(partition)
        known = {asset: snapshot for asset, data in snapshots.items() if (snapshot := load(data)) is not None}
        self._partitions[partition] = Partition(self._state, self._decoder, self._limits, known, silent_until, id_term)

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

    def untold(self, partition: int, processed: int) -> list[tuple[str, bytes | None]]:
        """Snapshots that the next outcome of a partition would hold, where no reading lies before `processed`.

        Without them whoever begins at that offset would know nothing of the assets that were read in silence.
        """
        return self._partitions[partition].untold(processed) if partition in self._partitions else []

    def forget(self, partition: int) -> None:
        """Forget a partition that belongs to another worker now."""
        forgotten = self._partitions.pop(partition, None)
        if forgotten is not None and self._partitions:
            forgotten.forget()
        elif forgotten is not None:
            # Nobody is left: the memory is given back.
            self._state = SharedState(self.spec, self._limits, self._keep_steps)

    def status(self, detailed: int | None = None) -> list[AssetStatus]:
        """Every live asset as it stands, those with an alarm up first; see `statuses`."""
        return statuses(self.partitions, detailed)

    @property
    def partitions(self) -> list[tuple[int, Partition]]:
        """The live partitions, with their numbers."""
        return list(self._partitions.items())
